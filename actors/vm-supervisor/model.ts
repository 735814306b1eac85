/**
 * What the checker plays around the supervisor's machine, and what must hold. One session, one command or one in the background that may be
 * ended, one stop, one restart, one caller that gives up.
 */
import { defineModel, type Model, type Stimulus, stopping, type View } from '../../checker/model.ts'
import { failuresWithoutSaving } from './limits.ts'
import { machine } from './machine.ts'
import { hasVm, policyRef } from './machine-base.ts'
import { always, placeOf, steps } from './model-properties.ts'
import * as waitingFor from './model-waiting.ts'
import {
  all,
  end,
  ends,
  error,
  found,
  goesOn,
  lively,
  type Outcomes,
  policy,
  refOf,
  result,
  smooth,
  starts,
  strays,
  strayWords,
  troubled,
  vm,
} from './model-world.ts'
import { type Context, isFrozen, openJobs, standRef } from './state.ts'

const fullDisk = { code: 'disk-full', message: 'made up', remedy: 'none' } as const
const from = (request: number, session: string | null = null) => ({ request, badge: { from: 'x', session, limits: {} }, caps: [] })
const answered = (state: string) => (view: View<Context>) => view.context.state === state

/** Guards drop the outcome of an effect of an earlier attempt, and of an admission that is not the session's last. */
const isCurrent = ({ ref, revision, session }: Readonly<Record<string, unknown>>, context: Context): boolean =>
  (ref === undefined || ref === String(context.epoch) || ref === standRef(context)) &&
  (revision === undefined || context.sessions[String(session)]?.revision === revision)

/** The machine is where it asked for these, or else has gone on, and does not look at what they come to. */
const isAwaited = (effect: string, { context, value }: View<Context>): boolean => {
  if (effect === 'awaitRoom') return isFrozen(context)
  if (effect === 'pause') return value === 'paused' || value === 'full'
  if (effect === 'resume') return value === 'waking'
  return effect !== 'ping' || (value as { ready?: { watchdog: string } }).ready?.watchdog === 'asking'
}

/** Requests that are allowed to wait: everything else must have been answered. */
const waits = ({ context }: View<Context>): ReadonlySet<number> =>
  new Set([
    ...context.waiting.map(({ request }) => request),
    ...Object.keys(context.running).map(Number),
    ...context.starters,
    ...context.stoppers,
  ])

const stimuli: readonly Stimulus<Context>[] = [
  { name: 'attach', event: (_, request) => ({ type: 'attach', body: { session: 's', folders: [] }, from: from(request) }) },
  // One or the other: both share only the count of what runs.
  {
    name: 'exec',
    when: ({ sent }) => sent['job'] === undefined,
    event: (_, request) => ({ type: 'exec', body: { command: 'true' }, from: from(request, 's') }),
  },
  {
    name: 'job',
    when: ({ sent }) => sent['exec'] === undefined && sent['restart'] === undefined,
    event: (_, request) => ({ type: 'job', body: { command: 'true' }, from: from(request, 's') }),
  },
  {
    name: 'job-stop',
    when: ({ context }) => openJobs(context).length > 0,
    event: (_, request) => ({ type: 'job-stop', body: { job: 'job-1' }, from: from(request, 's') }),
  },
  { name: 'stop', event: (_, request) => ({ type: 'stop', body: {}, from: from(request) }) },
  {
    name: 'restart',
    when: ({ sent }) => sent['job'] === undefined,
    event: (_, request) => ({ type: 'restart', body: {}, from: from(request) }),
  },
  stopping,
  {
    name: 'cancel',
    request: false,
    when: (view) => waits(view).size > 0,
    event: (view) => ({ type: 'cancelled', request: [...waits(view)][0] }),
  },
]

