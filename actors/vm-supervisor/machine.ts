/**
 * The workspace VM as a state machine: lazy, never giving up, truthful about what it can do now.
 *
 *   stopped --exec/start--> probing -> image -> accelerating -> booting -> verifying -> ready
 *      ^                       |  missing        any failure |                            | VM died
 *      |                    absent                backoff <--+--- (first ones: at once) <-+
 *      +---- stopping <---- stop (from any)          +--- after its delay ---> probing
 *
 * Commands wait while a boot makes progress and are refused at once otherwise.
 */
import { and } from 'xstate'
import { noRequest } from '../../kernel/index.ts'
import { failuresBeforeRollback } from './limits.ts'
import { vocabulary } from './machine-lifecycle.ts'
import { type Context, initialContext } from './state.ts'

const machineParams = ({ config, imageDir, accelerator, memoryMiB, cpus }: Context) => ({ config, imageDir, accelerator, memoryMiB, cpus })

const runVm = {
  type: 'runVm',
  params: ({ context }: { context: Context }) => ({
    ref: String(context.epoch),
    how: context.how,
    key: context.snapshotKey,
    ...machineParams(context),
  }),
} as const

/** The three ways to run a command are taken, or refused, alike. */
const commands = <const Transition>(transition: Transition) => ({ exec: transition, shell: transition, job: transition })
/** The command an event brings waits its turn; those that may start do. */
const queue = ['queueExec', 'queueJob'] as const
const start = ['runWaiting', 'runJobs'] as const

