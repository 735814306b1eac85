/** Limits of actors from outside the repository, with their reasons. */

/** Files of one actor, and their bytes together. Code, not data: what is larger is somebody's node_modules. */
export const maxFiles = 200
export const maxCodeBytes = 4 * 1024 * 1024

/** What an actor says of itself, bytes of JSON. The largest of the product's own is a tenth of it. */
export const maxDescriptionBytes = 256 * 1024

/** Loading an actor to ask what it is, ms. It takes a fraction of a second; this ends one that never answers. */
export const describeMs = 20_000

/** V8 heap for that, MiB. */
export const describeHeapMiB = 128

/** Actors from outside at a time. Each is a process. */
export const maxAddons = 32