/** @param named which of them are played */
const modelOf = (named: readonly string[]) =>
  defineModel<Context>({
    actor: 'vm-supervisor',
    machine,
    input: { params: { home: '/h', imageDir: '/i', guestDir: '/g', nodeBinary: '/n', vm: 'auto' }, slots: [] },
    stimuli: stimuli.filter(({ name }) => named.includes(name)),
    effects: {
      probe: () => [
        end({ type: 'probe.found', ...found }),
        end({ type: 'probe.missing', error }),
        end({ type: 'probe.failed', error: fullDisk }),
        end({ type: 'probe.crashed', error }),
      ],
      image: () => [
        end({ type: 'image.ready', dir: '/i/x', built: false, rolledBack: false, ms: 1 }),
        end({ type: 'image.failed', error }),
      ],
      accelerate: () => [
        end({ type: 'accelerate.chosen', accelerator: 'tcg', why: 'x', cached: true, ms: 1 }),
        end({ type: 'accelerate.crashed', error }),
      ],
      lookForSnapshot: () => [
        end({ type: 'lookForSnapshot.found', key: 'k', ms: 1 }),
        // No room for one comes to the same as that none can be saved.
        end({ type: 'lookForSnapshot.none', key: 'k', room: true, ms: 1 }),
        end({ type: 'lookForSnapshot.none', key: 'k', room: false, ms: 1 }),
      ],
      runVm: (params: { ref: string }, { context }) => [
        ...(starts(context) && context.pid === null ? [goesOn({ type: 'vm.spawned', epoch: refOf(params), pid: 7 })] : []),
        ...(starts(context) && context.state !== 'handshake' ? [goesOn({ type: 'vm.connected', epoch: refOf(params) })] : []),
        ...(hasVm(context) && context.state !== 'paused' ? [goesOn({ type: 'vm.full', epoch: refOf(params), free: 0, reserve: 1 })] : []),
        ...(starts(context) && context.pid !== null
          ? [goesOn({ type: 'vm.handshake', epoch: refOf(params), ms: 1, guestMs: 1, kernel: 'k' })]
          : []),
        end({ type: 'runVm.exited', code: null, signal: 'SIGKILL', detail: '' }),
      ],
      verify: () => [end({ type: 'verify.ok', ms: 1, at: 1 }), end({ type: 'verify.failed', error })],
      save: () => [end({ type: 'save.saved', ms: 1 }), end({ type: 'save.failed', error })],
      awaitRoom: () => [end({ type: 'awaitRoom.found' }), end({ type: 'awaitRoom.gone' })],
      discard: () => [end({ type: 'discard.done' })],
      pause: () => [end({ type: 'pause.done' }), end({ type: 'pause.failed', error })],
      resume: () => [end({ type: 'resume.done' }), end({ type: 'resume.failed', error })],
      admit: ({ session, revision }: { session: string; revision: number }) => [
        end({ type: 'admit.ready', session, revision }),
        end({ type: 'admit.failed', session, revision, error }),
        end({ type: 'admit.crashed', error }),
      ],
      setNetwork: () => [end({ type: 'setNetwork.done' })],
      evict: () => [end({ type: 'evict.done' })],
      exec: () => [end({ type: 'exec.exited', ...result }), end({ type: 'exec.lost', error })],
      job: () => [end({ type: 'job.exited', ...result }), end({ type: 'job.lost', error })],
      readJob: ({ job }: { job: string }) => [
        end({ type: 'readJob.read', job, output: '', missed: 0, outputFile: null }),
        end({ type: 'readJob.crashed', error }),
      ],
      steerCommand: () => [end({ type: 'steerCommand.done' }), end({ type: 'steerCommand.failed', error })],
      settleJobs: () => [],
      ping: () => [end({ type: 'ping.ok', busy: false }), end({ type: 'ping.silent' })],
      drawJitter: () => [end({ type: 'drawJitter.drawn', fraction: 0 })],
      halt: () => [end({ type: 'halt.done' })],
    },
    // Policy is watched for good; what it says are stimuli.
    replies: () => [],
    // Attempt numbers only name attempts; counters only feed status. Failures beyond three change nothing but the delay.
    project: ({
      failures,
      hardwareFailures,
      how,
      saved,
      restarts,
      state,
      wasReady,
      pid,
      waiting,
      running,
      starters,
      stoppers,
      watchers,
      again,
      lastError,
      sessions,
      jobs,
      forbidden,
    }) => ({
      state,
      forbidden,
      wasReady,
      pid,
      waiting,
      running,
      starters,
      stoppers,
      watchers,
      again,
      failed: lastError !== null,
      failures: Math.min(failures, 3),
      hardwareFailures: Math.min(hardwareFailures, 3),
      how: hasVm({ state, pid }) ? how : null,
      // It matters only as long as failures do not keep the next machine from being saved.
      saved: saved || failures >= failuresWithoutSaving,
      restarted: restarts > 0,
      jobs: Object.entries(jobs).map(([name, job]) => [name, job.state]),
      sessions: Object.fromEntries(Object.entries(sessions).map(([name, { inGuest }]) => [name, inGuest])),
    }),
    projectPending: (item, view) =>
      item.what !== 'effect'
        ? item
        : item.name === 'discard' || item.name === 'settleJobs' || !isAwaited(item.name, view)
          ? // Nobody waits for it.
            undefined
          : item.name === 'job'
            ? view.context.jobs[String(item.params['ref'])]?.state === 'running'
              ? [item.name, item.params['ref']]
              : undefined
            : isCurrent(item.params, view.context)
              ? [item.name, item.params['request'] ?? item.params['session']]
              : undefined,
    always: {
      'a machine that is to be saved knows no session': ({ context }) =>
        context.how !== 'boot-and-save' ||
        (Object.keys(context.running).length === 0 &&
          Object.values(context.sessions).every(({ inGuest }) => inGuest === 'no' || inGuest === 'failed')),
      'a request is either waiting for something named or answered': (view) => {
        const waiting = waits(view)
        const asked = ['readClock', 'readJob', 'steerCommand']
        const answering = view.pending.flatMap((item) =>
          item.what === 'effect' && asked.includes(item.name) ? [item.params['request']] : [],
        )
        return view.open.every((request) => waiting.has(request) || view.context.watchers.includes(request) || answering.includes(request))
      },
      'commands run only while the VM is ready': ({ context, value }) =>
        Object.keys(context.running).length === 0 || context.state === 'ready' || isFrozen(context) || value === 'closing',
      'nothing waits while the VM is down': ({ context, value }) =>
        !['off', 'absent', 'degraded'].includes(context.state) ||
        value === 'waking' ||
        (context.waiting.length === 0 &&
          context.starters.length === 0 &&
          (isFrozen(context) || openJobs(context).length === 0) &&
          openJobs(context).every(({ state }) => state === 'running')),
      'a background command runs only while the VM is ready, and never twice': ({ context, value, pending }) => {
        const running = Object.entries(context.jobs).flatMap(([name, { state }]) => (state === 'running' ? [name] : []))
        const started = pending.flatMap((item) => (item.what === 'effect' && item.name === 'job' ? [item.params['ref']] : []))
        return (
          (running.length === 0 || context.state === 'ready' || isFrozen(context) || value === 'closing') &&
          running.every((name) => started.includes(name)) &&
          new Set(started).size === started.length
        )
      },
      'no failure latches: a VM that is not ready is stopped, on its way, or has a timer or an effect pending': ({
        context,
        pending,
        value,
      }) =>
        value === 'closing' ||
        ['ready', 'stopped', 'off', 'absent'].includes(context.state) ||
        pending.some(({ what }) => what !== 'request'),
      'where policy forbids it, no VM is started or said to be ready': ({ context }) =>
        context.forbidden === null || ['off', 'stopping'].includes(context.state),
      'at most one VM process at a time': ({ pending }) =>
        pending.filter((item) => item.what === 'effect' && item.name === 'runVm').length <= 1,
      'ready is said only with a VM process behind it': ({ context, pending }) =>
        context.state !== 'ready' ||
        pending.some((item) => item.what === 'effect' && item.name === 'runVm' && item.params['ref'] === String(context.epoch)),
    },
    sometimes: {
      ready: answered('ready'),
      degraded: ({ context }) => context.state === 'degraded' && !isFrozen(context),
      'standing still because the disk is full, a command in it': ({ context }) =>
        isFrozen(context) && Object.keys(context.running).length > 0,
      absent: answered('absent'),
      'a command running': ({ context }) => Object.keys(context.running).length > 0,
      'a background command running': ({ context }) => Object.values(context.jobs).some(({ state }) => state === 'running'),
      'one that was lost with the VM': ({ context }) =>
        Object.values(context.jobs).some((job) => job.end?.error?.code === 'workspace-unavailable'),
      'from a saved memory': ({ context }) => context.state === 'ready' && context.how === 'restore',
      paused: answered('paused'),
      'woken for a command': ({ context, value }) => value === 'waking' && context.waiting.length > 0,
      'ready again after a death': ({ context }) => context.state === 'ready' && context.restarts > 0,
    },
    mayEnd: ({ context, value }) => value === 'closing' || ['stopped', 'absent', 'ready', 'paused', 'off'].includes(context.state),
  })

