import { initialTransition, transition } from 'xstate'
import { expect, test } from 'vitest'
import { defaults } from '../policy/keys.ts'
import type { Definition } from './definition.ts'
import { maxHeld } from './limits.ts'
import { machine } from './machine.ts'

type Event = Parameters<typeof transition<typeof machine>>[2]

function start() {
  let [snapshot] = initialTransition(machine, { params: {}, slots: [] })
  return (event: Event) => {
    const [next, actions] = transition(machine, snapshot, event)
    snapshot = next
    return (actions as readonly { type: string; params?: unknown }[]).map(({ type, params }) =>
      type === 'xstate.emit' ? (params as { event: unknown }).event : { effect: type, params },
    )
  }
}

const from = (request: number) => ({ request, badge: { from: 'gateway', session: null, limits: {} }, caps: [] })
const policy: Event = {
  type: 'part',
  ref: 'policy',
  kind: 'watch',
  body: { policy: { values: defaults, decidedBy: {}, failedClosed: false } },
}
const definition = {
  name: 's',
  source: 'settings',
  origin: 'settings',
  bundled: false,
  signature: null,
  launch: { name: 's', command: 'node', args: [], network: false, folders: [] },
  problem: null,
} as unknown as Definition
const loaded: Event = { type: 'load.done', loaded: { definitions: [definition], modes: {}, search: null, pins: {}, pinsKnown: true } }

test('what is asked before servers and policy are known is answered from what they say, in order', () => {
  const send = start()
  const asked: Event[] = [
    { type: 'servers', body: {}, from: from(1) },
    { type: 'call', body: { tool: 'mcp__s__t', input: {} }, from: from(2) },
    { type: 'remove', body: { name: 's' }, from: from(3) },
    { type: 'restart', body: { name: 's' }, from: from(4) },
  ]
  for (const question of asked) expect(send(question)).toEqual([])
  expect(send(policy)).toMatchObject([{ effect: 'load' }])
  expect(send({ type: 'cancelled', request: 4 })).toMatchObject([{ type: 'cancel' }])
  expect(send(loaded).filter((out) => 'request' in (out as object) || 'effect' in (out as object))).toMatchObject([
    { type: 'reply', request: 1, body: { servers: [{ name: 's' }] } },
    { type: 'refuse', request: 2, error: { code: 'server-unavailable' } },
    { effect: 'change', params: { ticket: 3 } },
  ])
  expect(send({ type: 'servers', body: {}, from: from(5) })).toMatchObject([{ type: 'reply', request: 5 }])
})

test('no more questions wait than may', () => {
  const send = start()
  for (let request = 1; request <= maxHeld; request += 1) expect(send({ type: 'servers', body: {}, from: from(request) })).toEqual([])
  expect(send({ type: 'servers', body: {}, from: from(99) })).toMatchObject([
    { type: 'refuse', request: 99, error: { code: 'overloaded' } },
  ])
})

test('what a defect ends is not waited for: reading begins anew in a moment, and who wanted a change hears that it failed', () => {
  const send = start()
  send(policy)
  const error = { code: 'internal' as const, message: 'x', remedy: '' }
  expect(send({ type: 'load.crashed', ref: 'load', error })).toMatchObject([{ effect: 'pause', params: { ref: 'load' } }])
  expect(send({ type: 'pause.done', ref: 'load' })).toMatchObject([{ effect: 'load', params: { managed: [] } }])
  send(loaded)
  expect(send({ type: 'remove', body: { name: 's' }, from: from(1) })).toMatchObject([{ effect: 'change' }])
  expect(send({ type: 'change.crashed', ref: 'change:1', error })).toMatchObject([
    { type: 'refuse', request: 1, error: { code: 'internal' } },
  ])
})

test('who gives up a change is not answered; the change is made all the same', () => {
  const send = start()
  send(policy)
  send(loaded)
  send({ type: 'remove', body: { name: 's' }, from: from(1) })
  send({ type: 'cancelled', request: 1 })
  const { loaded: read } = loaded as Extract<Event, { type: 'load.done' }>
  const change = { do: 'remove', name: 's' } as const
  const out = send({ type: 'change.done', ticket: 1, change, loaded: { ...read, definitions: [] }, body: {} })
  expect(out).toContainEqual(expect.objectContaining({ type: 'send', kind: 'stop' }))
  expect(out).not.toContainEqual(expect.objectContaining({ type: 'reply' }))
})
