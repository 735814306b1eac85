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
import { noRequest } from '../../kernel/index.ts'
import { vocabulary } from './machine-lifecycle.ts'
import { initialContext } from './state.ts'

export const machine = vocabulary.createMachine({
  id: 'vm-supervisor',
  context: ({ input }) => initialContext(input.params),
  initial: 'deciding',
  entry: 'watchPolicy',
  on: {
    part: [
      { guard: 'forbidsVm', target: '.stopping', actions: ['notePolicy', 'refuseRunning', 'wantStopped'] },
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
    detach: { actions: 'detach' },
    cancelled: { actions: 'forget' },
    'exec.exited': { actions: 'finishExec' },
    'exec.failed': { actions: 'finishExec' },
    'exec.lost': { actions: 'finishExec' },
    'exec.crashed': { actions: 'finishExec' },
    stopping: '.closing',
  },
  states: {
    deciding: { always: [{ guard: 'isOff', target: 'off' }, { target: 'stopped' }] },

    off: {
      entry: [{ type: 'become', params: { state: 'off' } }, 'refuseWaiting'],
      on: {
        part: { guard: 'isPolicy', target: 'deciding', actions: 'notePolicy' },
        exec: { actions: 'refuseUnavailable' },
        start: { actions: 'refuseUnavailable' },
        restart: { actions: 'refuseUnavailable' },
        stop: { actions: 'replyEmpty' },
      },
    },

    stopped: {
      entry: ['noteDown', { type: 'become', params: { state: 'stopped' } }, 'replyStoppers'],
      always: { guard: 'isOff', target: 'off' },
      on: {
        exec: [{ guard: 'knowsSession', target: 'working', actions: 'queueExec' }, { actions: 'queueExec' }],
        start: { target: 'working', actions: 'addStarter' },
        restart: { target: 'working', actions: 'addStarter' },
        stop: { actions: 'replyEmpty' },
      },
    },

    absent: {
      entry: [{ type: 'become', params: { state: 'absent' } }, 'refuseWaiting'],
      initial: 'resting',
      on: {
        start: { target: 'working', actions: 'addStarter' },
        restart: { target: 'working', actions: 'addStarter' },
        stop: { actions: 'replyEmpty' },
      },
      states: {
        resting: { after: { absentRest: 'stale' }, on: { exec: { actions: 'refuseUnavailable' } } },
        /** It may have been installed meanwhile: the next command looks again. */
        stale: {
          on: { exec: [{ guard: 'knowsSession', target: '#vm-supervisor.working', actions: 'queueExec' }, { actions: 'queueExec' }] },
        },
      },
    },

    working: {
      entry: 'nextAttempt',
      initial: 'probing',
      on: {
        exec: { actions: 'queueExec' },
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
            { type: 'image', params: ({ context }) => ({ ref: String(context.epoch), config: context.config }) },
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
            'accelerate.chosen': { guard: 'current', target: 'booting', actions: 'noteStep' },
            'accelerate.crashed': { guard: 'current', target: '#vm-supervisor.backoff', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.abandoning', actions: 'addStopper' },
          },
        },
        booting: {
          entry: [
            { type: 'become', params: { state: 'booting' } },
            {
              type: 'runVm',
              params: ({ context: { epoch, config, imageDir, accelerator, memoryMiB, cpus } }) => ({
                ref: String(epoch),
                config,
                imageDir,
                accelerator,
                memoryMiB,
                cpus,
              }),
            },
          ],
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
            'verify.ok': { guard: 'current', target: '#vm-supervisor.ready', actions: 'noteStep' },
            'verify.failed': { guard: 'current', target: '#vm-supervisor.failed', actions: ['noteFailure', 'interruptAttempt'] },
            'verify.crashed': { guard: 'current', target: '#vm-supervisor.failed', actions: ['noteFailure', 'interruptAttempt'] },
            'runVm.exited': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            'runVm.crashed': { guard: 'current', target: '#vm-supervisor.failed', actions: 'noteFailure' },
            stop: { target: '#vm-supervisor.stopping', actions: ['addStopper', 'wantStopped'] },
          },
        },
      },
    },

    ready: {
      entry: [{ type: 'become', params: { state: 'ready' } }, 'replyStarters', 'forgetGuestSessions', 'admitSessions', 'runWaiting'],
      type: 'parallel',
      on: {
        attach: { actions: ['attach', 'admitSessions'] },
        detach: { actions: ['detach', 'evictDetached'] },
        exec: { actions: ['retryFailedSession', 'queueExec', 'admitSessions', 'runWaiting'] },
        'exec.exited': { actions: ['finishExec', 'runWaiting'] },
        'exec.failed': { actions: ['finishExec', 'runWaiting'] },
        'exec.lost': { actions: ['finishExec', 'runWaiting'] },
        'exec.crashed': { actions: ['finishExec', 'runWaiting'] },
        'admit.ready': { guard: 'current', actions: ['noteAdmission', 'runWaiting'] },
        'admit.failed': { guard: 'current', actions: ['noteAdmission', 'runWaiting'] },
        start: { actions: 'replyEmpty' },
        stop: { target: 'stopping', actions: ['refuseRunning', 'addStopper', 'wantStopped'] },
        restart: { target: 'stopping', actions: ['refuseRunning', 'addStarter', 'wantAgain'] },
        'ping.silent': { guard: 'current', target: 'failed', actions: ['refuseRunning', 'noteFailure', 'interruptAttempt'] },
        'runVm.exited': { guard: 'current', target: 'failed', actions: ['refuseRunning', 'noteFailure'] },
        'runVm.crashed': { guard: 'current', target: 'failed', actions: ['refuseRunning', 'noteFailure'] },
      },
      states: {
        watchdog: {
          initial: 'resting',
          states: {
            resting: { after: { pingEvery: 'asking' } },
            asking: {
              entry: { type: 'ping', params: ({ context }) => ({ ref: String(context.epoch) }) },
              on: { 'ping.ok': { guard: 'current', target: 'resting' }, 'ping.crashed': { guard: 'current', target: 'resting' } },
            },
          },
        },
        health: { initial: 'young', states: { young: { after: { healthy: 'proven' } }, proven: { entry: 'nowHealthy' } } },
      },
    },

    /** After `noteFailure`: the first ones since it was healthy are tried again at once, commands keep waiting. */
    failed: {
      always: [{ guard: 'retryAtOnce', target: 'working' }, { target: 'backoff' }],
    },

    backoff: {
      initial: 'drawing',
      on: {
        exec: { actions: 'refuseUnavailable' },
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
    abandoning: { entry: ['interruptAttempt', { type: 'become', params: { state: 'stopping' } }, 'refuseWaiting'], always: 'stopped' },

    stopping: {
      entry: [
        { type: 'become', params: { state: 'stopping' } },
        'refuseWaiting',
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
          { guard: 'forbids', actions: ['notePolicy', 'wantStopped', 'refuseWaiting'] },
          { guard: 'isPolicy', actions: 'notePolicy' },
        ],
        exec: [{ guard: 'wantsAgain', actions: 'queueExec' }, { actions: 'refuseUnavailable' }],
        start: { actions: ['addStarter', 'wantAgain'] },
        restart: { actions: ['addStarter', 'wantAgain'] },
        stop: { actions: ['addStopper', 'wantStopped', 'refuseWaiting'] },
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
        'interruptUnlessVm',
        { type: 'become', params: { state: 'stopping' } },
        'refuseWaiting',
        { type: 'halt', params: ({ context }) => ({ ref: String(context.epoch) }) },
      ],
      on: {
        exec: { actions: 'refuseUnavailable' },
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
