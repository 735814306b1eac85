/** How what the supervisor asks for may come out, for the models that judge its mutants: smoothly, with every trouble of a start, or of a VM. */
import type { Event, Model, Stimulus, View } from '../../checker/model.ts'
import { hasVm } from './machine-base.ts'
import type { Context } from './state.ts'

export const error = { code: 'internal', message: 'made up', remedy: 'none' }
export const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
export const goesOn = (event: { type: string; [key: string]: unknown }) => ({ event, ends: false })
export const refOf = (params: { ref: string }): string => params.ref
export const starts = ({ state }: Context): boolean => state === 'booting' || state === 'restoring' || state === 'handshake'

export type Outcomes = Model<Context>['effects']
export const result = { exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/', outputFile: null }
export const all = (name: string, outcomes: Readonly<Record<string, object>>) => () =>
  Object.entries(outcomes).map(([outcome, more]) => end({ type: `${name}.${outcome}`, ...more }))
export const vm = (...kinds: readonly string[]): Outcomes[string] =>
  ((params: { ref: string }, { context }: View<Context>) => {
    const epoch = refOf(params)
    const isUp = context.pid !== null
    return [
      ...(starts(context) && !isUp ? [goesOn({ type: 'vm.spawned', epoch, pid: 7 })] : []),
      // Its agent may be heard before it is known to run.
      ...(starts(context) && context.state !== 'handshake' && kinds.includes('connected') ? [goesOn({ type: 'vm.connected', epoch })] : []),
      ...(starts(context) && kinds.includes('progress') ? [goesOn({ type: 'vm.progress', epoch, text: 'x' })] : []),
      ...(hasVm(context) && kinds.includes('full') ? [goesOn({ type: 'vm.full', epoch, free: 0, reserve: 1 })] : []),
      ...(starts(context) && isUp ? [goesOn({ type: 'vm.handshake', epoch, ms: 1, guestMs: 1, kernel: 'k' })] : []),
      ...(context.state === 'stopping' ||
      (kinds.includes('dies once') && !starts(context) && context.failures === 0) ||
      kinds.includes('dies')
        ? [end({ type: 'runVm.exited', code: null, signal: 'SIGKILL', detail: '' }), end({ type: 'runVm.crashed', error })]
        : []),
    ]
  }) as Outcomes[string]

export const found = { hypervisor: { noJail: null, uid: null, noUser: null }, memoryMiB: 512, cpus: 1, ms: 1 }
const ready = { dir: '/i/x', built: false, rolledBack: false, ms: 1 }
const chosen = { accelerator: 'kvm', why: 'x', cached: true, ms: 1 }
const none = { key: 'k', room: false, ms: 1 }
/** A start that succeeds, a VM that ends when it is to. */
export const smooth: Outcomes = {
  probe: all('probe', { found }),
  image: all('image', { ready }),
  accelerate: all('accelerate', { chosen }),
  lookForSnapshot: all('lookForSnapshot', { none }),
  runVm: vm(),
  verify: all('verify', { ok: { ms: 1, at: 1 } }),
  pause: all('pause', { done: {} }),
  resume: all('resume', { done: {} }),
  ping: () => [],
  rest: all('rest', { done: {} }),
  evict: all('evict', { done: {} }),
  discard: () => [],
  readClock: all('readClock', { read: { at: 1 } }),
}
export const troubled: Outcomes = {
  probe: all('probe', { found, missing: { error }, failed: { error }, crashed: { error } }),
  image: (params: never, view) => [
    ...all('image', { ready, failed: { error }, crashed: { error } })(),
    ...(view.context.progress === null ? [goesOn({ type: 'image.progress', epoch: refOf(params), text: 'x' })] : []),
  ],
  accelerate: all('accelerate', { chosen, crashed: { error } }),
  lookForSnapshot: () => [
    end({ type: 'lookForSnapshot.found', key: 'k', ms: 1 }),
    end({ type: 'lookForSnapshot.none', ...none, room: true }),
    end({ type: 'lookForSnapshot.none', ...none }),
    end({ type: 'lookForSnapshot.crashed', error }),
  ],
  runVm: vm('connected', 'progress', 'full', 'dies'),
  verify: all('verify', { ok: { ms: 1, at: 1 }, failed: { error }, crashed: { error } }),
  save: all('save', { saved: { ms: 1 }, failed: { error }, crashed: { error } }),
  drawJitter: all('drawJitter', { drawn: { fraction: 0 }, crashed: { error } }),
}
/** It fails once: what comes of more failures is a matter of starts. */
const once = (context: Context, ...failures: readonly string[]) =>
  context.failures === 0 ? failures.map((type) => end({ type, error })) : []
export const lively: Outcomes = {
  runVm: vm('full', 'dies once'),
  awaitRoom: (_: never, { context }) => [end({ type: 'awaitRoom.found' }), ...once(context, 'awaitRoom.crashed')],
  pause: (_: never, { context }) => [end({ type: 'pause.done' }), ...once(context, 'pause.failed', 'pause.crashed')],
  resume: (_: never, { context }) => [end({ type: 'resume.done' }), ...once(context, 'resume.failed', 'resume.crashed')],
  ping: (_: never, { context }) => [end({ type: 'ping.ok', busy: !context.busy }), ...once(context, 'ping.silent', 'ping.crashed')],
}
export const ends = (name: string, failure: object = { error }) =>
  all(name, { exited: result, failed: failure, lost: failure, crashed: failure })

/** What an earlier attempt still says, at any moment. */
export const strays: Stimulus<Context>[] = [
  ...[
    ['probe', { found, missing: { error }, failed: { error }, crashed: { error } }],
    ['image', { ready, failed: { error }, crashed: { error } }],
    ['accelerate', { chosen, crashed: { error } }],
    ['lookForSnapshot', { found: { key: 'k', ms: 1 }, none: { ...none, room: true }, crashed: { error } }],
    ['runVm', { exited: { code: 1, signal: null, detail: '' }, crashed: { error } }],
    ['verify', { ok: { ms: 1, at: 2 }, failed: { error }, crashed: { error } }],
    ['save', { saved: { ms: 1 }, failed: { error }, crashed: { error } }],
    ['pause', { failed: { error }, crashed: { error } }],
    ['resume', { done: {}, failed: { error }, crashed: { error } }],
    ['awaitRoom', { found: {}, crashed: { error } }],
    ['ping', { ok: { busy: true }, silent: {}, crashed: { error } }],
    ['drawJitter', { drawn: { fraction: 1 }, crashed: { error } }],
    ['admit', { ready: { session: 's', revision: 1 }, failed: { session: 's', revision: 1, error }, crashed: { error } }],
  ].flatMap(([name, outcomes]) =>
    all(name as string, outcomes as Record<string, object>)().map(({ event }) => ({ ...event, ref: 'stale' }) as Event),
  ),
  ...[
    { type: 'image.progress', text: 'stale' },
    { type: 'vm.spawned', pid: 8 },
    { type: 'vm.connected' },
    { type: 'vm.progress', text: 'stale' },
    { type: 'vm.full', free: 0, reserve: 1 },
    { type: 'vm.handshake', ms: 2, guestMs: 2, kernel: 'k' },
  ].map((event): Event => ({ ...event, epoch: 'stale' })),
].map(atAnyMoment)
/** Not of policy's actor. */
export const strayWords = ['part', 'replied', 'refused']
  .map((type): Event => ({ type, ref: 'other', kind: 'watch', body: policy(false), error }))
  .map(atAnyMoment)

export function policy(allows: boolean): object {
  return { policy: { values: { secureVmFeaturesEnabled: allows }, decidedBy: { secureVmFeaturesEnabled: 'managed' } } }
}

function atAnyMoment(event: Event): Stimulus<Context> {
  return { name: `a stray ${event.type}`, request: false, times: Number.POSITIVE_INFINITY, event: () => event }
}
