/**
 * A supervisor in the OTP sense, as a machine: it decides, `lifecycle.ts` carries out and reports back.
 *
 *   idle --start--> launching --all up--> running --a child ends--> terminating --> waiting --backoff--> launching
 *                       ^                                                |  no delay         |
 *                       +------------------------------------------------+-------------------+
 *   anywhere --stop--> stopping --all down--> stopped
 *
 * Children start left to right, one after the other is up, and stop right to left. When one ends that must come back:
 *
 *   one-for-one    it alone. A group of several children is as many groups of one, so that each has its own intensity
 *   rest-for-one   it and those started after it
 *   one-for-all    all of them
 *
 * permanent children always come back, transient ones after a crash, temporary ones never (nor when another's restart took them down).
 * More than `intensity` restarts in `periodMs` (OTP's defaults: 1 in 5 s) do not end the group for good, as they would there: it is
 * degraded, says so, and is tried again after a growing pause, for ever. No failure latches.
 *
 * Where OTP differs from itself (`supervisor` moduledoc): no auto_shutdown, no hibernation; a shutdown deadline is the child's own.
 */
import { setup } from 'xstate'
import { decideRestart } from './supervision.ts'

export type Strategy = 'one-for-one' | 'rest-for-one' | 'one-for-all'
export type ChildKind = 'permanent' | 'transient' | 'temporary'
/** `terminating`: it is to end, and has not been told yet. `ending`: it has been told. `gone`: it will not be back. */
export type ChildState = 'down' | 'starting' | 'up' | 'terminating' | 'ending' | 'gone'
export type Child = { id: string; restart: ChildKind; state: ChildState }
export type GroupSpec = { strategy: Strategy; intensity: number; periodMs: number; children: readonly { id: string; restart: ChildKind }[] }

export type Group = {
  strategy: Strategy
  intensity: number
  periodMs: number
  /** In start order. */
  children: readonly Child[]
  /** Epoch ms of crashes, oldest first, the last few. */
  crashes: readonly number[]
  degraded: boolean
  delayMs: number
}

export type GroupEvent =
  | { type: 'start' }
  | { type: 'launched'; id: string }
  /** `jitter` 0..1, drawn by whoever reports. `clean`: it ended by itself with success, or as it was told. */
  | { type: 'exited'; id: string; clean: boolean; at: number; jitter: number }
  | { type: 'stop' }

/** Crashes remembered: enough to see the longest streak that still doubles the pause. */
const remembered = 20

const base = setup({
  types: {} as { context: Group; events: GroupEvent; input: GroupSpec },
  actions: {
    /** Start it; `launched` or `exited` follows. */
    launch: (_, _params: { id: string }) => {},
    /** Stop it within its own deadline; `exited` follows. */
    terminate: (_, _params: { id: string }) => {},
    /** The group changed for those who ask: degraded or not, and how long until it is tried again. */
    report: (_, _params: { degraded: boolean; delayMs: number }) => {},
  },
  guards: {
    comesBack: ({ context, event }) => event.type === 'exited' && comesBack(context, event.id, event.clean),
    someToEnd: ({ context }) => context.children.some(isToEnd),
    noneStarting: ({ context }) => !context.children.some(({ state }) => state === 'starting'),
    noneToEnd: ({ context }) => !context.children.some(isToEnd),
    wasToEnd: ({ context, event }) => event.type === 'exited' && context.children.some((child) => child.id === event.id && isToEnd(child)),
    pausing: ({ context }) => context.delayMs > 0,
  },
  delays: { backoff: ({ context }) => context.delayMs },
})

type Change = { context: Group; launch?: string; terminate?: string }

function changing(change: (context: Group, event: GroupEvent) => Change) {
  return base.enqueueActions(({ context, event, enqueue }) => {
    const next = change(context, event)
    enqueue.assign(() => next.context)
    const { degraded, delayMs } = next.context
    if (degraded !== context.degraded || delayMs !== context.delayMs) enqueue({ type: 'report', params: { degraded, delayMs } })
    if (next.launch !== undefined) enqueue({ type: 'launch', params: { id: next.launch } })
    if (next.terminate !== undefined) enqueue({ type: 'terminate', params: { id: next.terminate } })
  })
}

const only = (change: (context: Group, event: GroupEvent) => Group) => changing((context, event) => ({ context: change(context, event) }))

