/** Every limit and default of the terminal client, with its reason. */

/** Longest socket path, bytes. The kernel's own limit is 108 on Linux, 104 on macOS, with the final zero. */
export const maxSocketPath = 100

/** How long a running daemon may take to answer the first word, ms: its gateway may be restarting. */
export const answerMs = 15_000

/** How long a daemon that was asked to stop may take before it is killed, ms: longer than the kernel gives each actor, the VM's shutdown included. */
export const stopMs = 45_000

/** How long it may take after a signal, ms: it had `stopMs` to end in order. */
export const killMs = 5_000

/** How long a new daemon may take to serve, ms: its processes start in about a second, on a machine busy with something else in several. */
export const startMs = 60_000

/** The daemon's log is put aside when it is larger than this at a start, bytes. */
export const maxLogBytes = 10 * 1024 * 1024

/** A keyring that is locked asks the member for its password, ms. */
export const keyringMs = 120_000

/** Characters read for a secret: more than any that is kept. */
export const largestSecretInput = 64 * 1024

/** Second Ctrl-C within this time leaves, ms. */
export const leaveMs = 2_000

/** What is typed (or pasted) into a terminal in the workspace and goes there in one call, bytes. */
export const maxTypedBytes = 256 * 1024
