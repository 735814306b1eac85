/** What the engine does beyond counting: liveness, reductions, walks, bits, bounds, faults. Each with a case that must fail. */
import { assign, emit, enqueueActions, setup } from 'xstate'
import { describe, expect, test } from 'vitest'
import type { Outgoing } from '../kernel/types.ts'
import { eventsOf, traceItf, traceMermaid, traceTest, traceText } from './counterexample.ts'
import { check, examine, productOf } from './explore.ts'
import { guarded } from './guarded.ts'
import { defineModel } from './model.ts'
import { mutate, perMutant } from './mutate.ts'
import { dieHard, diningPhilosophers } from './published/classics.ts'
import { twoPhase } from './published/two-phase.ts'
import { confirm } from './replay.ts'
import { bitstate, simulate } from './simulate.ts'
import { canonicalForm } from './symmetry.ts'
import type { SystemModel } from './system.ts'
import { kernelAlone } from './systems/kernel.ts'
import { createTables } from './tables.ts'

/** Two processes that each toggle; `fair` says who may be put off for ever. */
const togglers = (fair: 'none' | 'weak') =>
  guarded<{ a: number; b: number }>({
    name: 'togglers',
    variables: { a: 0, b: 0 },
    actions: { a: { next: ({ a }) => ({ a: 1 - a }) }, b: { fair, next: ({ b }) => ({ b: 1 - b }) } },
    leadsTo: { 'b moves on': { from: ({ b }) => b === 0, to: ({ b }) => b === 1 } },
  })

/** A lock that can be taken only when free: weak fairness lets one process starve, strong fairness does not. */
const lock = (fair: 'weak' | 'strong') =>
  guarded<{ holder: string | null; served: boolean }>({
    name: 'lock',
    variables: { holder: null, served: false },
    actions: {
      'a takes': { process: 'a', fair: 'weak', next: ({ holder }) => holder === null && { holder: 'a' } },
      'a frees': { process: 'a', fair: 'weak', next: ({ holder }) => holder === 'a' && { holder: null } },
      'b takes': { process: 'b', fair, next: ({ holder, served }) => holder === null && !served && { holder: 'b', served: true } },
      'b frees': { process: 'b', fair, next: ({ holder }) => holder === 'b' && { holder: null } },
    },
    eventually: { 'b is served': ({ served }) => served },
    possible: { 'the lock is free': ({ holder }) => holder === null },
  })

describe('temporal properties', () => {
  test('a process that is fair moves on; one that is not may be put off, and the way it is repeats', () => {
    expect(check(togglers('weak')).violations).toEqual([])
    const [violation] = check(togglers('none')).violations
    expect(violation).toMatchObject({ kind: 'leadsTo', property: 'b moves on' })
    const { steps, cycle = 0 } = violation?.trace ?? { steps: [] }
    for (const { state } of steps.slice(cycle)) expect(state['b']).toBe(0)
  })

  test('strong fairness serves who is able again and again, weak fairness does not', () => {
    expect(check(lock('strong')).violations).toEqual([])
    expect(check(lock('weak')).violations.map(({ property }) => property)).toEqual(['b is served'])
  })

  test('what can no longer be reached is shown by the shortest way to where it is lost', () => {
    const model = guarded<{ n: number }>({
      name: 'valve',
      variables: { n: 0 },
      actions: { up: { next: ({ n }) => n < 3 && { n: n + 1 } }, down: { next: ({ n }) => n > 0 && n < 3 && { n: n - 1 } } },
      possible: { zero: ({ n }) => n === 0 },
      mayEnd: true,
    })
    expect(check(model).violations).toMatchObject([{ kind: 'possible', property: 'zero', trace: { steps: { length: 3 } } }])
  })
})

describe('what holds for want of cases is said', () => {
  const counting = (from: number, lost: number) =>
    check(
      guarded<{ n: number }>({
        name: 'counter',
        variables: { n: 0 },
        actions: { up: { fair: 'weak', next: ({ n }) => n < 3 && { n: n + 1 } } },
        leadsTo: { 'on to three': { from: ({ n }) => n === from, to: ({ n }) => n === 3 } },
        possible: { 'below this': ({ n }) => n < lost },
        mayEnd: true,
      }),
    ).properties.map(({ held, vacuous }) => [held, vacuous === true])

  test('a leads-to that never begins, or begins only where it has ended; a possible that is never lost', () => {
    expect(counting(1, 3)).toEqual([
      [false, false],
      [true, false],
    ])
    expect(counting(5, 4)).toEqual([
      [true, true],
      [true, true],
    ])
    expect(counting(3, 4)[1]).toEqual([true, true])
  })
})

