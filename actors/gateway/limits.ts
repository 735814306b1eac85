/** Every limit and default of the gateway, with its reason. */

/** Longest line a client may send, bytes, checked before parsing. A long pasted prompt fits; memory per client stays bounded. */
export const maxLineBytes = 4 * 1024 * 1024

/** Longest prompt, characters: about what a model's context holds. */
export const maxPromptChars = 1_000_000

/** Calls one client may have open. A page with all its panels needs a dozen. */
export const maxOpenCalls = 64

/** Notifications a client may be behind before it is disconnected: one that stopped reading must not grow the daemon. */
export const maxUnsentNotifications = 10_000

/** Clients at once. Terminals, editors and pages of one member; far more means a runaway script. */
export const maxClients = 64

/** Text of a turn kept for the summary of an interrupted one, characters. */
export const maxKeptText = 64 * 1024

/**
 * Sessions nobody watches that stay alive, with their folders and grants, for whoever comes back. Each is at least two processes; the
 * longest unwatched end first and come back from the journal when they are opened again.
 */
export const maxIdleSessions = 4
