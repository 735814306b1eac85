import { assign, emit, setup } from 'xstate'
import { describe, expect, test } from 'vitest'
import type { Outgoing } from '../kernel/types.ts'
import { check } from './explore.ts'
import { defineModel } from './model.ts'

type Ctx = { jugs: { small: number; big: number } }

/** DieHard: a 3- and a 5-litre jug. TLC and Spin count 16 states and 97 transitions (self-loops included). */
const pour = setup({
  types: {} as { context: Ctx; events: { type: 'fillSmall' | 'fillBig' | 'emptySmall' | 'emptyBig' | 'smallToBig' | 'bigToSmall' } },
}).createMachine({
  context: { jugs: { small: 0, big: 0 } },
  on: {
    fillSmall: { actions: assign({ jugs: ({ context }) => ({ ...context.jugs, small: 3 }) }) },
    fillBig: { actions: assign({ jugs: ({ context }) => ({ ...context.jugs, big: 5 }) }) },
    emptySmall: { actions: assign({ jugs: ({ context }) => ({ ...context.jugs, small: 0 }) }) },
    emptyBig: { actions: assign({ jugs: ({ context }) => ({ ...context.jugs, big: 0 }) }) },
    smallToBig: {
      actions: assign({
        jugs: ({ context: { jugs } }) => ({ small: Math.max(0, jugs.small - (5 - jugs.big)), big: Math.min(5, jugs.big + jugs.small) }),
      }),
    },
    bigToSmall: {
      actions: assign({
        jugs: ({ context: { jugs } }) => ({ big: Math.max(0, jugs.big - (3 - jugs.small)), small: Math.min(3, jugs.big + jugs.small) }),
      }),
    },
  },
})
const moves = ['fillSmall', 'fillBig', 'emptySmall', 'emptyBig', 'smallToBig', 'bigToSmall']
const dieHard = defineModel<Ctx>({
  actor: 'die-hard',
  machine: pour,
  input: undefined,
  stimuli: moves.map((name) => ({ name, times: Number.POSITIVE_INFINITY, request: false, event: () => ({ type: name }) })),
  effects: {},
  always: { 'never four litres': ({ context }) => context.jugs.big !== 4 },
  sometimes: { 'a full big jug': ({ context }) => context.jugs.big === 5 },
})

describe('exploration', () => {
  test('DieHard has the state count other checkers give, and the shortest way to four litres is six pours', () => {
    const counted = { ...dieHard, stimuli: dieHard.stimuli.map((stimulus) => ({ ...stimulus })) }
    // `sent` counts would split states; unlimited stimuli are not counted.
    const result = check(counted)
    expect(result).toMatchObject({ states: 16, complete: true })
    expect(result.violations).toHaveLength(1)
    expect(result.violations[0]?.trace.steps.map(({ label }) => label)).toHaveLength(6)
  })

  test('a sometimes that is never reached is a failure', () => {
    const result = check({ ...dieHard, always: {}, sometimes: { 'six litres': ({ context }: { context: Ctx }) => context.jugs.big === 6 } })
    expect(result.violations).toMatchObject([{ kind: 'sometimes', property: 'six litres' }])
  })
})

type ServerEvent =
  | { type: 'ask'; from: { request: number } }
  | { type: 'work.done'; request: number }
  | { type: 'cancelled'; request: number }

/** A server that answers when its effect ends; `seeded` forgets that the requester may have given up. */
function server(seeded: boolean) {
  return setup({
    types: {} as { context: { busy: number | null }; events: ServerEvent; emitted: Outgoing },
    actions: { work: (_, _params: { request: number; ref: string }) => {} },
  }).createMachine({
    context: { busy: null },
    initial: 'idle',
    states: {
      idle: { on: { ask: { target: 'busy', actions: assign({ busy: ({ event }) => event.from.request }) } } },
      busy: {
        entry: { type: 'work', params: ({ context }) => ({ request: context.busy ?? -1, ref: 'w' }) },
        on: {
          'work.done': { target: 'idle', actions: emit(({ event }): Outgoing => ({ type: 'reply', request: event.request, body: {} })) },
          cancelled: {
            target: 'idle',
            actions: seeded
              ? emit(({ context }): Outgoing => ({ type: 'reply', request: context.busy ?? -1, body: {} }))
              : assign({ busy: null }),
          },
        },
      },
    },
  })
}
const serverModel = (seeded: boolean) =>
  defineModel<{ busy: number | null }>({
    actor: 'server',
    machine: server(seeded),
    input: undefined,
    stimuli: [
      { name: 'ask', times: 2, event: (_, request) => ({ type: 'ask', from: { request } }) },
      {
        name: 'cancel',
        when: ({ open }) => open.length > 0,
        request: false,
        event: ({ open }) => ({ type: 'cancelled', request: open[0] }),
      },
    ],
    effects: { work: () => [{ event: { type: 'work.done' }, ends: true }] },
    always: {},
    sometimes: { busy: ({ value }) => value === 'busy' },
    mayEnd: ({ value, open }) => value === 'idle' && open.length === 0,
  })

describe('built-in properties', () => {
  test('a correct server passes, deadlock freedom included', () => {
    expect(check(serverModel(false)).violations).toEqual([])
  })

  test('a seeded bug (answering a cancelled request) gives the shortest counterexample', () => {
    const [violation] = check(serverModel(true)).violations
    expect(violation).toMatchObject({ kind: 'answers' })
    expect(violation?.trace.steps.map(({ label }) => label)).toEqual(['ask', 'cancel'])
  })

  test('a state where nothing can happen is a deadlock unless the model says it may end there', () => {
    const { mayEnd: _, ...model } = serverModel(false)
    expect(check(model).violations.map(({ kind }) => kind)).toContain('deadlock')
  })

  test('a machine that mutates its context is caught', () => {
    const mutating = setup({ types: {} as { context: { list: number[] }; events: { type: 'go' } } }).createMachine({
      context: { list: [] },
      on: { go: { actions: assign({ list: ({ context }) => (context.list.push(1), context.list) }) } },
    })
    const result = check({
      actor: 'm',
      machine: mutating,
      input: undefined,
      stimuli: [{ name: 'go', request: false, event: () => ({ type: 'go' }) }],
      effects: {},
      always: {},
      sometimes: {},
      mayEnd: () => true,
    })
    expect(result.violations).toMatchObject([{ kind: 'crash' }])
  })
})
