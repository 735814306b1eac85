/** Every limit and default of the gateway, with its reason. */

/** Longest line a client may send, bytes, checked before parsing. A long pasted prompt fits; memory per client stays bounded. */
export const maxLineBytes = 4 * 1024 * 1024

/** Longest prompt, characters: about what a model's context holds. */
export const maxPromptChars = 1_000_000

/** Calls one client may have open. A page with all its panels needs a dozen. */
export const maxOpenCalls = 64

/** Terminals one client may have open in the workspace. */
export const maxShells = 16

/** Notifications a client may be behind before it is disconnected: one that stopped reading must not grow the daemon. */
export const maxUnsentNotifications = 10_000

/** Messages one page may send in a second, and in one burst. A member's typing and clicking is far below. */
export const maxPageMessagesPerSecond = 100
export const maxPageBurst = 500

/** Bytes a page may be behind before it is disconnected: one that stopped reading must not grow the daemon. */
export const maxUnsentBytes = 32 * 1024 * 1024

/** How long a connection to the loopback port may take until it has asked for a file or become a client, ms. Longer is a held-open socket. */
export const pageRequestMs = 10_000

/** Connections to the loopback port that have not proved themselves, at once. A browser opens six. */
export const maxUnprovenPages = 32

/** Header bytes of a page's request. The token and what a browser sends fit several times. */
export const maxHeaderBytes = 16 * 1024

/** Events kept per session for clients that come later; about what ten thousand pieces of a long day fold into. */
export const maxLogEvents = 10_000

/** Characters of events kept per session: 64 sessions stay below the process's heap. */
export const maxLogChars = 4_000_000

/** Sessions listed, newest first. */
export const maxListed = 200

/** Characters of a session's title: its first prompt, cut. */
export const maxTitle = 80

/** Clients at once. Terminals, editors and pages of one member; far more means a runaway script. */
export const maxClients = 64

/** Text of a turn kept for the summary of an interrupted one, characters. */
export const maxKeptText = 64 * 1024

/**
 * Sessions nobody watches that stay alive, with their folders and grants, for whoever comes back. Each is at least two processes; the
 * longest unwatched end first and come back from the journal when they are opened again.
 */
export const maxIdleSessions = 4
