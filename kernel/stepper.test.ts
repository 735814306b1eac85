import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  and,
  type AnyStateMachine,
  assign,
  cancel,
  createMachine,
  emit,
  enqueueActions,
  fromPromise,
  log,
  not,
  or,
  raise,
  sendTo,
  setup,
  stateIn,
} from 'xstate'
import { maxMicrosteps } from './limits.ts'
import { createStepper } from './stepper.ts'
import { createPairedStepper, Difference } from './testing/paired-stepper.ts'

/** Types inside `setup` do not know its own names yet. */
const named = (action: string | { type: string; params: object }): never => action as never

const words = setup({
  types: {} as { context: { n: number; log: readonly string[] }; events: { type: string; by?: number } },
  guards: {
    even: ({ context }) => context.n % 2 === 0,
    above: ({ context }, params: { limit: number }) => context.n > params.limit,
    small: ({ event }) => (event.by ?? 0) < 3,
  },
  delays: { soon: 10, later: ({ context }) => context.n * 10 },
  actions: {
    add: assign({ n: ({ context, event }) => context.n + (event.by ?? 1) }),
    note: assign(({ context }, params: { text: string }) => ({ log: [...context.log, params.text] })),
    say: emit(({ context }) => ({ type: 'said', n: context.n })),
    work: (_, _params: { at: number }) => {},
    several: enqueueActions(({ context, enqueue, check }) => {
      enqueue.assign({ n: context.n + 1 })
      enqueue.emit(({ context: now }) => ({ type: 'seen', n: now.n }))
      if (check(({ context: now }) => now.n % 2 === 0)) enqueue(named({ type: 'work', params: { at: context.n } }))
      enqueue(named('add'))
      enqueue.raise({ type: 'inner' })
      enqueue.cancel('x')
    }),
    again: raise({ type: 'inner' }),
    remind: raise({ type: 'reminder' }, { delay: 'later', id: 'reminder' }),
    forget: cancel('reminder'),
  },
})

/** Every feature of the dialect, in one chart each. */
const charts: Record<string, AnyStateMachine> = {
  parallel: words.createMachine({
    context: { n: 0, log: [] },
    type: 'parallel',
    states: {
      left: {
        initial: 'a',
        states: {
          a: { entry: 'say', exit: { type: 'note', params: { text: 'leave a' } }, on: { go: 'b', both: 'b' } },
          b: { on: { go: { target: 'a', actions: 'several' }, end: 'z' } },
          z: { type: 'final' },
        },
        onDone: { actions: { type: 'note', params: { text: 'left done' } } },
      },
      right: {
        initial: 'c',
        on: { go: { actions: 'add' } },
        states: {
          c: { on: { both: 'd', end: 'd' } },
          d: { always: { guard: 'even', target: 'e' }, on: { inner: 'c' } },
          e: { type: 'final' },
        },
      },
    },
  }),
  history: words.createMachine({
    context: { n: 0, log: [] },
    initial: 'on',
    on: { deep: '.on.deep', shallow: '.on.shallow' },
    states: {
      on: {
        initial: 'x',
        on: { off: 'off' },
        states: {
          shallow: { type: 'history' },
          deep: { type: 'history', history: 'deep', target: 'y' },
          x: { on: { go: 'y' } },
          y: { initial: 'y1', states: { y1: { on: { go: 'y2' } }, y2: { after: { soon: '#(machine).off' } } } },
        },
      },
      off: { on: { go: 'on.deep', back: 'on.shallow' } },
    },
  }),
  guards: words.createMachine({
    context: { n: 0, log: [] },
    initial: 'a',
    on: { '*': { actions: 'add' }, 'some.*': { actions: 'say' }, 'some.thing': { guard: 'small', actions: 'several' } },
    states: {
      a: {
        on: {
          go: [
            { guard: and(['even', not('small')]), target: 'b' },
            { guard: or([{ type: 'above', params: { limit: 3 } }, stateIn('b')]), target: '.', reenter: true },
            { actions: 'again' },
          ],
          inner: { actions: { type: 'work', params: ({ context, event }) => ({ at: context.n + (event.by ?? 0) }) } },
        },
      },
      b: { entry: 'remind', exit: 'forget', on: { go: { guard: stateIn({ b: 'b1' }), target: 'a' } }, initial: 'b1', states: { b1: {} } },
    },
  }),
  always: words.createMachine({
    context: { n: 0, log: [] },
    initial: 'a',
    states: {
      a: {
        entry: 'add',
        always: [
          { guard: { type: 'above', params: { limit: 5 } }, target: 'done' },
          { guard: 'even', target: 'b' },
        ],
        on: { go: { actions: 'add' } },
      },
      b: { always: { target: 'a', actions: 'add' } },
      done: { entry: 'say', type: 'final' },
    },
  }),
  reenter: words.createMachine({
    context: { n: 0, log: [] },
    initial: 'a',
    entry: 'say',
    states: {
      a: {
        entry: { type: 'note', params: { text: 'in' } },
        exit: { type: 'note', params: { text: 'out' } },
        after: { 50: { target: 'a', reenter: true } },
        on: { again: { target: 'a', reenter: true }, stay: 'a', inside: '.a2', nothing: {}, all: { target: '#(machine)', reenter: true } },
        initial: 'a1',
        states: { a1: { on: { go: '#(machine).a' } }, a2: {} },
      },
    },
  }),
}

