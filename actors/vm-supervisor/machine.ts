/**
 * The workspace VM as a state machine: lazy, never giving up, truthful about what it can do now.
 *
 *   stopped --exec/start--> probing -> image -> accelerating -> restoring | booting -> handshake -> verifying -> ready
 *      ^                       | missing             any of these fails, or the VM died: recovering
 *      |                    absent                   recovering --the first ones: at once--> probing
 *      +---- stopping <---- stop (from any)          recovering --> degraded --after its delay--> probing
 *
 * Commands wait while a boot makes progress and are refused at once otherwise.
 */
import { and } from 'xstate'
import { noRequest } from '../../kernel/index.ts'
import { failuresBeforeRollback } from './limits.ts'
import { vocabulary } from './machine-lifecycle.ts'
import {
  admissions,
  asked,
  commands,
  ends,
  endIt,
  endsOf,
  giveUp,
  lose,
  machineParams,
  restartIt,
  runVm,
  saveFailed,
  start,
  startEnds,
  stopIt,
  tryLater,
} from './machine-transitions.ts'
import { initialContext, silenceOf, standRef } from './state.ts'

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
    watch: { actions: 'addWatcher' },
    attach: { actions: 'attach' },
    detach: { actions: ['detach', 'forgetJobs'] },
    network: { actions: 'network' },
    cancelled: { actions: 'forget' },
    ...endsOf({ exec: { actions: 'finishExec' }, job: { actions: 'finishJob' } }),
    jobs: { actions: 'listJobs' },
    'job-news': { actions: 'tellEnds' },
    'job-output': { actions: 'takeOutput' },
    'job-stop': { actions: 'steer' },
    input: { actions: 'steer' },
    resize: { actions: 'steer' },
    signal: { actions: 'steer' },
    ...asked,
    stopping: '.closing',
  },
  states: {
    deciding: { always: [{ guard: 'isOff', target: 'off' }, { target: 'stopped' }] },

    off: {
      entry: [{ type: 'become', params: { state: 'off' } }, 'refuseWaiting', 'endWaitingJobs'],
      on: {
        part: { guard: 'isPolicy', target: 'deciding', actions: 'notePolicy' },
        ...commands(() => ({ actions: 'refuseUnavailable' })),
        start: { actions: 'refuseUnavailable' },
        restart: { actions: 'refuseUnavailable' },
        stop: { actions: 'replyEmpty' },
      },
    },

    stopped: {
      entry: ['noteDown', { type: 'become', params: { state: 'stopped' } }, 'replyStoppers'],
      always: { guard: 'isOff', target: 'off' },
      on: {
        ...commands((queue) => [{ guard: 'knowsSession', target: 'working', actions: queue }, { actions: queue }]),
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
        resting: { after: { absentRest: 'stale' }, on: { ...commands(() => ({ actions: 'refuseUnavailable' })) } },
        /** It may have been installed meanwhile: the next command looks again. */
        stale: {
          on: { ...commands((queue) => [{ guard: 'knowsSession', target: '#vm-supervisor.working', actions: queue }, { actions: queue }]) },
        },
      },
    },

    working: {
      entry: ['nextAttempt', 'forgetGuestSessions'],
      initial: 'probing',
      on: {
        ...commands((queue) => ({ actions: queue })),
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
            'probe.failed': tryLater,
            'probe.crashed': tryLater,
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
                rollback: context.rolledBack || (context.failures >= failuresBeforeRollback && context.lastError?.code !== 'disk-full'),
              }),
            },
          ],
          initial: 'moving',
          states: {
            moving: { after: { imageStall: { target: '#vm-supervisor.degraded', actions: ['interruptAttempt', 'noteFailure'] } } },
          },
          on: {
            'image.progress': { guard: 'current', target: '.moving', actions: 'noteProgress' },
            'image.ready': { guard: 'current', target: 'accelerating', actions: 'noteStep' },
            'image.failed': tryLater,
            'image.crashed': tryLater,
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
            'accelerate.crashed': tryLater,
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
          after: { restoreStall: { target: '#vm-supervisor.recovering', actions: ['noteFailure', 'interruptAttempt'] } },
          on: {
            'vm.spawned': { guard: 'current', actions: 'noteStep' },
            'vm.connected': { guard: 'current', target: 'handshake' },
            'vm.handshake': { guard: 'current', target: 'verifying', actions: 'noteStep' },
            ...startEnds,
          },
        },
        booting: {
          entry: [{ type: 'become', params: { state: 'booting' } }, runVm],
          initial: 'moving',
          states: {
            moving: { after: { bootStall: { target: '#vm-supervisor.recovering', actions: ['noteFailure', 'interruptAttempt'] } } },
          },
          on: {
            'vm.spawned': { guard: 'current', target: '.moving', actions: 'noteStep' },
            'vm.progress': { guard: 'current', target: '.moving', actions: 'noteProgress' },
            'vm.connected': { guard: 'current', target: 'handshake' },
            'vm.handshake': { guard: 'current', target: 'verifying', actions: 'noteStep' },
            ...startEnds,
          },
        },
        /** Its agent is there, and is asked until it answers. */
        handshake: {
          entry: { type: 'become', params: { state: 'handshake' } },
          after: { handshakeStall: { target: '#vm-supervisor.recovering', actions: ['noteFailure', 'interruptAttempt'] } },
          on: {
            'vm.spawned': { guard: 'current', actions: 'noteStep' },
            'vm.handshake': { guard: 'current', target: 'verifying', actions: 'noteStep' },
            ...startEnds,
          },
        },
        verifying: {
          entry: [
            { type: 'become', params: { state: 'verifying' } },
            { type: 'verify', params: ({ context }) => ({ ref: String(context.epoch) }) },
          ],
          after: { verifyStall: { target: '#vm-supervisor.recovering', actions: ['noteFailure', 'interruptAttempt'] } },
          on: {
            'verify.ok': [
              { guard: and(['current', 'saves']), target: 'saving' },
              { guard: 'current', target: '#vm-supervisor.ready', actions: 'noteStep' },
            ],
            'verify.failed': giveUp,
            'verify.crashed': giveUp,
            ...startEnds,
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
            'save.failed': saveFailed,
            'save.crashed': saveFailed,
            ...startEnds,
          },
        },
      },
    },

    ready: {
      entry: [{ type: 'become', params: { state: 'ready' } }, 'replyStarters', 'trust', 'admitSessions', ...start],
      type: 'parallel',
      on: {
        attach: { actions: ['attach', 'admitSessions'] },
        detach: { actions: ['detach', 'forgetJobs', 'evictDetached'] },
        ...commands((queue) => ({ actions: ['retryFailedSession', queue, 'admitSessions', ...start] })),
        ...endsOf({ exec: { actions: ['finishExec', ...start] }, job: { actions: ['finishJob', ...start] } }),
        ...admissions(start),
        start: { actions: 'replyEmpty' },
        stop: stopIt,
        restart: restartIt,
        'vm.full': { guard: 'current', target: 'full' },
        ...ends,
      },
      states: {
        /** Whether the guest answers: asked now and then, and before a command goes to one that has not been heard for a moment. */
        watchdog: {
          initial: 'fresh',
          states: {
            fresh: { after: { freshFor: 'stale' } },
            stale: {
              after: { pingEvery: 'asking' },
              on: { ...commands((queue) => ({ target: 'asking', actions: ['retryFailedSession', queue, 'admitSessions'] })) },
            },
            asking: {
              entry: ['doubt', { type: 'ping', params: ({ context }) => ({ ref: String(context.epoch), silentMs: silenceOf(context) }) }],
              on: {
                ...commands((queue) => ({ actions: ['retryFailedSession', queue, 'admitSessions'] })),
                'ping.ok': { guard: 'current', target: 'fresh', actions: ['noteBusy', 'trust', ...start] },
                'ping.crashed': { guard: 'current', target: 'fresh', actions: ['trust', ...start] },
                'ping.silent': endIt,
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
        /** Proven by standing long enough and by what it serves: one that leaves a command waiting is not, however long it stands. */
        health: {
          initial: 'young',
          states: {
            young: {
              after: {
                healthy: [
                  { guard: 'nobodyWaits', target: 'proven' },
                  { target: 'young', reenter: true },
                ],
              },
            },
            proven: { entry: 'nowHealthy' },
          },
        },
      },
    },

    /** Its processors stand still. Whatever needs them wakes it; long unused, it is stopped. */
    paused: {
      entry: [
        { type: 'become', params: { state: 'paused' } },
        'nextStand',
        { type: 'pause', params: ({ context }) => ({ ref: standRef(context) }) },
      ],
      after: { stopAfter: { target: 'stopping', actions: 'wantStopped' } },
      on: {
        attach: { actions: 'attach' },
        detach: { target: 'waking', actions: ['detach', 'forgetJobs', 'evictDetached'] },
        ...commands((queue) => [{ guard: 'knowsSession', target: 'waking', actions: ['retryFailedSession', queue] }, { actions: queue }]),
        start: { target: 'waking', actions: ['addStarter'] },
        restart: restartIt,
        stop: stopIt,
        'pause.failed': endIt,
        'pause.crashed': endIt,
        ...admissions([]),
        ...ends,
      },
    },

    /**
     * The host's disk has no room for what the VM writes: it stands still, and what runs in it, until there is room. New commands are refused
     * meanwhile. After a while it is given up, so that those who wait get an answer, and its disk gives its room back.
     */
    full: {
      entry: [
        'noteFull',
        { type: 'become', params: { state: 'degraded' } },
        'refuseWaiting',
        'endWaitingJobs',
        'nextStand',
        { type: 'pause', params: ({ context }) => ({ ref: standRef(context) }) },
        { type: 'awaitRoom', params: ({ context }) => ({ ref: String(context.epoch), config: context.config }) },
      ],
      after: { fullGrace: { target: 'recovering', actions: [...lose, 'interruptAttempt'] } },
      on: {
        detach: { actions: ['detach', 'forgetJobs', 'evictDetached'] },
        ...commands(() => ({ actions: 'refuseUnavailable' })),
        start: { actions: 'refuseUnavailable' },
        restart: restartIt,
        stop: stopIt,
        'awaitRoom.found': { guard: 'current', target: 'waking', actions: 'noteRoom' },
        'awaitRoom.crashed': endIt,
        'pause.failed': endIt,
        'pause.crashed': endIt,
        ...admissions([]),
        ...ends,
      },
    },

    waking: {
      entry: ['nextStand', { type: 'resume', params: ({ context }) => ({ ref: standRef(context) }) }],
      after: { verifyStall: { target: 'recovering', actions: [...lose, 'interruptAttempt'] } },
      on: {
        ...commands((queue) => ({ actions: ['retryFailedSession', queue] })),
        detach: { actions: ['detach', 'forgetJobs', 'evictDetached'] },
        start: { actions: 'addStarter' },
        restart: restartIt,
        stop: stopIt,
        'vm.full': { guard: 'current', target: 'full' },
        'resume.done': { guard: 'current', target: 'ready' },
        'resume.failed': endIt,
        'resume.crashed': endIt,
        ...admissions([]),
        ...ends,
      },
    },

    /** After `noteFailure`: the first ones since it was healthy are tried again at once, commands keep waiting. */
    recovering: {
      entry: ['discardFailed', { type: 'become', params: { state: 'recovering' } }],
      always: [{ guard: 'retryAtOnce', target: 'working' }, { target: 'degraded' }],
    },

    degraded: {
      initial: 'drawing',
      on: {
        ...commands(() => ({ actions: 'refuseUnavailable' })),
        start: { target: 'working', actions: 'addStarter' },
        restart: { target: 'working', actions: 'addStarter' },
        stop: { target: 'stopped', actions: 'addStopper' },
      },
      states: {
        drawing: {
          entry: [
            'noteDelay',
            { type: 'become', params: { state: 'degraded' } },
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
          { guard: 'wantsAgain', target: 'working', actions: ['interruptAttempt', 'replyStoppers'] },
          { target: 'stopped', actions: 'interruptAttempt' },
        ],
      },
      on: {
        // It is on its way down already; where to is decided when it is there.
        part: [
          { guard: 'forbids', actions: ['notePolicy', 'wantStopped', 'refuseWaiting', 'endWaitingJobs'] },
          { guard: 'isPolicy', actions: 'notePolicy' },
        ],
        ...commands((queue) => [{ guard: 'wantsAgain', actions: queue }, { actions: 'refuseUnavailable' }]),
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
        ...commands(() => ({ actions: 'refuseUnavailable' })),
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
