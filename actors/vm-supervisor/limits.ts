/** Every limit and default of the workspace VM's host side, with its reason. */

/** Commands that may wait for a boot, for their session or for their turn, background ones as well. A thousand at once are an agent's bad idea, not a defect. */
export const maxWaiting = 1_024

/** Commands that may run at a time, all sessions together. The guest's own limits bind earlier; this bounds the host's bookkeeping. */
export const maxRunning = 64

/** Of one session: the guest refuses more. */
export const maxSessionRunning = 32

/** Background commands of one session that run at a time: the others' turn comes, and a command in the foreground always finds room. */
export const maxSessionJobs = 16

/** Background commands of one session that are remembered after they ended. */
export const rememberedJobs = 32

/** Output of a background command that waits to be asked for, bytes. The oldest goes first; the file in the guest has all of it. */
export const jobOutputBytes = 64 * 1024

/** A background command that is to end has this long to do so by itself, ms. */
export const jobStopMs = 2_000

/** The longest a request for a job's output waits for its end, ms, as in Claude Code. */
export const maxWaitMs = 10 * 60_000

/** Most of a command's input in one message, bytes. */
export const maxInputBytes = 1024 * 1024

/** Clients that may watch the state at a time. */
export const maxWatchers = 64

/** Connections of the guest at a time, whatever it claims: egress bounds each session below that. */
export const connectionsPerGuest = 4_096

/** Bytes of words about connections (credit, ends, resets) that wait for the guest before it is not read any more: some hundreds of them. */
export const maxRepliesQueued = 16 * 1024

/** Sessions that may be attached at a time. */
export const maxSessions = 256

/** Longest command in characters; the link's own limit (512 KiB in UTF-8) is checked as well. */
export const maxCommandChars = 512 * 1024

/** A command that names no limit of its own ends after this long, ms: long enough for an installation, short enough to notice a hang. */
export const defaultExecMs = 10 * 60_000

/** The longest limit a command may ask for, ms. */
export const maxExecMs = 24 * 60 * 60_000

/** Output of one command that is passed on as it comes, bytes, both streams together. Of what follows only the end is, with a note; a command still ends normally. */
export const maxOutputBytes = 8 * 1024 * 1024

/** The end of a longer output that is still passed on, bytes: errors come last. */
export const outputTailBytes = 64 * 1024

/** Largest piece of output in one part, bytes: 32 parts in flight (the kernel’s window) then hold 2 MiB. */
export const outputPartBytes = 64 * 1024

/** 9P messages being answered at a time, all mounts together. The guest kernel waits for answers; more would only queue in the gates. */
export const maxFilesInFlight = 64

/** 9P messages without an answer that go to a gate along with the next one, and their bytes: the carrier in the guest holds no more. */
export const maxFilesBefore = { messages: 64, bytes: 64 * 1024 }

/** Deadline of one 9P message at its gate, ms. A gate restarts well within it. */
export const ninepDeadlineMs = 30_000

/** Image building reports each package and how its files grow; the longest silence was a minute, on a busy machine. This long means it hangs, ms. */
export const imageStallMs = 5 * 60_000

/** Between looks at how large a file of the image has become, ms. */
export const growthPollMs = 1_000

/**
 * Boot: no disk read, no port opened, no byte from the guest for this long, ms. The kernel says nothing until it is up, which took 20 s
 * under emulation on two cores that six other programs wanted.
 */
export const bootStallMs = 120_000

/** Control round trip after the agent said it is ready, ms. */
export const verifyStallMs = 20_000

/** Between two pings of a ready guest, ms: a hang is noticed within about a minute and a half at a negligible cost. */
export const pingEveryMs = 15_000

/** A ping is lost when the guest sent no byte at all for this long, ms. A busy guest is slow but not silent. */
export const pingSilentMs = 60_000

/** The same for a guest in which nothing runs while a command waits for its answer, ms: starting anew takes less than waiting on. */
export const idleSilentMs = 20_000

/** A guest that answered this recently gets a command without being asked first, ms. */
export const freshMs = 2_000

/** While the guest makes a session: silence this long means that it hangs, ms. */
export const admitMs = 30_000
/** A guest that talks and has not made a session by then never will, ms: it ends each of its own steps (a mount asks a gate) after a minute at most. */
export const admitMostMs = 5 * 60_000

