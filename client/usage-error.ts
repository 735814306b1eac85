/** The command line was not understood; the message is a word on what would be right. */
export class UsageError extends Error {}
