/** Every limit and default of one tool server, with its reason. */

/** A server that has not answered `initialize` and listed its tools after this long hangs, ms. `npx` may download first; published hosts give 120 s. */
export const startMs = 120_000

/** Ready for this long counts as healthy: the next failure starts from the shortest delay again, ms. Uptime, not a start, earns it. */
export const healthyMs = 30_000

/** Delay after a failure: doubles from the first to the last and goes on at the last, for good, ms. */
export const backoff = { firstMs: 250, lastMs: 60_000 }

/** A tool that reports nothing for this long is given up, ms; progress starts the time anew. */
export const callIdleMs = 120_000

/** And no call runs longer than this, ms. */
export const callMs = 30 * 60_000

/** Calls that may wait for a start, or run, at a time. A model turn rarely makes a dozen. */
export const maxCalls = 64

/** Who may watch at a time: the MCP host, and it again after it restarted. */
export const maxWatchers = 8

/** Between closing a server's input and killing what is left of its process tree, ms. Below the 5 s the kernel gives an actor. */
export const graceMs = 1_500

/** Longest line a server may write, bytes. Screenshots come as base64 of a few megabytes; the SDK's own default. */
export const maxLineBytes = 10 * 1024 * 1024

/** Messages a server may have sent that were not worked off, before its output is held back. */
export const maxStderrChars = 4_000

/** Tools one server may offer. The largest published ones have a few dozen. */
export const maxTools = 256

/** Longest description, and largest schema as JSON, characters: they go to the model with every request. */
export const maxDescriptionChars = 8_000
export const maxSchemaChars = 64_000

/** All definitions of one server together, characters, so that a status fits a frame many times over. */
export const maxDefinitionsChars = 1_000_000

/** Longest instructions of a server, characters. */
export const maxInstructionsChars = 4_000

/** Text of one result that is passed on, characters. The conversation shows the model less and says so. */
export const maxResultChars = 200_000

/** Changes of the tool list are looked at once in this time, ms: some servers announce several in a row. */
export const listQuietMs = 200
