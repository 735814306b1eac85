/** Every limit and default of the kernel, with its reason. */

/** Largest frame between kernel and actor, bytes. A whole-file write (4 MiB) and its envelope fit with room to spare. */
export const maxFrameBytes = 16 * 1024 * 1024

/** Deepest nesting of a message. Tool inputs made by a model are shallow; 64 leaves room and stops stack abuse. */
export const maxDepth = 64

/** Frames that leave in one write at most. A quarter of a delivery window: the actor takes some while the kernel sees to others, and back. */
export const framesPerWrite = 16

/**
 * Deliveries an actor may have unacknowledged. Keeps a process busy across a hop: with 32 it and the kernel wait for one another, and more
 * than 64 bring nothing. What is revoked meanwhile it does not begin (withdrawal.ts).
 */
export const deliveryWindow = 64

/** Messages that may wait for one actor when its manifest names no number. */
export const defaultMailbox = 1024

/** Bodies of one schema that are checked before it is compiled: what starting up needs once is not worth the millisecond. */
export const compileAfter = 64

/** Transitions one event may set off. Real machines need a handful; more is a cycle that would hang the actor. */
export const maxMicrosteps = 1_000

/** Streamed parts in flight per request. 32 parts of at most 64 KiB hide a process hop and bound memory to 2 MiB. */
export const partWindow = 32

/** Parts a machine (which cannot wait) may have queued for a slow reader before its request is refused `overloaded`. */
export const maxQueuedParts = 16_384

/** Deadline of a request whose kind names none, ms. */
export const defaultDeadlineMs = 30_000

/** How long a stopping actor may take before it is killed, ms. OTP's default for workers is 5 s. */
export const stopMs = 5_000

/** How long an actor that loads may keep those that wait for a processor from loading as well, ms. They take a second on a slow machine. */
export const startTurnMs = 3_000

/** OTP's defaults: more than one restart in five seconds counts as a crash loop. */
export const defaultIntensity = 1
export const defaultPeriodMs = 5_000

/** Backoff of a crash loop: doubles from the first to the last, then keeps probing at the last. */
export const backoffMs = { first: 250, last: 30_000 }

/** V8 heap of a process actor, MiB: the Anthropic SDK with a long transcript stays far below. */
export const actorHeapMiB = 256

/**
 * What a process actor may hold in memory in all, MiB, when its manifest does not say: its heap, some 100 for Node itself, and as much again for
 * the Buffers of frames and files.
 */
export const actorMemoryMiB = 512

/**
 * How much further than what it may hold the system lets its private memory grow before the kernel has looked, MiB. Node asks for some 650 that it
 * never touches (measured on x64); what is left is how far it gets meanwhile.
 */
export const memoryWallMiB = 1_024

/** How often the kernel looks at what an actor holds while messages go to it or come from it, ms: soon enough that others have room left. */
export const memoryLookMs = 500

/** The same of one at rest behind no wall of the system, ms: only looking bounds it. A look costs some 10 µs and waking for it more. */
export const memoryRestMs = 1_000

/** Of those at rest behind a wall only each such look is one, so that a daemon at rest stays at 0 %: the wall bounds them meanwhile. */
export const walledEvery = 10

/** What it holds more than at the last look, MiB, that says it is not at rest. */
export const growingMiB = 16

/** Half of an actor's young generation, MiB. Actors mostly wait; what loading them needed beyond this would stay theirs. */
export const actorYoungMiB = 1

/** Refused or undeliverable messages remembered for `bulkhead inspect`. The counters go on. */
export const rememberedDeadLetters = 64

/** Longest actor log line kept, characters. */
export const maxLogLine = 4_000

/** Slots an actor may hold before dead ones (revoked, used up) are forgotten. Each approval adds one; 256 keeps the reasons of recent ones. */
export const maxSlots = 256

/** Characters of events after which the size of the message log is looked at: it is within its bound by this much. */
export const trimEveryChars = 4 * 1024 * 1024

/** Lines of the message log that are written together at most. A line is some hundred bytes. */
export const maxBufferedLines = 2_000

/** The message log with its indexes, bytes. Some weeks of daily work; the oldest go first. */
export const maxMessageLogBytes = 256 * 1024 * 1024

/** Lines after which an actor's span ends with a snapshot, so that old ones can go and a replay of a long run can begin in its middle. */
export const linesPerSpan = 5_000

/** Characters of notes after which a span ends all the same: steps that carry whole files fill one faster. */
export const spanChars = 8 * 1024 * 1024

/** Characters of one span after which the kernel keeps no more of it: an actor that never ends its span must not fill the disk. */
export const maxSpanChars = 128 * 1024 * 1024

/** Events kept of one session in the journal. More is not a conversation; appending refuses and says so. */
export const maxSessionEvents = 200_000

/** One entry of the journal, bytes of JSON: a whole-file write with room to spare, and far below a frame. */
export const maxEntryBytes = 8 * 1024 * 1024

/** The journal of sessions, bytes. Beyond it, sessions untouched for longer than `sessionRestMs` go, oldest first. */
export const maxJournalBytes = 2 * 1024 * 1024 * 1024
export const sessionRestMs = 90 * 24 * 3_600_000