const eventsOf = (machine: AnyStateMachine): string[] => [
  ...new Set([...allTypes(machine.root as never).filter((type) => !type.includes('*')), 'unknown', 'some.other']),
]
function allTypes(node: { transitions: Map<string, unknown>; states: Record<string, never> }): string[] {
  return [...node.transitions.keys(), ...Object.values(node.states).flatMap(allTypes)]
}

function walk(machine: AnyStateMachine, steps: readonly { pick: number; by: number }[]): number {
  const stepper = createPairedStepper(machine)
  const types = eventsOf(machine)
  let { snapshot } = stepper.initial(undefined)
  for (const { pick, by } of steps) {
    try {
      ;({ snapshot } = stepper.step(snapshot, { type: types[pick % types.length] as string, by } as { type: string }))
    } catch (error) {
      if (error instanceof Difference) throw error
    }
  }
  return stepper.compared()
}

const steps = fc.array(fc.record({ pick: fc.nat(), by: fc.nat({ max: 4 }) }), { maxLength: 30 })

describe('the table and xstate agree', () => {
  test.each(Object.keys(charts))('on every walk through a chart with %s', (name) => {
    fc.assert(
      fc.property(steps, (path) => void walk(charts[name] as AnyStateMachine, path)),
      { numRuns: 300 },
    )
  })

  type Spec = { type: 'plain' | 'parallel' | 'final' | 'shallow' | 'deep'; children: Spec[]; moves: Move[] }
  type Move = { on: string; target: number | null; reenter: boolean; guard: string | null; actions: string[] }
  const move: fc.Arbitrary<Move> = fc.record({
    on: fc.constantFrom('e1', 'e2', 'inner', 'always', '*'),
    target: fc.option(fc.nat(), { freq: 3 }),
    reenter: fc.boolean(),
    guard: fc.constantFrom(null, 'even', 'small'),
    actions: fc.subarray(['add', 'say', 'again', 'several', 'work']),
  })
  const tree = (depth: number): fc.Arbitrary<Spec> =>
    fc.record({
      type: fc.constantFrom('plain', 'plain', 'plain', 'parallel', 'parallel', 'final', 'shallow', 'deep'),
      children: depth === 0 ? fc.constant([]) : fc.array(tree(depth - 1), { maxLength: 3 }),
      moves: fc.array(move, { maxLength: 3 }),
    })

  const isHistory = ({ type }: { type: Spec['type'] }) => type === 'shallow' || type === 'deep'

  /** A chart from a random tree: ids count up, targets are ids. Null when it cannot be one (xstate refuses to build it). */
  function build(top: Spec): AnyStateMachine | null {
    let next = 0
    const number = (node: Spec): object => ({ ...node, id: `s${next++}`, children: node.children.map(number) })
    const numbered = number({ ...top, type: top.type === 'parallel' ? 'parallel' : 'plain' }) as Numbered
    type Numbered = Omit<Spec, 'children'> & { id: string; children: Numbered[] }
    const total = next
    const config = ({ id, type, children, moves }: Numbered): object => {
      if (type === 'final') return { id, type: 'final', entry: 'say' }
      if (type === 'shallow' || type === 'deep') return { id, type: 'history', history: type }
      const first = children.find((child) => !isHistory(child))
      const transitions = moves.map(({ on, target, reenter, guard, actions }) => ({
        on,
        to: {
          ...(target === null ? {} : { target: `#s${target % total}` }),
          ...(reenter ? { reenter } : {}),
          // A transition without an event that is always open would never come to rest.
          ...(guard || on === 'always' ? { guard: guard ?? 'even' } : {}),
          actions: on === 'always' && target === null ? ['add'] : actions,
        },
      }))
      const byEvent = Object.groupBy(transitions, ({ on }) => on)
      return {
        id,
        entry: 'say',
        exit: { type: 'work', params: { at: Number(id.slice(1)) } },
        ...(children.length > 0 && first
          ? {
              states: Object.fromEntries(
                children.filter((child) => type !== 'parallel' || !isHistory(child)).map((child) => [child.id, config(child)]),
              ),
            }
          : {}),
        ...(children.length > 0 && first ? (type === 'parallel' ? { type } : { initial: first.id }) : {}),
        ...(byEvent['always'] ? { always: byEvent['always'].map(({ to }) => to) } : {}),
        on: Object.fromEntries(
          Object.entries(byEvent).flatMap(([on, list]) => (on === 'always' ? [] : [[on, (list ?? []).map(({ to }) => to)]])),
        ),
      }
    }
    try {
      return words.createMachine({
        context: { n: 0, log: [] },
        options: { maxIterations: 30 },
        ...config(numbered),
      } as never) as unknown as AnyStateMachine
    } catch {
      return null
    }
  }

  test('on every walk through charts made at random', () => {
    let compared = 0
    fc.assert(
      fc.property(tree(3), steps, (top, path) => {
        const machine = build(top)
        if (!machine) return
        try {
          compared += walk(machine, path)
        } catch (error) {
          // Charts that never come to rest, or that xstate itself trips over at the start, fail in both.
          if (error instanceof Difference) throw error
        }
      }),
      { numRuns: 1500 },
    )
    expect(compared).toBeGreaterThan(2000)
  })
})