describe('reductions', () => {
  test.each([3, 4])('symmetry keeps one state of each class that the whole has, and no other: N=%d', (count) => {
    const { found, tables } = examine(twoPhase(count))
    const form = canonicalForm(tables.product)
    const classes = new Set<string>()
    for (let at = 0; at < found.states; at++) {
      const ids = found.state(at)
      form(ids)
      classes.add(ids.join())
    }
    expect(check(twoPhase(count), { reduceSymmetry: true }).states).toBe(classes.size)
  })

  test('partial order leaves states out and makes none up, and ends where the whole does', () => {
    const statesOf = (reduceOrder: boolean): Set<string> => {
      const { found, tables } = examine(pipeline(), { reduceOrder })
      return new Set(Array.from({ length: found.states }, (_, at) => endText(tables, [...found.state(at)])))
    }
    const [whole, reduced] = [statesOf(false), statesOf(true)]
    expect(reduced.isSubsetOf(whole)).toBe(true)
    expect(reduced.size).toBeLessThan(whole.size)
    expect(endsOf(pipeline(), true)).toEqual(endsOf(pipeline(), false))
  })

  test('symmetry keeps verdicts and leaves one of many', () => {
    const whole = check(twoPhase(4))
    const reduced = check(twoPhase(4), { reduceSymmetry: true })
    expect(reduced.states).toBeLessThan(whole.states / 5)
    expect(reduced.properties).toEqual(whole.properties)
  })

  test('a violation found under symmetry is a way that can really be gone', () => {
    const broken: SystemModel = { ...twoPhase(3), always: { 'rm2 never commits': (view) => view.actor('rm2').value !== 'committed' } }
    const { violations } = check(broken, { reduceSymmetry: true })
    // One of the three commits in the representative; the trace names whichever that is.
    expect(violations[0]?.trace.steps.at(-1)?.value).toBe('committed')
  })

  test('partial order keeps dead ends and what is said of single actors, with fewer states', () => {
    const { always: _a, steps: _s, sometimes: _m, leadsTo: _l, faults: _f, ...plain } = kernelAlone()
    const parts = pipeline()
    for (const system of [plain, parts]) {
      const whole = check(system)
      const reduced = check(system, { reduceOrder: true })
      expect(reduced.violations.map(({ kind }) => kind)).toEqual(whole.violations.map(({ kind }) => kind))
      expect(reduced.states).toBeLessThanOrEqual(whole.states)
    }
    expect(check(parts, { reduceOrder: true }).states).toBeLessThan(check(parts).states)
  })

  test('what may be taken back, or fails at any moment, is not put off: such systems are searched in full', () => {
    const { always: _a, steps: _s, sometimes: _m, leadsTo: _l, ...faulty } = kernelAlone()
    const reduced = check(faulty, { reduceOrder: true })
    expect(reduced).toMatchObject({ reduced: [], notReduced: 'actors may crash, or capabilities be revoked, at any moment' })
    expect(reduced.states).toBe(check(faulty).states)
    // Without them, deadlines still take requests out of mailboxes: every end of an actor is found that there is.
    const timed: SystemModel = { ...faulty, faults: { deadlines: true } }
    expect(endsOf(timed, true)).toEqual(endsOf(timed, false))
  })

  test('temporal properties are not asked of a reduced graph', () => {
    expect(() => check(kernelAlone(), { reduceOrder: true })).toThrow(/without reduction/)
  })
})

/** What each actor is like in the states in which nothing can happen any more. */
function endsOf(system: SystemModel, reduceOrder: boolean): string[] {
  const { found, tables } = examine(system, { reduceOrder })
  const ends = new Set<string>()
  for (let at = 0; at < found.states; at++) {
    const ids = found.state(at)
    if (tables.bundles.some((bundle) => tables.allowed(bundle, ids).some(({ idle }) => !idle))) continue
    ends.add(JSON.stringify([...ids]))
  }
  return [...ends].map((text) => endText(tables, JSON.parse(text) as number[])).toSorted()
}

function endText({ product }: ReturnType<typeof examine>['tables'], ids: readonly number[]): string {
  return JSON.stringify(product.components.map(({ name, value }, index) => [name, plainValue(value(ids[index] as number))]))
}

const plainValue = (value: unknown): unknown => {
  if (typeof value !== 'object' || value === null || !('context' in value)) return value
  const { value: state, context } = value as { value?: unknown; context: unknown }
  return [state, context]
}