export const machine = vocabulary.createMachine({
  id: 'vm-supervisor',
  context: ({ input }) => initialContext(input.params),
  initial: 'deciding',
  entry: 'watchPolicy',
  on: {
    part: [
      { guard: 'forbidsVm', target: '.stopping', actions: ['notePolicy', 'refuseRunning', 'endRunningJobs', 'wantStopped'] },
      { guard: 'forbids', target: '.abandoning', actions: ['notePolicy', 'wantStopped'] },
      { guard: 'isPolicy', actions: 'notePolicy' },
    ],
    // Policy's actor went down: what it said stays in force, and it is asked again in a moment.
    replied: { guard: 'isPolicy', actions: 'rest' },
    refused: { guard: 'isPolicy', actions: 'rest' },
    'rest.done': { actions: 'watchPolicy' },
    status: { actions: { type: 'readClock', params: ({ event }) => ({ request: event.from.request ?? noRequest }) } },
    'readClock.read': { actions: 'replyStatus' },
    watch: { actions: 'addWatcher' },
    attach: { actions: 'attach' },
    detach: { actions: ['detach', 'forgetJobs'] },
    network: { actions: 'network' },
    cancelled: { actions: 'forget' },
    'exec.exited': { actions: 'finishExec' },
    'exec.failed': { actions: 'finishExec' },
    'exec.lost': { actions: 'finishExec' },
    'exec.crashed': { actions: 'finishExec' },
    'job.exited': { actions: 'finishJob' },
    'job.failed': { actions: 'finishJob' },
    'job.lost': { actions: 'finishJob' },
    'job.crashed': { actions: 'finishJob' },
    jobs: { actions: 'listJobs' },
    'job-news': { actions: 'tellEnds' },
    'job-output': { actions: 'takeOutput' },
    'readJob.read': { actions: 'replyJob' },
    'job-stop': { actions: 'steer' },
    input: { actions: 'steer' },
    resize: { actions: 'steer' },
    signal: { actions: 'steer' },
    'steerCommand.done': { actions: 'replySteered' },
    'steerCommand.failed': { actions: 'replySteered' },
    'steerCommand.crashed': { actions: 'replySteered' },
    stopping: '.closing',
  },
  states: {
    deciding: { always: [{ guard: 'isOff', target: 'off' }, { target: 'stopped' }] },

    off: {
      entry: [{ type: 'become', params: { state: 'off' } }, 'refuseWaiting', 'endWaitingJobs'],
      on: {
        part: { guard: 'isPolicy', target: 'deciding', actions: 'notePolicy' },
        ...commands({ actions: 'refuseUnavailable' }),
        start: { actions: 'refuseUnavailable' },
        restart: { actions: 'refuseUnavailable' },
        stop: { actions: 'replyEmpty' },
      },
    },

    stopped: {
      entry: ['noteDown', { type: 'become', params: { state: 'stopped' } }, 'replyStoppers'],
      always: { guard: 'isOff', target: 'off' },
      on: {
        ...commands([{ guard: 'knowsSession', target: 'working', actions: queue }, { actions: queue }]),
        start: { target: 'working', actions: 'addStarter' },
        restart: { target: 'working', actions: 'addStarter' },
        stop: { actions: 'replyEmpty' },
      },
    },

    absent: {
      entry: [{ type: 'become', params: { state: 'absent' } }, 'refuseWaiting', 'endWaitingJobs'],
      initial: 'resting',
      on: {
        start: { target: 'working', actions: 'addStarter' },
        restart: { target: 'working', actions: 'addStarter' },
        stop: { actions: 'replyEmpty' },
      },
      states: {
        resting: { after: { absentRest: 'stale' }, on: { ...commands({ actions: 'refuseUnavailable' }) } },
        /** It may have been installed meanwhile: the next command looks again. */
        stale: {
          on: { ...commands([{ guard: 'knowsSession', target: '#vm-supervisor.working', actions: queue }, { actions: queue }]) },
        },
      },
    },

    working: {
      entry: ['nextAttempt', 'forgetGuestSessions'],
      initial: 'probing',
      on: {
        ...commands({ actions: queue }),
        start: { actions: 'addStarter' },
        restart: { actions: 'addStarter' },
      },
      states: {
        probing: {
          entry: [
            { type: 'become', params: { state: 'probing' } },
            { type: 'probe', params: ({ context }) => ({ ref: String(context.epoch), config: context.config }) },
          ],
          on: {
            'probe.found': { guard: 'current', target: 'image', actions: 'noteStep' },
            'probe.missing': { guard: 'current', target: '#vm-supervisor.absent', actions: 'noteMissing' },
            'probe.crashed': { guard: 'current', target: '#vm-supervisor.backoff', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.abandoning', actions: 'addStopper' },
          },
        },
        image: {
          entry: [
            { type: 'become', params: { state: 'image' } },
            {
              type: 'image',
              params: ({ context }) => ({
                ref: String(context.epoch),
                config: context.config,
                rollback: context.rolledBack || context.failures >= failuresBeforeRollback,
              }),
            },
          ],
          initial: 'moving',
          states: { moving: { after: { imageStall: { target: '#vm-supervisor.backoff', actions: ['interruptAttempt', 'noteFailure'] } } } },
          on: {
            'image.progress': { guard: 'current', target: '.moving', actions: 'noteProgress' },
            'image.ready': { guard: 'current', target: 'accelerating', actions: 'noteStep' },
            'image.failed': { guard: 'current', target: '#vm-supervisor.backoff', actions: 'noteFailure' },
            'image.crashed': { guard: 'current', target: '#vm-supervisor.backoff', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.abandoning', actions: 'addStopper' },
          },
        },
        accelerating: {
          entry: [
            { type: 'become', params: { state: 'probing' } },
            {
              type: 'accelerate',
              params: ({ context }) => ({
                ref: String(context.epoch),
                imageDir: context.imageDir,
                avoidHardware: context.hardwareFailures >= 2,
              }),
            },
          ],
          on: {
            'accelerate.chosen': { guard: 'current', target: 'choosing', actions: 'noteStep' },
            'accelerate.crashed': { guard: 'current', target: '#vm-supervisor.backoff', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.abandoning', actions: 'addStopper' },
          },
        },
        /** From a saved memory, if there is one that fits. */
        choosing: {
          entry: [
            { type: 'become', params: { state: 'probing' } },
            { type: 'lookForSnapshot', params: ({ context }) => ({ ref: String(context.epoch), ...machineParams(context) }) },
          ],
          on: {
            'lookForSnapshot.found': {
              guard: 'current',
              target: 'restoring',
              actions: ['noteStep', { type: 'begin', params: { how: 'restore' } }],
            },
            'lookForSnapshot.none': [
              {
                guard: and(['current', 'maySave']),
                target: 'booting',
                actions: ['noteStep', { type: 'begin', params: { how: 'boot-and-save' } }],
              },
              { guard: 'current', target: 'booting', actions: 'noteStep' },
            ],
            'lookForSnapshot.crashed': { guard: 'current', target: 'booting' },
            stop: { target: '#vm-supervisor.abandoning', actions: 'addStopper' },
          },
        },
        restoring: {
          entry: [{ type: 'become', params: { state: 'restoring' } }, runVm],
          after: { restoreStall: { target: '#vm-supervisor.failed', actions: ['noteFailure', 'interruptAttempt'] } },
          on: {
            'vm.spawned': { guard: 'current', actions: 'noteStep' },
            'vm.handshake': { guard: 'current', target: 'verifying', actions: 'noteStep' },
            'runVm.exited': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            'runVm.crashed': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.stopping', actions: ['addStopper', 'wantStopped'] },
          },
        },
        booting: {
          entry: [{ type: 'become', params: { state: 'booting' } }, runVm],
          initial: 'moving',
          states: { moving: { after: { bootStall: { target: '#vm-supervisor.failed', actions: ['noteFailure', 'interruptAttempt'] } } } },
          on: {
            'vm.spawned': { guard: 'current', target: '.moving', actions: 'noteStep' },
            'vm.progress': { guard: 'current', target: '.moving', actions: 'noteProgress' },
            'vm.handshake': { guard: 'current', target: 'verifying', actions: 'noteStep' },
            'runVm.exited': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            'runVm.crashed': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.stopping', actions: ['addStopper', 'wantStopped'] },
          },
        },
        verifying: {
          entry: [
            { type: 'become', params: { state: 'verifying' } },
            { type: 'verify', params: ({ context }) => ({ ref: String(context.epoch) }) },
          ],
          after: { verifyStall: { target: '#vm-supervisor.failed', actions: ['noteFailure', 'interruptAttempt'] } },
          on: {
            'verify.ok': [
              { guard: and(['current', 'saves']), target: 'saving' },
              { guard: 'current', target: '#vm-supervisor.ready', actions: 'noteStep' },
            ],
            'verify.failed': { guard: 'current', target: '#vm-supervisor.failed', actions: ['noteFailure', 'interruptAttempt'] },
            'verify.crashed': { guard: 'current', target: '#vm-supervisor.failed', actions: ['noteFailure', 'interruptAttempt'] },
            'runVm.exited': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            'runVm.crashed': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.stopping', actions: ['addStopper', 'wantStopped'] },
          },
        },
        /** A machine that was saved ends; the next attempt goes on from what was saved, or boots if that did not work. */
        saving: {
          entry: [
            { type: 'become', params: { state: 'saving' } },
            {
              type: 'save',
              params: ({ context }) => ({ ref: String(context.epoch), imageDir: context.imageDir, key: context.snapshotKey }),
            },
          ],
          after: { saveStall: { target: '#vm-supervisor.working', actions: ['noteSaveFailure', 'interruptAttempt'], reenter: true } },
          on: {
            'save.saved': { guard: 'current', target: '#vm-supervisor.working', actions: ['noteSaved', 'interruptAttempt'], reenter: true },
            'save.failed': {
              guard: 'current',
              target: '#vm-supervisor.working',
              actions: ['noteSaveFailure', 'interruptAttempt'],
              reenter: true,
            },
            'save.crashed': {
              guard: 'current',
              target: '#vm-supervisor.working',
              actions: ['noteSaveFailure', 'interruptAttempt'],
              reenter: true,
            },
            'runVm.exited': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            'runVm.crashed': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.stopping', actions: ['addStopper', 'wantStopped'] },
          },
        },
      },
    },

    ready: {
      entry: [{ type: 'become', params: { state: 'ready' } }, 'replyStarters', 'admitSessions', ...start],
      type: 'parallel',
      on: {
        attach: { actions: ['attach', 'admitSessions'] },
        detach: { actions: ['detach', 'forgetJobs', 'evictDetached'] },
        ...commands({ actions: ['retryFailedSession', ...queue, 'admitSessions', ...start] }),
        'exec.exited': { actions: ['finishExec', ...start] },
        'exec.failed': { actions: ['finishExec', ...start] },
        'exec.lost': { actions: ['finishExec', ...start] },
        'exec.crashed': { actions: ['finishExec', ...start] },
        'job.exited': { actions: ['finishJob', ...start] },
        'job.failed': { actions: ['finishJob', ...start] },
        'job.lost': { actions: ['finishJob', ...start] },
        'job.crashed': { actions: ['finishJob', ...start] },
        'admit.ready': { guard: 'current', actions: ['noteAdmission', ...start] },
        'admit.failed': { guard: 'current', actions: ['noteAdmission', 'endFailedJobs', ...start] },
        start: { actions: 'replyEmpty' },
        stop: { target: 'stopping', actions: ['refuseRunning', 'endRunningJobs', 'addStopper', 'wantStopped'] },
        restart: { target: 'stopping', actions: ['refuseRunning', 'endRunningJobs', 'addStarter', 'wantAgain'] },
        'ping.silent': {
          guard: 'current',
          target: 'failed',
          actions: ['refuseRunning', 'endRunningJobs', 'noteFailure', 'interruptAttempt'],
        },
        'runVm.exited': { guard: 'current', target: 'failed', actions: ['refuseRunning', 'endRunningJobs', 'noteFailure'] },
        'runVm.crashed': { guard: 'current', target: 'failed', actions: ['refuseRunning', 'endRunningJobs', 'noteFailure'] },
      },
      states: {
        watchdog: {
          initial: 'resting',
          states: {
            resting: { after: { pingEvery: 'asking' } },
            asking: {
              entry: {
                type: 'ping',
                params: ({ context }) => ({ ref: String(context.epoch), silentMs: context.config.timers.pingSilentMs }),
              },
              on: {
                'ping.ok': { guard: 'current', target: 'resting', actions: 'noteBusy' },
                'ping.crashed': { guard: 'current', target: 'resting' },
              },
            },
          },
        },
        idleness: {
          initial: 'watched',
          states: {
            watched: {
              after: {
                pauseAfter: [
                  { guard: 'isIdle', target: '#vm-supervisor.paused' },
                  { target: 'watched', reenter: true },
                ],
              },
            },
          },
        },
        health: { initial: 'young', states: { young: { after: { healthy: 'proven' } }, proven: { entry: 'nowHealthy' } } },
      },
    },

    /** Its processors stand still. Whatever needs them wakes it; long unused, it is stopped. */
    paused: {
      entry: [
        { type: 'become', params: { state: 'paused' } },
        { type: 'pause', params: ({ context }) => ({ ref: String(context.epoch) }) },
      ],
      after: { stopAfter: { target: 'stopping', actions: 'wantStopped' } },
      on: {
        attach: { actions: 'attach' },
        detach: { target: 'waking', actions: ['detach', 'forgetJobs', 'evictDetached'] },
        ...commands([{ guard: 'knowsSession', target: 'waking', actions: ['retryFailedSession', ...queue] }, { actions: queue }]),
        start: { target: 'waking', actions: ['addStarter'] },
        restart: { target: 'stopping', actions: ['addStarter', 'wantAgain'] },
        stop: { target: 'stopping', actions: ['addStopper', 'wantStopped'] },
        'pause.failed': { guard: 'current', target: 'failed', actions: ['noteFailure', 'interruptAttempt'] },
        'pause.crashed': { guard: 'current', target: 'failed', actions: ['noteFailure', 'interruptAttempt'] },
        'runVm.exited': { guard: 'current', target: 'failed', actions: 'noteFailure' },
        'runVm.crashed': { guard: 'current', target: 'failed', actions: 'noteFailure' },
      },
    },

    waking: {
      entry: { type: 'resume', params: ({ context }) => ({ ref: String(context.epoch) }) },
      after: { verifyStall: { target: 'failed', actions: ['noteFailure', 'interruptAttempt'] } },
      on: {
        ...commands({ actions: queue }),
        detach: { actions: ['detach', 'forgetJobs', 'evictDetached'] },
        start: { actions: 'addStarter' },
        restart: { target: 'stopping', actions: ['addStarter', 'wantAgain'] },
        stop: { target: 'stopping', actions: ['addStopper', 'wantStopped'] },
        'resume.done': { guard: 'current', target: 'ready' },
        'resume.failed': { guard: 'current', target: 'failed', actions: ['noteFailure', 'interruptAttempt'] },
        'resume.crashed': { guard: 'current', target: 'failed', actions: ['noteFailure', 'interruptAttempt'] },
        'runVm.exited': { guard: 'current', target: 'failed', actions: 'noteFailure' },
        'runVm.crashed': { guard: 'current', target: 'failed', actions: 'noteFailure' },
      },
    },

    /** After `noteFailure`: the first ones since it was healthy are tried again at once, commands keep waiting. */
    failed: {
      entry: 'discardFailed',
      always: [{ guard: 'retryAtOnce', target: 'working' }, { target: 'backoff' }],
    },

    backoff: {
      initial: 'drawing',
      on: {
        ...commands({ actions: 'refuseUnavailable' }),
        start: { target: 'working', actions: 'addStarter' },
        restart: { target: 'working', actions: 'addStarter' },
        stop: { target: 'stopped', actions: 'addStopper' },
      },
      states: {
        drawing: {
          entry: [
            'noteDelay',
            { type: 'become', params: { state: 'backoff' } },
            'refuseWaiting',
            'endWaitingJobs',
            { type: 'drawJitter', params: ({ context }) => ({ ref: String(context.epoch) }) },
          ],
          on: {
            'drawJitter.drawn': { guard: 'current', target: 'waiting', actions: 'noteDelay' },
            'drawJitter.crashed': { guard: 'current', target: 'waiting' },
          },
        },
        waiting: { after: { backoff: '#vm-supervisor.working' } },
      },
    },

    /** Nothing runs yet that deserves an orderly end. */
    abandoning: {
      entry: ['interruptAttempt', { type: 'become', params: { state: 'stopping' } }, 'refuseWaiting', 'endWaitingJobs'],
      always: 'stopped',
    },

    stopping: {
      entry: [
        { type: 'become', params: { state: 'stopping' } },
        'refuseWaiting',
        'endWaitingJobs',
        { type: 'halt', params: ({ context }) => ({ ref: String(context.epoch) }) },
      ],
      after: {
        stopLimit: [
          { guard: 'wantsAgain', target: 'working', actions: 'interruptAttempt' },
          { target: 'stopped', actions: 'interruptAttempt' },
        ],
      },
      on: {
        // It is on its way down already; where to is decided when it is there.
        part: [
          { guard: 'forbids', actions: ['notePolicy', 'wantStopped', 'refuseWaiting', 'endWaitingJobs'] },
          { guard: 'isPolicy', actions: 'notePolicy' },
        ],
        ...commands([{ guard: 'wantsAgain', actions: queue }, { actions: 'refuseUnavailable' }]),
        start: { actions: ['addStarter', 'wantAgain'] },
        restart: { actions: ['addStarter', 'wantAgain'] },
        stop: { actions: ['addStopper', 'wantStopped', 'refuseWaiting', 'endWaitingJobs'] },
        'runVm.exited': [
          { guard: 'wantsAgain', target: 'working', actions: 'replyStoppers' },
          { guard: 'current', target: 'stopped' },
        ],
        'runVm.crashed': [
          { guard: 'wantsAgain', target: 'working', actions: 'replyStoppers' },
          { guard: 'current', target: 'stopped' },
        ],
      },
    },

    /** The daemon stops: whatever runs is wound down; no state follows. */
    closing: {
      entry: [
        'wantStopped',
        'refuseRunning',
        'endRunningJobs',
        'interruptUnlessVm',
        { type: 'become', params: { state: 'stopping' } },
        'refuseWaiting',
        'endWaitingJobs',
        { type: 'halt', params: ({ context }) => ({ ref: String(context.epoch) }) },
      ],
      on: {
        ...commands({ actions: 'refuseUnavailable' }),
        start: { actions: 'refuseUnavailable' },
        restart: { actions: 'refuseUnavailable' },
        stop: { actions: 'replyEmpty' },
        attach: { actions: 'attach' },
        part: { guard: 'isPolicy', actions: 'notePolicy' },
        replied: {},
        refused: {},
      },
    },
  },
})
