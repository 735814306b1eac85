/** Bounds inside the guest, and why. They hold whatever the host asks for. */

/** The uid range would allow more; each session costs a few MB and a set of namespaces. */
export const maxSessions = 64
/** Commands at a time, of one session and of all. */
export const maxSessionCommands = 32
export const maxCommands = 128
/** Processes and threads of one session: enough for a parallel build, too few to fill the machine's table. */
export const sessionPids = 512
/** Of all sessions together: the kernel's own table holds 32,768. */
export const allSessionsPids = 8_192
/** What one session may take of the memory all of them may: the rest is for its neighbours. */
export const sessionMemoryShare = 0.8
/** Disk operations a second of one session: far more than a build needs, less than would keep the others waiting. */
export const sessionOperations = 20_000
/** Open files of one process. */
export const openFiles = 16_384
/** Terminals of one session, its programs' own among them: the kernel has 3,072 for all sessions together. */
export const sessionTerminals = 48
/** Shared memory (`/dev/shm`) of one session, bytes: it is memory no process owns, which only ends with the session. */
export const sharedMemory = 64 * 1024 * 1024
/** Of the scratch disk, what one session may fill; and how many files it may have. */
export const quotaShare = 0.5
export const sessionFiles = 250_000
/** Events of one session told at once, and each second in the long run: the port has to carry its commands' words as well. */
export const eventBurst = 200
export const eventsEachSecond = 20
/** Before what watches sessions is started again, ms. */
export const watcherAgainMs = 5_000
/** Slots kept ready: so many sessions can begin one after the other before one has to wait for its own. Each takes some 3 MB. */
export const spareSlots = 4
/** After the last slot was taken, before others are made, ms: the commands they were taken for, and sessions that follow at once, begin first. */
export const refillMs = 2_000
/** Share of the processor for making a slot nobody waits for, and for one that is taken. */
export const slotWeights = { spare: 10, taken: 100 }
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
/** Output a command may write before all of it goes into a file as well: less than whoever reads it is shown whole. */
export const keptAfter = 24 * 1024
/** Such a file at most, and all of one session's together, bytes. They are the machine's, not part of the session's share of the disk. */
export const keptFile = 64 * 1024 * 1024
export const keptSession = 256 * 1024 * 1024
/**
 * Shares of the disk sessions write to: with less than the first free, kept outputs of all sessions are removed, the oldest first, until the
 * second is. Two sessions that fill their quotas fill it; a tenth is time enough to look, for a look follows each command and each ping.
 */
export const diskPressure = { begins: 0.1, ends: 0.2 }
/**
 * Largest piece of output in one frame, bytes: large enough that what a piece costs does not matter, small enough for its neighbours' turn. The
 * credit the host gives back at last, `initialCredit` less `creditPiece`, is more than one.
 */
export const outputPiece = 512 * 1024
/** Of a terminal's. */
export const terminalPiece = 64 * 1024
/** Longest a tool of the agent's own (mount, nsenter, date …) may take, ms. A mount waits for the host. */
export const toolMs = 20_000
/** Longest the helper that makes a session's sockets may take, ms: an interpreter starts, which takes an emulated machine seconds. */
export const networkMs = 60_000
/** Of the agent, and of commands whose host names no other. */
export const usualUmask = 0o022
/** A command longer than this goes through a file: the kernel takes 128 KiB in one argument. */
export const maxArgument = 96 * 1024
/** A certificate to trust; one of an elliptic curve has under 1 KiB. */
export const maxCertificate = 64 * 1024