/** Two counters that each get a few messages: their work commutes. */
function pipeline(): SystemModel {
  const source = setup({
    types: {} as { context: object; events: { type: 'go' }; emitted: Outgoing },
    actions: {
      send: enqueueActions(({ enqueue }) =>
        ['x', 'y'].forEach((to) => [1, 2].forEach(() => enqueue.emit({ type: 'send', to, kind: 'tick', body: {} }))),
      ),
    },
  }).createMachine({ context: {}, initial: 'a', states: { a: { on: { go: { target: 'b', actions: 'send' } } }, b: {} } })
  const counter = setup({
    types: {} as { context: { n: number }; events: { type: 'tick' } },
    actions: { add: assign({ n: ({ context }: { context: { n: number } }) => context.n + 1 }) },
  }).createMachine({
    context: { n: 0 },
    on: { tick: { actions: 'add' } },
  })
  const none = { effects: {}, always: {}, sometimes: {}, mayEnd: () => true } as const
  const count = defineModel<{ n: number }>({ actor: 'counter', machine: counter, input: undefined, stimuli: [], ...none })
  return {
    system: 'pipeline',
    actors: {
      source: {
        model: defineModel<object>({
          actor: 'source',
          machine: source,
          input: undefined,
          stimuli: [{ name: 'go', request: false, event: () => ({ type: 'go' }) }],
          ...none,
        }),
        grants: { x: { to: 'x' }, y: { to: 'y' } },
      },
      x: { model: count },
      y: { model: count },
    },
    mayEnd: true,
  }
}

describe('beyond exhaustive', () => {
  test('walks see what they can and estimate what they have not', () => {
    const tables = createTables(productOf(twoPhase(3)))
    const few = simulate(tables, { walks: 2, depth: 20, seed: 1 })
    const many = simulate(tables, { walks: 3000, depth: 30, seed: 1 })
    expect(few.unseen).toBeGreaterThan(many.unseen)
    expect(many.states).toBeLessThanOrEqual(288)
    expect(many.states).toBeGreaterThan(200)
    expect(simulate(createTables(dieHard()), { walks: 500, depth: 30, seed: 2 }).violations.map(({ property }) => property)).toEqual([
      'never four gallons',
    ])
  })

  test('bits in place of states never count too many, and say how many may be missing', () => {
    const roomy = bitstate(createTables(productOf(twoPhase(4))), { mebibytes: 1 })
    const exact = check(twoPhase(4)).states
    expect(roomy.states).toBeLessThanOrEqual(exact)
    expect(exact - roomy.states).toBeLessThanOrEqual(Math.ceil(exact * 0.01))
    expect(roomy.omission).toBeGreaterThan(0)
    expect(roomy.omission).toBeLessThan(0.001)
  })

  test('a search that is stopped says so and claims nothing', () => {
    const stopped = check(twoPhase(5), { maxStates: 1000 })
    expect(stopped).toMatchObject({ complete: false, stopped: 'states' })
    expect(stopped.violations.filter(({ kind }) => kind === 'sometimes')).toEqual([])
    expect(check(twoPhase(5), { maxBytes: 100_000 })).toMatchObject({ complete: false, stopped: 'memory' })
    expect(check(dieHard(), { stopAtFirst: true })).toMatchObject({ complete: false, stopped: 'violation' })
  })
})

describe('counterexamples', () => {
  const twice = setup({
    types: {} as { context: object; events: { type: 'ask'; from: { request: number } }; emitted: Outgoing },
    actions: {
      reply: enqueueActions(({ event, enqueue }) =>
        [1, 2].forEach(() => enqueue.emit({ type: 'reply', request: event.from.request, body: {} })),
      ),
      shout: emit((): Outgoing => ({ type: 'send', to: 'nobody', kind: 'x', body: {} })),
    },
  }).createMachine({ context: {}, on: { ask: { actions: ['reply', 'shout'] } } })
  const model = defineModel<object>({
    actor: 'twice',
    machine: twice,
    input: undefined,
    stimuli: [{ name: 'ask', event: (_, request) => ({ type: 'ask', from: { request } }) }],
    effects: {},
    always: {},
    sometimes: {},
    mayEnd: () => true,
  })
  const [violation] = check(model).violations

  test('come as text, diagram, ITF and test', () => {
    expect(violation).toMatchObject({ kind: 'answers' })
    if (!violation) return
    expect(traceText(violation.trace)).toContain('1. twice: ask')
    expect(traceMermaid(violation.trace)).toMatch(/^sequenceDiagram\n {2}participant p0 as twice/)
    expect(traceItf('twice', violation)).toMatchObject({ '#meta': { format: 'ITF' }, states: [{ step: 'init' }, { step: 'twice: ask' }] })
    expect(traceTest('twice', violation, { from: './twice.ts', name: 'model' })).toContain('replayInKernel(model, property, steps)')
    expect(traceTest('twice', violation, null)).toContain('a model without machines')
  })

  test('are confirmed by xstate itself, and a made-up one is not', () => {
    if (!violation) throw new Error('no violation')
    const events = eventsOf(violation.trace)
    const machines = { twice: { machine: twice, input: undefined } }
    expect(confirm(machines, events)).toEqual({ confirmed: true, steps: 1 })
    expect(confirm(machines, [{ ...(events[0] as (typeof events)[number]), value: 'elsewhere' }])).toMatchObject({
      confirmed: false,
      at: 0,
    })
  })
})