/** A VM ready for this long, with nobody left waiting, counts as healthy: the next failure starts from no delay again, ms. */
export const healthyMs = 30_000

/** Failures in a row that are tried again at once, commands still waiting. A boot takes seconds, so this is no storm. */
export const retriesAtOnce = 2

/** Delay after repeated failures: doubles from the first to the last and then goes on at the last, for good, ms. */
export const backoff = { firstMs: 1_000, lastMs: 120_000 }

/** What refused commands are told while no better estimate exists, ms. */
export const retryHintMs = 5_000

/** After a look that found no QEMU, a new command looks again only after this long, ms: the refusal stays immediate. */
export const absentRestMs = 10_000

/** Orderly stop: what the guest gets to power off, then what QEMU gets to quit, before SIGKILL, ms. Together under the kernel's 5 s. */
export const shutdownMs = 2_500
export const quitMs = 1_000

/** Between a broken link and QEMU's exit, which explains it: one is seen some ms before the other. Then it is killed, ms. */
export const lossMs = 500

/** The machine gives up waiting for a stop after this long, ms, and interrupts the VM's effect, which kills. */
export const stopMs = 6_000

/**
 * Guest memory: a quarter of what the host has free, from `least` to `usual`, MiB. Node, Python and a tmpfs overlay need the lower one; nobody
 * gets less than `smallest` by asking, because the guest would not start.
 */
export const memoryMiB = { smallest: 256, least: 512, usual: 1024, freeShare: 4 }

/** Virtual processors. More would fight with the host's own work; builds profit little beyond two under emulation. */
export const maxCpus = 2

/**
 * Virtual processors when QEMU emulates them. A guest kernel panicked in an interrupt once in some 25 boots with two emulated in parallel
 * (QEMU 7.2); one also boots with less work.
 */
export const emulatedProcessors = 1

/** Accelerator probe: silence this long ends it, ms. KVM that works prints within 100 ms; KVM that cannot run the kernel prints nothing ever. */
export const acceleratorStallMs = 4_000
/** And it ends after this long in any case: by then emulation is no slower. */
export const acceleratorLimitMs = 20_000

/** QEMU's translation cache under emulation, MiB. Its default takes up to an eighth of the host's memory. */
export const translationCacheMiB = 256

/** `hello` is repeated until the agent answers, ms: what is written before the guest opens its port may be lost. */
export const helloEveryMs = 250

/** A guest that goes on from a saved memory has its port open and reads when it can: another `hello` at once would only cost it time, ms. */
export const helloAgainMs = 2_000

/** How often the disk counters are read while booting, ms. */
export const progressEveryMs = 1_000

/** Largest QMP line, bytes. QEMU is half-trusted: it runs what the guest's devices make of it. */
export const maxQmpLine = 1024 * 1024

/** Standard error of QEMU that is kept for the error message, characters. */
export const maxStderr = 4_000

/** Pause before policy is asked again when its actor went down, ms. */
export const policyRetryMs = 500

/** Nominal size of the disk sessions write to, bytes. It is sparse: it takes from the host what is written and no more. */
export const scratchBytes = 8 * 1024 ** 3

/**
 * Saved memories kept for an image (each some 200 MB): those that were used last. More are kept, up to the larger number, while somebody used
 * them a short while ago: checkouts of a user share an image, and each has an agent, and so a memory, of its own.
 */
export const keptSnapshots = 4
export const mostSnapshots = 12
export const snapshotInUseMs = 2 * 60 * 60_000

/**
 * Of the host's disk, what the VM leaves free: the smaller of these. Member's files, journal and undo store are on it too, and they are worth
 * more than anything in the VM.
 */
export const diskReserve = { bytes: 256 * 1024 ** 2, share: 0.05 }

/**
 * A file of this size lies where the VM writes, bytes. When the disk is full to the last byte it is removed, once the VM stands still: the
 * daemon has to write down what happened.
 */
export const ballastBytes = 8 * 1024 ** 2

/** A VM that stands still for want of room goes on when this many times the reserve is free: not to stop again at once. */
export const roomAgain = 2