export const model = modelOf(['attach', 'exec', 'job', 'restart', 'cancel'])
export const fullModel = modelOf(stimuli.map(({ name }) => name))

type Seen = Model<Context>['sometimes']
const bodies: Readonly<Record<string, object>> = {
  exec: { command: 'true' },
  shell: { handle: 'h', cols: 1, rows: 1 },
  job: { command: 'true' },
  detach: { session: 's' },
  attach: { session: 's', folders: [] },
  network: { session: 's' },
  'job-output': { job: 'job-1' },
  'job-stop': { job: 'job-1' },
  input: { handle: 'h', bytes: 'x' },
  resize: { handle: 'h', cols: 1, rows: 1 },
  signal: { handle: 'h', signal: 'SIGTERM' },
}
const unowned = new Set(['attach', 'detach', 'network', 'start', 'stop', 'restart', 'status', 'watch'])
const asks = (type: string, times = 1): Stimulus<Context> => ({
  name: type,
  times,
  event: (_, request) => ({
    type,
    body: bodies[type] ?? {},
    from: { ...from(request, unowned.has(type) ? null : 's'), ...(type === 'network' ? { caps: [5] } : {}) },
  }),
})
const tells = (allows: boolean): Stimulus<Context> => ({
  name: allows ? 'policy allows' : 'policy forbids',
  request: false,
  event: () => ({ type: 'part', ref: policyRef, kind: 'watch', body: policy(allows) }),
})
const cancels = stimuli.filter(({ name }) => name === 'cancel')

