/** What is played around an actor, each kind with a case that must be found and one that must not: channels, fairness, what comes from outside. */
import { assign, emit, enqueueActions, setup } from 'xstate'
import { describe, expect, test } from 'vitest'
import type { Outgoing } from '../kernel/types.ts'
import { type Item, Channels, Mailbox, type Order } from './channels.ts'
import { check } from './explore.ts'
import { defineModel } from './model.ts'

describe('channels', () => {
  const badge = { from: 'a', session: null, limits: {} }
  const message = (kind: string): Item => ({ what: 'message', from: 'a', kind, body: null, request: null, badge, cap: 1, caps: [] })
  function holding(order: Order, ...kinds: readonly string[]) {
    const channels = new Channels(order)
    const box = new Mailbox(channels, 3)
    const content = kinds.reduce((now, kind) => box.apply(now, channels.append(message(kind))), box.content([]))
    const kindsOf = (at: number) => box.shown(at).map((item) => (item.what === 'message' ? item.kind : item.what))
    return box.deliverable(content).map(({ id, rest }) => `${kindsOf(box.content([id])).join()} of ${kindsOf(rest).join(' ')}`)
  }

  test('fifo: the oldest alone, and a full one takes no more', () => {
    expect(holding('fifo', 'x', 'y', 'x')).toEqual(['x of y x'])
    const channels = new Channels('fifo')
    const box = new Mailbox(channels, 1)
    const full = box.apply(box.content([]), channels.append(message('x')))
    expect(box.apply(full, channels.append(message('y')))).toBe(-1)
    // An answer always has room.
    const answer: Item = { what: 'replied', request: 1, ref: 'r', kind: 'x', body: {}, slots: [] }
    expect(box.shown(box.apply(full, channels.append(answer)))).toHaveLength(2)
  })

  test('bag: any of them, each as often as it was sent', () => {
    expect(holding('bag', 'x', 'y', 'x')).toEqual(['x of x y', 'y of x x'])
  })

  test('set: any of them, and it stays', () => {
    expect(holding('set', 'x', 'y', 'x')).toEqual(['x of x y', 'y of x y'])
  })
})

test('fairness is said of each source of an actor’s steps', () => {
  const machine = setup({ types: {} as { events: { type: 'open' | 'close' | 'serve' } } }).createMachine({
    context: {},
    initial: 'shut',
    states: { shut: { on: { open: 'wide' } }, wide: { on: { close: 'shut', serve: 'served' } }, served: {} },
  })
  const stimulus = (name: string) => ({ name, times: Number.POSITIVE_INFINITY, request: false, event: () => ({ type: name }) })
  const starving = (serve: 'none' | 'weak' | 'strong') =>
    check(
      defineModel<object>({
        actor: 'door',
        machine,
        input: undefined,
        stimuli: ['open', 'close', 'serve'].map(stimulus),
        effects: {},
        always: {},
        sometimes: {},
        eventually: { served: ({ value }) => value === 'served' },
        fairness: { 'stimulus open': 'weak', 'stimulus close': 'weak', 'stimulus serve': serve },
        mayEnd: () => true,
      }),
    ).violations.map(({ kind }) => kind)
  // It can be served again and again, and never for good.
  expect([starving('none'), starving('weak'), starving('strong')]).toEqual([['eventually'], ['eventually'], []])
})

describe('from outside', () => {
  type Event = { type: 'ask'; from: { request: number } } | { type: 'fetch.done'; request: number } | { type: 'cancelled'; request: number }
  /** @param careful whether it looks who still waits before it answers */
  const fetching = (careful: boolean) =>
    setup({
      types: {} as { context: { open: number | null }; events: Event; emitted: Outgoing },
      actions: {
        fetch: (_, _params: { request: number }) => {},
        answer: enqueueActions(({ context, event, enqueue }) => {
          if (event.type !== 'fetch.done' || (careful && context.open !== event.request)) return
          enqueue.emit({ type: 'reply', request: event.request, body: {} })
          enqueue.assign({ open: null })
        }),
        forget: assign({ open: null }),
      },
    }).createMachine({
      context: { open: null },
      on: {
        ask: {
          actions: [
            assign({ open: ({ event }) => event.from.request }),
            { type: 'fetch', params: ({ event }) => ({ request: event.from.request }) },
          ],
        },
        'fetch.done': { actions: 'answer' },
        cancelled: { actions: 'forget' },
      },
    })
  const model = (careful: boolean, comes: 'once' | 'twice' | 'never') =>
    defineModel<{ open: number | null }>({
      actor: 'fetcher',
      machine: fetching(careful),
      input: undefined,
      stimuli: [{ name: 'ask', event: (_, request) => ({ type: 'ask', from: { request } }) }],
      effects: { fetch: () => (comes === 'never' ? [] : [{ event: { type: 'fetch.done' }, ends: comes === 'once' }]) },
      always: {},
      sometimes: {},
      leadsTo: { 'who asks is answered': { from: ({ open }) => open.length > 0, to: ({ open }) => open.length === 0 } },
      // Said here, because what does not end is not certain to say anything.
      fairness: { 'effect fetch': 'weak' },
      mayEnd: () => true,
    })
  const found = (careful: boolean, comes: 'once' | 'twice' | 'never') => check(model(careful, comes)).violations.map(({ kind }) => kind)

  test('what comes once is answered once', () => {
    expect(found(false, 'once')).toEqual([])
  })

  test('what comes twice, or late, is found where it is answered again', () => {
    expect(found(false, 'twice')).toEqual(['answers'])
    expect(found(true, 'twice')).toEqual([])
  })

  test('what never comes leaves somebody waiting, which is found', () => {
    expect(found(true, 'never')).toEqual(['leadsTo'])
  })

  test('who is asked outside may not answer: what then happens is the model’s to say', () => {
    const asking = setup({
      types: {} as { context: object; events: { type: 'go' | 'replied' | 'refused' }; emitted: Outgoing },
      actions: { ask: emit((): Outgoing => ({ type: 'send', to: 'out', kind: 'look', body: {}, ref: 'look' })) },
    }).createMachine({
      context: {},
      initial: 'idle',
      states: {
        idle: { on: { go: { target: 'waiting', actions: 'ask' } } },
        waiting: { on: { replied: 'told', refused: 'told' } },
        told: {},
      },
    })
    const violations = (answers: readonly string[]) =>
      check(
        defineModel<object>({
          actor: 'asker',
          machine: asking,
          input: undefined,
          stimuli: [{ name: 'go', request: false, event: () => ({ type: 'go' }) }],
          effects: {},
          replies: ({ ref, kind }) => answers.map((type) => ({ type, ref, kind, body: {}, caps: [], error: { code: 'deadline' } })),
          always: { 'no answer is taken twice': ({ pending, value }) => value !== 'told' || pending.length === 0 },
          sometimes: {},
          leadsTo: { 'it is told': { from: ({ value }) => value === 'waiting', to: ({ value }) => value === 'told' } },
          mayEnd: ({ value }) => value !== 'waiting',
        }),
      ).violations.map(({ kind }) => kind)
    expect(violations(['replied', 'refused'])).toEqual([])
    expect(violations([])).toEqual(['deadlock', 'leadsTo'])
  })
})
