import { initialTransition, transition } from 'xstate'
import { expect, test } from 'vitest'
import { fault } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { machine } from './machine.ts'

type Event = Parameters<typeof transition<typeof machine>>[2]
const input = { params: { fds: { secrets: 9 }, baseUrl: null }, slots: [] }

function start() {
  let [snapshot, actions] = initialTransition(machine, input)
  // Timers are the runtime's; the transitions they cause are tested by sending what they send.
  const left = () =>
    (actions as readonly { type: string; params?: unknown }[]).filter(({ type }) => type !== 'xstate.raise' && type !== 'xstate.cancel')
  const names = () =>
    left().map(({ type, params }) =>
      type === 'xstate.emit'
        ? (params as { event: { type: string; request?: number; error?: { code: string } } }).event
        : { effect: type, params },
    )
  return {
    initial: names(),
    send(event: Event) {
      ;[snapshot, actions] = transition(machine, snapshot, event)
      return names()
    },
    state: () => snapshot.value,
    context: () => snapshot.context,
  }
}

const from = (request: number | null, hosts?: string[]) => ({
  request,
  badge: { from: 'conversation:s', session: 's', limits: hosts ? { hosts } : {} },
  caps: [],
})
const model = (request: number | null): Event => ({
  type: 'model',
  body: { method: 'POST', path: '/v1/messages', headers: {}, body: '' },
  from: from(request),
})
const fetching = (request: number, hosts?: string[]): Event => ({
  type: 'fetch',
  body: { url: 'https://example.com/' },
  from: from(request, hosts),
})

test('opens the upstream first, and takes requests meanwhile', () => {
  const egress = start()
  expect(egress.initial).toEqual([{ effect: 'openUpstream', params: { secrets: 9, baseUrl: null } }])
  expect(egress.send(model(1))).toMatchObject([{ effect: 'forward', params: { request: 1 } }])
  egress.send({ type: 'openUpstream.opened' })
  expect(egress.state()).toEqual({ up: 'serving' })
  expect(egress.send({ type: 'model-info', body: {}, from: from(2) })).toMatchObject([{ effect: 'describe' }])
})

test("the allow list is the capability's, never the body's; none is none", () => {
  const egress = start()
  expect(egress.send(fetching(1, ['example.com']))).toMatchObject([{ effect: 'fetchPage', params: { request: 1, hosts: ['example.com'] } }])
  expect(egress.send(fetching(2))).toMatchObject([{ effect: 'fetchPage', params: { request: 2, hosts: [] } }])
  expect(egress.send({ type: 'explain', body: { url: 'x' }, from: from(3, ['a.b']) })).toMatchObject([
    { effect: 'explain', params: { hosts: ['a.b'] } },
  ])
})

test('each outcome is one answer, and makes room', () => {
  const egress = start()
  egress.send(model(1))
  egress.send(fetching(2))
  expect(egress.send({ type: 'forward.done', request: 1 })).toEqual([{ type: 'reply', request: 1, body: {} }])
  expect(egress.send({ type: 'fetchPage.failed', request: 2, error: fault('fetch-failed', 'x') })).toMatchObject([
    { type: 'refuse', request: 2, error: { code: 'fetch-failed' } },
  ])
  egress.send(model(3))
  expect(egress.send({ type: 'forward.crashed', request: 3 })).toMatchObject([{ type: 'refuse', request: 3, error: { code: 'internal' } }])
  egress.send(fetching(4))
  expect(egress.send({ type: 'fetchPage.done', request: 4, reply: { x: 1 } })).toEqual([{ type: 'reply', request: 4, body: { x: 1 } }])
  expect(egress.context()).toMatchObject({ models: [], fetches: [] })
})

test('in flight is bounded; a cancelled request makes room', () => {
  const egress = start()
  for (let request = 1; request <= limits.modelInFlight; request += 1) egress.send(model(request))
  expect(egress.send(model(1000))).toMatchObject([{ type: 'refuse', request: 1000, error: { code: 'overloaded' } }])
  expect(egress.send({ type: 'cancelled', request: 1 })).toEqual([])
  expect(egress.send(model(1001))).toMatchObject([{ effect: 'forward' }])
  for (let request = 2000; request < 2000 + limits.fetchInFlight; request += 1) egress.send(fetching(request))
  expect(egress.send(fetching(3000))).toMatchObject([{ type: 'refuse', error: { code: 'overloaded' } }])
})

test('while the upstream cannot be opened, models are refused with the reason, fetches go on, and it is tried again', () => {
  const egress = start()
  egress.send({ type: 'openUpstream.failed', error: fault('model-unreachable', 'bad base') })
  expect(egress.state()).toEqual({ up: 'closed' })
  expect(egress.send(model(1))).toMatchObject([
    { type: 'refuse', error: { code: 'model-unreachable', message: 'bad base', retryAfterMs: limits.reopenMs } },
  ])
  expect(egress.send(fetching(2))).toMatchObject([{ effect: 'fetchPage' }])
  expect(egress.send({ type: 'xstate.after.reopen.egress.up.closed' } as never)).toMatchObject([{ effect: 'openUpstream' }])
  expect(egress.send(model(3))).toMatchObject([{ effect: 'forward' }])
})

test('a message without a request does nothing; when stopping nothing new is taken on', () => {
  const egress = start()
  expect(egress.send(model(null))).toEqual([])
  expect(egress.send({ type: 'stopping' })).toEqual([{ effect: 'closeUpstream', params: undefined }])
  expect(egress.send(model(1))).toEqual([])
})
