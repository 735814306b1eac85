/** Bounds inside the guest, and why. They hold whatever the host asks for. */

/** The uid range would allow more; each session costs a few MB and a set of namespaces. */
export const maxSessions = 64
/** Commands at a time, of one session and of all. */
export const maxSessionCommands = 32
export const maxCommands = 128
/** Processes and threads of one session: enough for a parallel build, too few to fill the machine's table. */
export const sessionPids = 1024
/** Memory kept from sessions for the kernel and the agent, bytes. */
export const reservedMemory = 160 * 1024 * 1024
/** Protected from reclaim for the agent, bytes. */
export const agentMemory = 96 * 1024 * 1024
/** The agent's share of the processors against 100 for all sessions: it answers while they spin. */
export const agentWeight = 1_000
/** Between SIGTERM and SIGKILL when a command's time is up, ms. */
export const termGraceMs = 1_000
/** Output of processes a command leaves behind is waited for this long after the last of it, ms. */
export const leftoverQuietMs = 150
/** Largest piece of output in one frame, bytes. */
export const outputPiece = 64 * 1024
/** Longest a tool of the agent's own (mount, nsenter, date …) may take, ms. A mount waits for the host. */
export const toolMs = 20_000
/** A command longer than this goes through a file: the kernel takes 128 KiB in one argument. */
export const maxArgument = 96 * 1024