const judge = (
  played: readonly Stimulus<Context>[],
  seen: Seen,
  effects: Outcomes = {},
  more: Partial<Model<Context>> = {},
): Model<Context> => ({
  ...model,
  always: { ...model.always, ...always, ...waitingFor.always },
  steps: { ...steps, ...waitingFor.steps },
  takes: () => true,
  stimuli: played,
  effects: { ...model.effects, ...smooth, ...effects },
  sometimes: seen,
  mayEnd: () => true,
  ...more,
})
const reached = (...places: readonly string[]): Seen =>
  Object.fromEntries(places.map((place) => [place, (view: View<Context>) => placeOf(view) === place]))

const isAttached = ({ sent }: View<Context>): boolean => sent['attach'] !== undefined
/** In a session that is known from the beginning. */
const inSession = (...played: readonly Stimulus<Context>[]): Stimulus<Context>[] => [
  { ...asks('attach'), when: (view) => view.value === 'stopped' && !isAttached(view) },
  ...played.map((stimulus) => ({ ...stimulus, when: (view: View<Context>) => isAttached(view) && stimulus.when?.(view) !== false })),
]

const command = (kind: string): Model<Context>[] => [
  judge(inSession(asks(kind, 2)), reached('ready', 'paused', 'full', 'waking'), {
    ...lively,
    exec: ends('exec'),
    job: ends('job'),
    admit: ({ session, revision }: { session: string; revision: number }, { context }) => [
      end({ type: 'admit.ready', session, revision }),
      ...(context.failures === 0 ? [end({ type: 'admit.failed', session, revision, error }), end({ type: 'admit.crashed', error })] : []),
    ],
  }),
  ...[
    [asks('start'), asks('stop')],
    [asks('restart'), asks('stop')],
    [asks('start'), asks('restart')],
    [asks('start'), stopping],
    [asks('start'), tells(false)],
  ].map((others) =>
    judge(inSession(asks(kind), ...others), reached('ready'), {
      probe: (_: never, { context }) => [
        end({ type: 'probe.found', ...found }),
        ...(context.failures === 0 ? [end({ type: 'probe.missing', error }), end({ type: 'probe.failed', error })] : []),
      ],
      admit: () => [],
    }),
  ),
]

