/** Transitions, and what a start needs, that several states of the supervisor's machine have in common. */
import type { Context } from './state.ts'

export const machineParams = ({ config, imageDir, accelerator, memoryMiB, cpus }: Context) => ({
  config,
  imageDir,
  accelerator,
  memoryMiB,
  cpus,
})

export const runVm = {
  type: 'runVm',
  params: ({ context }: { context: Context }) => ({
    ref: String(context.epoch),
    how: context.how,
    key: context.snapshotKey,
    ...machineParams(context),
  }),
} as const

/** The three ways to run a command are taken, or refused, alike; `queue`: what lets one of its kind wait its turn. */
export const commands = <const Transition>(transition: (queue: 'queueExec' | 'queueJob') => Transition) => ({
  exec: transition('queueExec'),
  shell: transition('queueExec'),
  job: transition('queueJob'),
})
/** However a command ends. */
export const endsOf = <const Exec, const Job>({ exec, job }: { exec: Exec; job: Job }) => ({
  'exec.exited': exec,
  'exec.failed': exec,
  'exec.lost': exec,
  'exec.crashed': exec,
  'job.exited': job,
  'job.failed': job,
  'job.lost': job,
  'job.crashed': job,
})
/** However the making of a session comes out; `then`: what follows where commands may start. */
export const admissions = <const Then extends readonly string[]>(then: Then) => {
  const noted = { guard: 'current', actions: ['noteAdmission', 'endFailedJobs', ...then] } as const
  return { 'admit.ready': noted, 'admit.failed': noted, 'admit.crashed': noted } as const
}
/** Whoever asked for these waits for nothing but their outcome. */
export const asked = {
  'readClock.read': { actions: 'replyStatus' },
  'readClock.crashed': { actions: 'refuseAsked' },
  'readJob.read': { actions: 'replyJob' },
  'readJob.crashed': { actions: 'refuseAsked' },
  'steerCommand.done': { actions: 'replySteered' },
  'steerCommand.failed': { actions: 'refuseAsked' },
  'steerCommand.crashed': { actions: 'refuseAsked' },
} as const
/** Those commands that may start do. */
export const start = ['runWaiting', 'runJobs'] as const

/** A start that did not even get as far as a VM; one whose VM is given up. */
export const tryLater = { guard: 'current', target: '#vm-supervisor.degraded', actions: 'noteFailure' } as const
export const giveUp = { guard: 'current', target: '#vm-supervisor.recovering', actions: ['noteFailure', 'interruptAttempt'] } as const
export const saveFailed = {
  guard: 'current',
  target: '#vm-supervisor.working',
  actions: ['noteSaveFailure', 'interruptAttempt'],
  reenter: true,
} as const
/** How a start ends before it is one. */
export const startEnds = {
  'runVm.exited': { guard: 'current', target: '#vm-supervisor.recovering', actions: 'noteFailure' },
  'runVm.crashed': { guard: 'current', target: '#vm-supervisor.recovering', actions: 'noteFailure' },
  'vm.full': giveUp,
  stop: { target: '#vm-supervisor.stopping', actions: ['addStopper', 'wantStopped'] },
} as const
/** Everything that runs is lost, and told so. */
export const lose = ['refuseRunning', 'endRunningJobs', 'noteFailure'] as const
const died = { guard: 'current', target: '#vm-supervisor.recovering', actions: lose } as const
export const endIt = { guard: 'current', target: '#vm-supervisor.recovering', actions: [...lose, 'interruptAttempt'] } as const
/** How a VM that had been ready ends by itself. */
export const ends = { 'runVm.exited': died, 'runVm.crashed': died } as const
export const stopIt = {
  target: '#vm-supervisor.stopping',
  actions: ['refuseRunning', 'endRunningJobs', 'addStopper', 'wantStopped'],
} as const
export const restartIt = {
  target: '#vm-supervisor.stopping',
  actions: ['refuseRunning', 'endRunningJobs', 'addStarter', 'wantAgain'],
} as const
