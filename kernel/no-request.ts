/**
 * What a machine keeps in place of a request's number when a kind that has a reply came one-way: no request has it, and an answer to it goes
 * nowhere.
 */
export const noRequest = -1
