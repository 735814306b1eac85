/**
 * What the checker plays around a supervisor: children that come up or fail while they start, crash and end of themselves at any moment, end
 * when told, and somebody who stops the group. A crash comes close after the one before or long after it; what else the clock says matters to
 * nothing but the length of a pause.
 */
import { decideRestart } from '../kernel/supervision.ts'
import { type Child, type ChildKind, type ChildState, type Group, type GroupSpec, machine, type Strategy } from '../kernel/supervisor.ts'
import { defineModel, type Event, type Model, type View } from './model.ts'

const periodMs = 5_000
/** Beyond any period and any streak. */
const longMs = 1_000_000

const stateOf = ({ context }: View<Group>, id: string): ChildState | undefined => context.children.find((child) => child.id === id)?.state
const states = ({ context }: View<Group>): ChildState[] => context.children.map(({ state }) => state)
const told = (view: View<Group>, name: string): string[] =>
  view.pending.flatMap((item) => (item.what === 'effect' && item.name === name ? [String(item.params['id'])] : []))

function exits({ context }: View<Group>, id: string, clean: boolean): Event[] {
  const last = context.crashes.at(-1) ?? 0
  return [last, last + longMs].map((at) => ({ type: 'exited', id, clean, at, jitter: 0.5 }))
}

/** As it may end by itself: while it runs, or while others are being ended before it. */
const canCrash = (view: View<Group>, id: string): boolean =>
  ['up', 'terminating'].includes(stateOf(view, id) ?? '') && !told(view, 'launch').includes(id)

/** Crashes that still count against the intensity; how long the streak is only makes the pause longer. */
function project({ crashes, delayMs, ...rest }: Group): unknown {
  const last = crashes.at(-1) ?? 0
  return { ...rest, recent: Math.min(crashes.filter((at) => last - at < periodMs).length, rest.intensity + 1), pausing: delayMs > 0 }
}

export function supervisionModel(strategy: Strategy, kinds: readonly ChildKind[]): Model<Group> {
  const children = kinds.map((restart, index) => ({ id: `child-${index}`, restart }))
  const spec: GroupSpec = { strategy, intensity: 1, periodMs, children }
  const times = Number.POSITIVE_INFINITY
  return defineModel<Group>({
    actor: `supervision, ${strategy}`,
    machine,
    input: spec,
    stimuli: [
      { name: 'start', request: false, event: () => ({ type: 'start' }) },
      { name: 'stop', request: false, event: () => ({ type: 'stop' }) },
      ...children.flatMap(({ id }) =>
        [true, false].flatMap((clean) =>
          [0, 1].map((late) => ({
            name: `${id} ${clean ? 'ends by itself' : 'crashes'}${late ? ', long after the last' : ''}`,
            times,
            request: false,
            when: (view: View<Group>) => canCrash(view, id),
            event: (view: View<Group>) => exits(view, id, clean)[late] as Event,
          })),
        ),
      ),
    ],
    effects: {
      /** A start that was overtaken says nothing any more: whoever is told to end ends as told. */
      launch: ({ id }: { id: string }, view) => {
        const state = stateOf(view, id)
        if (state === 'starting' || state === 'terminating')
          return [{ type: 'launched', id }, ...exits(view, id, false)].map((event) => ({ event, ends: true }))
        return [{ event: { type: state === 'ending' ? 'launched' : 'overtaken', id }, ends: true }]
      },
      terminate: ({ id }: { id: string }, view) => exits(view, id, true).map((event) => ({ event, ends: true })),
      report: () => [{ event: { type: 'overtaken' }, ends: true }],
    },
    project,
    projectPending: (pending) => (pending.what === 'effect' && pending.name === 'report' ? undefined : pending),
    always: {
      'one starts at a time': (view) => states(view).filter((state) => state === 'starting').length <= 1,
      'one is told to end at a time, and once': (view) =>
        states(view).filter((state) => state === 'ending').length <= 1 &&
        new Set(told(view, 'terminate')).size === told(view, 'terminate').length,
      'who was told to end is ending': (view) => told(view, 'terminate').every((id) => stateOf(view, id) === 'ending'),
      'they start left to right': (view) => leftOf(view, 'starting').every(({ state }) => state !== 'down'),
      'they end right to left': (view) => rightOf(view, 'ending').every(({ state }) => state !== 'terminating'),
      'a permanent child is gone only when the group is stopped': ({ value, context }) =>
        value === 'stopping' ||
        value === 'stopped' ||
        context.children.every(({ restart, state }) => restart !== 'permanent' || state !== 'gone'),
      'stopped means that nothing runs': (view) => view.value !== 'stopped' || states(view).every((state) => state === 'gone'),
      'running means that nothing is down': (view) =>
        view.value !== 'running' || states(view).every((state) => ['up', 'gone'].includes(state)),
      'while it waits it says so': ({ value, context }) => value !== 'waiting' || (context.degraded && context.delayMs > 0),
      'the pause is the one that is decided': ({ value, context }) =>
        value !== 'waiting' || context.delayMs === decideRestart(context, context.crashes, 0.5).delayMs,
    },
    sometimes: {
      'all are up': (view) => states(view).every((state) => state === 'up'),
      'it waits before it tries again': ({ value }) => value === 'waiting',
      'others go down with one': (view) => states(view).includes('ending') && view.value === 'ending',
      'it is healthy after it was degraded': ({ value, context }) => value === 'running' && !context.degraded && context.crashes.length > 1,
    },
    possible: {
      'it comes to rest': ({ value }) => value === 'running' || value === 'stopped' || value === 'idle',
    },
    leadsTo: {
      'a group that is stopped is down in the end': { from: ({ value }) => value === 'stopping', to: ({ value }) => value === 'stopped' },
    },
    mayEnd: ({ value }) => value === 'stopped' || value === 'running',
  })
}

function leftOf({ context }: View<Group>, state: ChildState): readonly Child[] {
  const at = context.children.findIndex((child) => child.state === state)
  return at < 0 ? [] : context.children.slice(0, at)
}

function rightOf({ context }: View<Group>, state: ChildState): readonly Child[] {
  const at = context.children.findIndex((child) => child.state === state)
  return at < 0 ? [] : context.children.slice(at + 1)
}
