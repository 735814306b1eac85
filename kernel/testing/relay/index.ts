/** An actor for tests by property: it notes what reaches it, keeps capabilities it is given, uses them when told and lends them on. */
import { setup } from 'xstate'
import { noRequest } from '../../no-request.ts'
import type { Actor, From, Inbound, KernelEvent, Limits, Manifest, Outgoing } from '../../types.ts'
import { protocol } from './protocol.ts'

export type Noted = { holder: string; from: string; grant: number; n: number; kind: string }

type Event = Inbound<typeof protocol> | KernelEvent
type Context = { id: string; kept: Readonly<Record<string, number>> }

/** @param noted told of every note, as the machine handles it: the test's own eyes, not a pattern for an actor */
export function relay(kind: string, noted: (note: Noted) => void): Actor {
  const requestOf = (from: From): number => from.request ?? noRequest

  function step(context: Context, event: Event): { context: Context; out: readonly Outgoing[] } {
    switch (event.type) {
      case 'note':
        noted({ holder: context.id, from: event.from.badge.from, kind: event.type, ...event.body })
        return { context, out: [{ type: 'reply', request: requestOf(event.from), body: { handled: event.body.n } }] }
      case 'keep': {
        const [slot] = event.from.caps
        const kept = slot === undefined ? context.kept : { ...context.kept, [event.body.key]: slot }
        return { context: { ...context, kept }, out: [{ type: 'reply', request: requestOf(event.from), body: {} }] }
      }
      case 'lend': {
        const slot = context.kept[event.body.key] ?? 0
        const caps = [{ slot, limits: event.body.limits as Limits, reason: `lent by ${context.id}` }]
        return { context, out: [{ type: 'reply', request: requestOf(event.from), body: {}, caps }] }
      }
      case 'pass': {
        const { key, kind: as, grant, n } = event.body
        const ref = String(requestOf(event.from))
        return { context, out: [{ type: 'send', to: context.kept[key] ?? 0, kind: as, body: { grant, n }, ref, deadlineMs: null }] }
      }
      case 'replied':
        return { context, out: [{ type: 'reply', request: Number(event.ref), body: { answer: event.body } }] }
      case 'refused':
        return { context, out: [{ type: 'refuse', request: Number(event.ref), error: event.error }] }
      default:
        return { context, out: [] }
    }
  }

  const base = setup({ types: {} as { context: Context; events: Event; emitted: Outgoing } })
  const advance = base.enqueueActions(({ context, event, enqueue }) => {
    const next = step(context, event)
    enqueue.assign(() => next.context)
    for (const message of next.out) enqueue.emit(message)
  })
  const machine = base.extend({ actions: { advance } }).createMachine({
    id: 'relay',
    context: { id: kind, kept: {} },
    on: Object.fromEntries(['note', 'keep', 'lend', 'pass', 'replied', 'refused'].map((type) => [type, { actions: 'advance' }])),
  })
  const manifest: Manifest = {
    kind,
    purpose: 'shows the kernel to its tests',
    placement: 'inline',
    cardinality: 'singleton',
    grants: [],
    permissions: () => ({}),
    permissionReasons: {},
    // Crashes are the test's own doing; it does not wait out a backoff.
    restart: { strategy: 'permanent', intensity: 1_000_000 },
  }
  return { manifest, protocol, machine, effects: {} }
}