/** Models that judge its mutants (`check --mutate`), each of one theme. */
export const judges: readonly Model<Context>[] = [
  ...['exec', 'shell', 'job'].flatMap(command),
  // Starts and their failures.
  judge([asks('start')], reached('working.saving', 'working.handshake', 'degraded.waiting', 'absent.stale', 'ready'), troubled),
  judge([asks('start'), asks('stop')], reached('working.saving', 'stopping'), {
    lookForSnapshot: troubled['lookForSnapshot'] as Outcomes[string],
    save: all('save', { saved: { ms: 1 } }),
  }),
  judge([asks('start'), asks('stop')], reached('working.handshake', 'stopping'), { runVm: vm('connected') }),
  // What becomes of a VM that is ready.
  judge([asks('start'), asks('stop')], reached('paused', 'full', 'waking', 'stopping'), lively),
  ...[asks('restart'), asks('detach'), { ...asks('start'), name: 'start again' }].map((other) =>
    judge([asks('start'), other], reached('paused', 'full', 'waking'), { runVm: vm('full') }),
  ),
  // Policy.
  judge(
    [asks('start'), tells(false), tells(true), ...strayWords],
    reached('off'),
    {},
    {
      replies: ({ ref, kind }) => [
        { type: 'refused', ref, kind, error },
        { type: 'replied', ref, kind, body: {}, caps: [] },
      ],
    },
  ),
  // What is answered at once.
  judge(
    ['status', 'watch', 'network', 'jobs', 'job-news', 'job-output', 'job-stop', 'input', 'resize', 'signal', 'attach', 'detach']
      .map((kind) => asks(kind))
      .map((stimulus) => ({ ...stimulus, when: ({ sent }: View<Context>) => Object.keys(sent).every((name) => name === 'attach') })),
    reached('stopped'),
    {
      steerCommand: all('steerCommand', { done: {}, failed: { error }, crashed: { error } }),
      readClock: all('readClock', { read: { at: 1 }, crashed: { error } }),
    },
  ),
  // Commands of a session that nobody attached.
  judge([asks('start'), ...['exec', 'shell', 'job'].map((kind) => asks(kind))], reached('stopped', 'absent.stale'), {
    probe: all('probe', { missing: { error } }),
  }),
  judge([asks('start'), ...['exec', 'shell', 'job'].map((kind) => asks(kind))], reached('paused', 'ready')),
  // Commands in the background, and in front, that are given up, ended, read.
  judge(
    inSession(asks('job'), asks('job-output'), asks('job-stop'), asks('job-news')),
    { 'a job runs': ({ context }) => Object.values(context.jobs).some(({ state }) => state === 'running') },
    { job: ends('job') },
  ),
  judge(
    inSession(asks('exec'), asks('watch'), ...cancels),
    { 'a command runs': ({ context }) => Object.keys(context.running).length > 0 },
    { exec: ends('exec') },
  ),
  // What becomes of commands that run when the VM is stopped, or begun anew, or forbidden, or the daemon stops, or their session ends.
  ...['exec', 'job'].flatMap((kind) =>
    [asks('stop'), asks('restart'), asks('detach'), tells(false), stopping].map((other) =>
      judge(
        inSession(asks(kind), other),
        {
          'a command runs': ({ context }) =>
            Object.keys(context.running).length > 0 || Object.values(context.jobs).some(({ state }) => state === 'running'),
        },
        { exec: ends('exec'), job: ends('job'), runVm: vm('full') },
      ),
    ),
  ),
  // A command that comes while it is on its way down to begin again, and then is not to.
  ...['exec', 'job'].flatMap((kind) =>
    [asks('stop'), tells(false)].map((other) =>
      judge(inSession(asks('start'), asks('restart'), asks(kind), other), reached('stopping'), { admit: () => [] }),
    ),
  ),
  // What is said while the daemon stops: one thing.
  judge(
    [
      asks('start'),
      stopping,
      ...[
        ...['exec', 'shell', 'job', 'restart', 'stop', 'attach', 'detach', 'status', 'watch'].map((kind) => asks(kind)),
        tells(false),
        tells(true),
        ...strayWords,
      ].map(
        (stimulus): Stimulus<Context> => ({
          ...stimulus,
          name: `closing: ${stimulus.name}`,
          when: ({ value, sent }) => value === 'closing' && Object.keys(sent).every((name) => !name.startsWith('closing: ')),
        }),
      ),
    ],
    reached('closing'),
    {},
    { replies: ({ ref, kind }) => [{ type: 'refused', ref, kind, error }] },
  ),
  // One whose folders change while it is in a VM, whatever that does meanwhile.
  judge(
    inSession(asks('exec'), { ...asks('attach'), name: 'attach again' }),
    { 'it is told of them': ({ context }) => context.state === 'ready' && context.sessions['s']?.inGuest === 'pending' },
    { ...lively, runVm: vm('full') },
  ),
  judge(
    ['start', 'stop', 'restart', 'exec', 'shell', 'job'].map((kind) => asks(kind)),
    reached('off'),
    {},
    { input: { params: { home: '/h', imageDir: '/i', guestDir: '/g', nodeBinary: '/n', vm: 'off' }, slots: [] } },
  ),
  // What earlier attempts still say.
  judge([asks('start'), ...strays], reached('paused', 'full', 'waking', 'degraded.drawing', 'working.saving'), {
    probe: (_: never, { context }) => [
      end({ type: 'probe.found', ...found }),
      ...(context.failures === 0 ? [end({ type: 'probe.failed', error })] : []),
    ],
    lookForSnapshot: troubled['lookForSnapshot'] as Outcomes[string],
    save: all('save', { saved: { ms: 1 } }),
    runVm: vm('full', 'connected'),
  }),
  judge([asks('start'), asks('stop'), ...strays], reached('stopping')),
]
