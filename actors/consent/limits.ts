/** Every limit and default of consent, with its reason. */

/** Folders one session may have. Each is a process of its own (about 10 MB), so a session stays below half a gigabyte. */
export const maxFolders = 32

/** Host patterns one session may have. More is a policy, not a member's list. */
export const maxHosts = 200

/** Sessions alive at once. Each costs a conversation process and its folders; the rest wait in the journal. */
export const maxSessions = 32

/** Longest folder name: it becomes a path part in the workspace and part of an actor id. */
export const maxFolderName = 32

/** Longest text of a question, characters: a diff of a 1 MiB file still fits, and the message stays below the kernel's frame. */
export const maxDetail = 2 * 1024 * 1024

/** How long opening a session may take, ms: two processes and a journal read on a busy two-core machine take a few seconds. */
export const openDeadlineMs = 60_000

/** Pause before something that is over in a moment is tried again, ms: a folder being opened, an actor being stopped. */
export const retryMs = 25

/** How often it is tried: together ten seconds, twice what the kernel gives an actor to stop. */
export const maxTries = 400

/** Pause before policy is asked again when its actor went down, ms. What it said last stays in force meanwhile. */
export const policyRetryMs = 500

/** Folders remembered as recent, and asked for their changes when none is named: each may need a process of its own for that. */
export const maxKnownFolders = 16