export const machine = base
  .extend({
    actions: {
      /** Starts the leftmost that is down; one at a time. */
      launchNext: changing((context) => {
        const next = context.children.some(({ state }) => state === 'starting')
          ? null
          : context.children.find(({ state }) => state === 'down')
        return next ? { context: withState(context, next.id, 'starting'), launch: next.id } : { context }
      }),
      /** Tells the rightmost that is to end; one at a time, and each once, also when another ends of itself meanwhile. */
      terminateNext: changing((context) => {
        const next = context.children.some(({ state }) => state === 'ending')
          ? null
          : context.children.findLast(({ state }) => state === 'terminating')
        return next ? { context: withState(context, next.id, 'ending'), terminate: next.id } : { context }
      }),
      noteUp: only((context, event) =>
        event.type === 'launched' && stateOf(context, event.id) === 'starting' ? withState(context, event.id, 'up') : context,
      ),
      noteGone: only((context, event) => (event.type === 'exited' ? withState(context, event.id, 'gone') : context)),
      noteEnded: only((context, event) =>
        event.type === 'exited' ? withState(context, event.id, kindOf(context, event.id) === 'temporary' ? 'gone' : 'down') : context,
      ),
      /** One ended that must come back: who goes down with it, and how long until they are tried. */
      noteCrash: only((context, event) => {
        if (event.type !== 'exited') return context
        const crashes = [...context.crashes, event.at].slice(-remembered)
        const { intensity, periodMs } = context
        const { delayMs, degraded } = decideRestart({ intensity, periodMs }, crashes, event.jitter)
        return { ...takenDown(withState(context, event.id, 'down'), event.id), crashes, delayMs, degraded }
      }),
      allDown: only((context) => ({
        ...context,
        delayMs: 0,
        children: context.children.map((child) => ({ ...child, state: endState(child.state) })),
      })),
      /** Up again: it is as good as its next crash. */
      settle: only((context) => ({ ...context, degraded: false, delayMs: 0 })),
    },
  })
  .createMachine({
    id: 'supervisor',
    context: ({ input: { children, ...spec } }) => ({
      ...spec,
      children: children.map((child) => ({ ...child, state: 'down' })),
      crashes: [],
      degraded: false,
      delayMs: 0,
    }),
    initial: 'idle',
    on: { stop: '.stopping' },
    states: {
      idle: { on: { start: 'launching' } },
      launching: {
        entry: 'launchNext',
        always: { guard: 'noneStarting', target: 'running' },
        on: {
          launched: { target: 'launching', reenter: true, actions: 'noteUp' },
          exited: [
            { guard: 'comesBack', target: 'terminating', actions: 'noteCrash' },
            { target: 'launching', reenter: true, actions: 'noteGone' },
          ],
        },
      },
      running: {
        entry: 'settle',
        on: {
          exited: [{ guard: 'comesBack', target: 'terminating', actions: 'noteCrash' }, { actions: 'noteGone' }],
        },
      },
      /** Those that go down with the one that ended, right to left. */
      terminating: {
        entry: 'terminateNext',
        always: [{ guard: 'someToEnd', target: 'ending' }, { guard: 'pausing', target: 'waiting' }, { target: 'launching' }],
      },
      ending: {
        on: {
          exited: [
            { guard: 'wasToEnd', target: 'terminating', actions: 'noteEnded' },
            { guard: 'comesBack', actions: 'noteCrash' },
            { actions: 'noteGone' },
          ],
          launched: { actions: 'noteUp' },
        },
      },
      waiting: {
        after: { backoff: 'launching' },
        on: {
          exited: [{ guard: 'comesBack', target: 'terminating', actions: 'noteCrash' }, { actions: 'noteGone' }],
        },
      },
      stopping: {
        entry: ['allDown', 'terminateNext'],
        always: { guard: 'noneToEnd', target: 'stopped' },
        on: {
          exited: { target: 'stopping', reenter: true, actions: 'noteGone' },
          stop: {},
        },
      },
      stopped: { on: { stop: {} } },
    },
  })

function endState(state: ChildState): ChildState {
  if (state === 'ending') return state
  return state === 'down' || state === 'gone' ? 'gone' : 'terminating'
}

function isToEnd({ state }: Child): boolean {
  return state === 'terminating' || state === 'ending'
}

function withState(context: Group, id: string, state: ChildState): Group {
  return { ...context, children: context.children.map((child) => (child.id === id ? { ...child, state } : child)) }
}

function stateOf(context: Group, id: string): ChildState | undefined {
  return context.children.find((child) => child.id === id)?.state
}

function kindOf(context: Group, id: string): ChildKind | undefined {
  return context.children.find((child) => child.id === id)?.restart
}

function comesBack(context: Group, id: string, clean: boolean): boolean {
  const kind = kindOf(context, id)
  return kind === 'permanent' || (kind === 'transient' && !clean)
}

/** Who is to end because `id` did. */
function takenDown(context: Group, id: string): Group {
  const index = context.children.findIndex((child) => child.id === id)
  const affected = (at: number): boolean => context.strategy === 'one-for-all' || (context.strategy === 'rest-for-one' && at > index)
  const children = context.children.map((child, at): Child => {
    if (at === index || !affected(at) || (child.state !== 'up' && child.state !== 'starting')) return child
    return { ...child, state: 'terminating' }
  })
  return { ...context, children }
}