describe('faults', () => {
  test('without the check at delivery a revoked grant would still be used: the property notices', () => {
    const { found, tables } = examine(kernelAlone())
    const delivered = [...tables.rows()].flatMap(({ outcomes }) => outcomes.map(({ outcome }) => outcome.info.label))
    expect(delivered.some((label) => label.startsWith('refused at delivery: revoked'))).toBe(true)
    expect(delivered.some((label) => label.includes('refused actor-down'))).toBe(true)
    expect(delivered.some((label) => label.startsWith('deadline of'))).toBe(true)
    expect(found.complete).toBe(true)
  })

  test('a way with a crash on it is confirmed by xstate as well', () => {
    const crashing: SystemModel = {
      ...kernelAlone(1),
      always: {
        'a worker that asked goes on': (view) =>
          view.faults.crashes === 0 ||
          view.actor('worker').sent['ask'] === undefined ||
          (view.actor('worker').context as { asked: number }).asked > 0,
      },
      sometimes: {},
      steps: {},
      leadsTo: {},
    }
    const [broken] = check(crashing).violations
    if (!broken) throw new Error('no violation')
    const events = eventsOf(broken.trace)
    expect(events.at(-1)).toMatchObject({ actor: 'worker', event: null })
    const machines = Object.fromEntries(
      Object.entries(crashing.actors).map(
        ([
          id,
          {
            model: { machine, input },
          },
        ]) => [id, { machine, input: input as unknown }],
      ),
    )
    expect(confirm(machines, events)).toEqual({ confirmed: true, steps: events.length })
    expect(confirm(machines, [...events.slice(0, -1), { actor: 'worker', event: null, value: 'elsewhere' }])).toMatchObject({
      confirmed: false,
      why: expect.stringContaining('after a crash') as string,
    })
  })

  test('more crashes, more states, the same promises', () => {
    const [one, two] = [check(kernelAlone(1)), check(kernelAlone(2))]
    expect(two.states).toBeGreaterThan(one.states)
    expect([...one.violations, ...two.violations]).toEqual([])
  })
})

test('a mutant of the philosophers that never hands a fork over starves; mutants are broken in one place each', () => {
  expect(check(diningPhilosophers(3)).violations).toEqual([])
  const gate = setup({ types: {} as { context: object; events: { type: 'open' | 'close' } } }).createMachine({
    context: {},
    initial: 'shut',
    states: { shut: { on: { open: 'wide' } }, wide: { on: { close: 'shut' } } },
  })
  const stimulus = (name: string) => ({ name, times: Number.POSITIVE_INFINITY, request: false, event: () => ({ type: name }) })
  const model = defineModel<object>({
    actor: 'gate',
    machine: gate,
    input: undefined,
    stimuli: [stimulus('open'), stimulus('close')],
    effects: {},
    always: {},
    sometimes: { wide: ({ value }) => value === 'wide' },
    possible: { shut: ({ value }) => value === 'shut' },
  })
  expect(mutate(model, perMutant).map(({ change, killedBy }) => [change, killedBy])).toEqual([
    ['does not go to "wide"', 'sometimes: wide'],
    ['does not go to "shut"', 'possible: shut'],
  ])
})

test('how many steps a model has does not depend on which state of a class was found first', () => {
  const machine = setup({
    types: {} as { events: { type: 'loudly' | 'quietly' | 'note.done' } },
    actions: { note: () => {} },
  }).createMachine({
    context: {},
    initial: 'off',
    states: { off: { on: { loudly: { target: 'on', actions: 'note' }, quietly: 'on' } }, on: {} },
  })
  const steps = (names: readonly ('loudly' | 'quietly')[]): number =>
    check(
      defineModel({
        actor: 'lamp',
        machine,
        input: {},
        stimuli: names.map((name) => ({
          name,
          times: Number.POSITIVE_INFINITY,
          request: false,
          when: ({ value }) => value === 'off',
          event: () => ({ type: name }),
        })),
        effects: { note: () => [{ event: { type: 'note.done' }, ends: true }] },
        // That it is written down changes nothing any more.
        projectPending: () => undefined,
        always: {},
        sometimes: {},
        mayEnd: () => true,
      }),
    ).transitions
  expect(steps(['loudly', 'quietly'])).toBe(2)
  expect(steps(['quietly', 'loudly'])).toBe(2)
})