/** Between looks at the free room while the VM runs, ms. What it writes meanwhile, a disk of today cannot take much faster than the reserve. */
export const diskLookMs = 1_000

/** A step of the host's clock beyond this is told to the guest at once, ms; smaller ones wait for the next ping. */
export const clockStepMs = 500

/** Between looks whether there is room again, ms: doubles from the first to the last. */
export const roomLook = { firstMs: 250, lastMs: 10_000 }

/** A VM that stands still for want of room is ended after this long, ms: its commands are answered then, and its own disk gives back what it took. */
export const fullGraceMs = 60_000

/** Between looks at how far saving the memory is, ms; it takes a fraction of a second. */
export const savePollMs = 20

/** A start from a saved memory that has not answered after this long does not work, ms; a good one answers within a second. */
export const restoreStallMs = 15_000

/** Making the guest ready for being saved, and saving it, ms: a command has to run in there, and some 200 MB must reach the disk. */
export const saveStallMs = 120_000

/**
 * After this many failures in a row no memory is saved: one may be the death of the VM before, or of a saved memory that no longer works; two
 * say that saving is no use, and just boot. It is saved again once the VM has been healthy.
 */
export const failuresWithoutSaving = 2

/** How often a VM is looked at whether it is in use, ms; one that is not is paused. Waking it takes milliseconds. */
export const pauseAfterMs = 60_000

/** A VM paused for this long is stopped and gives its memory back, ms. */
export const stopAfterMs = 30 * 60_000

/** Steps of the guest's memory, MiB: a saved memory fits one size only, so that small changes of what is free must not change it. */
export const memoryStepMiB = 256

/** An image used this recently is somebody's, even if it is not the newest, ms. */
export const imageInUseMs = 24 * 60 * 60_000

/** Boots of an image that fail in a row before the one before it is used: the first two may be anything. */
export const failuresBeforeRollback = 3

/**
 * Address space of QEMU beyond the guest's memory, MiB: its programs and libraries, the translation cache, threads' stacks, which take 0.8 GiB
 * of it under emulation. What a hostile guest makes of QEMU cannot take the host's memory.
 */
export const overheadMiB = 3_072

/**
 * Users QEMU may have of its own, when the supervisor is root. The first lie where systemd's list of ids has nothing, above the containers' and
 * above where SSSD puts those of directories by default (up to 2,000,200,000); the second is the gap below the dynamic users', for containers that
 * have 65,536 ids (https://systemd.io/UIDS-GIDS). One that somebody has nevertheless is passed over.
 */
export const qemuUids = [
  { first: 2_100_000_000, count: 1_000_000 },
  { first: 60_706, count: 478 },
]

/** Between looks whether the jail has started QEMU, ms: the kernel does not say. It takes some ten. */
export const childPollMs = 2

/** Ports the guest connects to where it has no serial ports by name (vsock). Above those that need a privilege; no registered service's. */
export const vsockPorts = { control: 19_101, files: 19_102, output: 19_103, connections: 19_104 }

/** What vfkit's service gets to answer, ms: it is on this machine and only asks the framework. */
export const restLimitMs = 10_000

/** Between looks at a console that is a file, ms. */
export const followPollMs = 50

/** What one PowerShell command about a VM gets, ms: PowerShell alone takes a second to start, a VM some to be made. */
export const powershellLimitMs = 60_000

/** Lines of one VM's agent that go into the host's log: a good one says a few dozen in its life, a hostile one would fill the disk. */
export const maxGuestLines = 1_000

/** Stages of its boot that a guest may tell of on its console; there are seven. Each is a step of the machine, and recorded. */
export const maxStages = 50

/**
 * Events of the guest's sessions that go on record, all sessions together: at once, and each second in the long run, which is 25 MB of the audit log
 * a day at most; it keeps 256. What is beyond is counted.
 */
export const eventBudget = { burst: 500, eachSecond: 2 }

/** Of these, so many are kept for what is not the start or end of a program. */
export const eventsKept = 100

/** In one message, and so in one entry of the audit log. */
export const eventBatch = 32

/** How long events are gathered, ms. */
export const eventBatchMs = 1_000

/** Refused connections one command is told about: enough to see what is wrong, and no way to flood its reader. */
export const maxRefusalsTold = 100