describe('the table', () => {
  test('is what runs; a machine outside the dialect runs on xstate', () => {
    expect(createStepper(charts['parallel'] as AnyStateMachine).engine).toBe('table')
    const child = fromPromise(async () => {})
    for (const config of [
      { invoke: { src: child } },
      { entry: sendTo('x', { type: 'y' }) },
      { entry: log('x') },
      { initial: 'a', states: { a: { type: 'final', output: 1 } } },
    ])
      expect(createStepper(createMachine(config as never)).engine).toBe('xstate')
  })

  test('an event that changes nothing gives back the very snapshot, unhandled', () => {
    const stepper = createStepper(charts['reenter'] as AnyStateMachine)
    const { snapshot } = stepper.initial(undefined)
    for (const type of ['unknown', 'nothing']) {
      const step = stepper.step(snapshot, { type })
      expect(step).toEqual({ snapshot, commands: [], handled: false })
      expect(step.snapshot).toBe(snapshot)
    }
  })

  test('a cycle of transitions without events is an error, not a hang', () => {
    const stepper = createStepper(
      createMachine({ initial: 'a', states: { a: { on: { go: 'b' } }, b: { always: 'c' }, c: { always: 'b' } } }),
    )
    expect(() => stepper.step(stepper.initial(undefined).snapshot, { type: 'go' })).toThrow(`more than ${maxMicrosteps} transitions`)
  })

  test('a raised event is seen within its step and is no timer', () => {
    const machine = words.createMachine({ context: { n: 0, log: [] }, on: { go: { actions: 'again' }, inner: { actions: 'say' } } })
    const stepper = createPairedStepper(machine)
    expect(stepper.step(stepper.initial(undefined).snapshot, { type: 'go' }).commands).toEqual([
      { do: 'emit', message: { type: 'said', n: 0 } },
    ])
  })

  test('no function of a machine reaches out of it', () => {
    const machine = createMachine({ context: {}, on: { go: { actions: assign(({ self }) => ({ self: self.id })) } } })
    const stepper = createStepper(machine)
    expect(() => stepper.step(stepper.initial(undefined).snapshot, { type: 'go' })).toThrow('self is not part of the machine dialect')
  })
})
