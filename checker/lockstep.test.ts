import { assign, emit, setup } from 'xstate'
import { describe, expect, test } from 'vitest'
import { compareMachines } from './lockstep.ts'
import { defineModel } from './model.ts'
import { mutate, perMutant } from './mutate.ts'

type Context = { shown: number; counted: number }
const base = setup({
  types: {} as { context: Context; events: { type: 'press' | 'hold' | 'never' } },
  guards: { full: ({ context }) => context.shown >= 2, counts: () => true },
  actions: {
    show: assign({ shown: ({ context }) => context.shown + 1 }),
    count: assign({ counted: ({ context }) => (context.counted + 1) % 3 }),
    tell: emit(({ context }) => ({ type: 'send', to: 'x', kind: 'shown', body: context.shown })) as never,
  },
})
const machine = base.createMachine({
  id: 'counter',
  context: { shown: 0, counted: 0 },
  initial: 'on',
  states: {
    on: {
      on: {
        // Nothing tells how often it was counted, nor by which name the state goes on.
        press: [
          { guard: 'full', target: 'also' },
          { guard: 'counts', actions: ['show', 'count', 'tell'] },
        ],
        hold: { target: 'also' },
        never: { actions: 'tell' },
      },
    },
    also: { on: { hold: { target: 'on' } } },
  },
})
const stimuli = ['press', 'hold'].map((type) => ({ name: type, times: 3, request: false, event: () => ({ type }) }))
const model = defineModel<Context>({
  actor: 'counter',
  machine,
  input: undefined,
  stimuli,
  effects: {},
  always: {},
  sometimes: {},
  mayEnd: () => true,
})

describe('a mutant', () => {
  const fates = Object.fromEntries(
    mutate(model, perMutant).map(({ place, change, ...verdict }) => [`${place.replace('counter.', '')}, ${change}`, verdict]),
  )
  const fate = (name: string): string | undefined => fates[name]?.fate

  test('that nothing the model sees can be told from the machine by is equivalent at this bound', () => {
    expect(fate('on on press (2), without count')).toBe('equivalent')
    expect(fate('on on press (2), guard counts always false')).not.toBe('equivalent')
  })

  test('that can be told from it survives, with the shortest way to where they part', () => {
    expect(fate('on on press (2), without show')).toBe('survives')
    expect(fates['on on press (2), without show']?.difference).toEqual({
      way: ['press'],
      what: expect.stringContaining('"body":1'),
    })
    expect(fates['on on hold, does not go to "also"']?.difference?.way).toEqual(['hold', 'press'])
  })

  test('is not equivalent where the model never gets: another model may', () => {
    expect(fates['on on never, without tell']).toMatchObject({ fate: 'survives', difference: null })
    // It is asked whether there is room, and the model never has a guard that says there is not.
    expect(fates['on on press (2), guard counts always true']).toMatchObject({ fate: 'survives', difference: null })
  })

  test('that a property reads is told apart though it sends the same', () => {
    const reads = { ...model, always: { 'it is counted': ({ context }: { context: Context }) => context.counted === context.shown % 3 } }
    const found = mutate(reads, perMutant).find(({ change }) => change === 'without count')
    expect(found).toMatchObject({ fate: 'killed', killedBy: 'always: it is counted' })
  })

  test('is judged by every model of the machine', () => {
    const further = { ...model, stimuli: [...stimuli, { name: 'never', request: false, event: () => ({ type: 'never' }) }] }
    const found = mutate([model, further], perMutant).find(({ place }) => place === 'counter.on on never')
    expect(found).toMatchObject({ fate: 'survives', difference: { way: ['never'] } })
  })

  test('says nothing of a model that is broken as it is', () => {
    expect(() => mutate({ ...model, always: { 'nothing holds': () => false } }, perMutant)).toThrow('"nothing holds" is broken already')
  })
})

test.each([
  [null, 'nothing, because it takes no notice'],
  [1, 'a refusal, because it takes no notice'],
])('what is ignored is refused where somebody waits, and dropped where nobody does: request %s', (request, word) => {
  const [hears, deaf] = [{ on: { told: { actions: 'tell' } } } as const, {}].map((config) =>
    setup({
      types: {} as { events: { type: 'told' } },
      actions: { tell: emit({ type: 'send', to: 'x', kind: 'heard', body: {} }) as never },
    }).createMachine({ context: {}, ...config }),
  )
  const listening = defineModel<object>({
    actor: 'ear',
    machine: hears as never,
    input: undefined,
    stimuli: [{ name: 'told', request: request !== null, event: () => ({ type: 'told', body: {}, from: { request } }) }],
    effects: {},
    always: {},
    sometimes: {},
    mayEnd: () => true,
  })
  expect(compareMachines(listening, deaf as never, 10)).toMatchObject({
    verdict: 'different',
    difference: { way: ['told'], what: expect.stringContaining(`which is ${word}`) as string },
  })
})

test('machines that are written otherwise and do the same are equal; a limit leaves it open', () => {
  const flat = base.createMachine({
    id: 'counter',
    context: { shown: 0, counted: 0 },
    initial: 'first',
    states: {
      first: { on: { press: [{ guard: 'full', target: 'second' }, { actions: ['show', 'tell'] }], hold: 'second' } },
      second: { on: { hold: 'first' } },
    },
  })
  expect(compareMachines(model, flat, 1_000)).toMatchObject({ verdict: 'equal' })
  expect(compareMachines(model, flat, 3)).toMatchObject({ verdict: 'unknown' })
})
