/** Handing over what waits: the kernel asks again whether it may, and the machine gets an event. */
import type { Fault } from '../kernel/types.ts'
import type { Item } from './channels.ts'
import type { Composition, Member } from './compose.ts'
import { cancelled, type Local } from './local.ts'
import type { Event, Pending } from './model.ts'

export type Delivery = {
  refused: Fault | null
  /** Capability tables once what travelled with the message is installed. */
  state: number
  move: { event: Event; before: Local; label: string }
  /** Equal for deliveries that are the same to the machine. */
  key: string
}

/** Null when nobody waits for the item any more. */
export function deliveries(composition: Composition, member: Member, local: Local, state: number, item: Item, id: number): Delivery | null {
  const { capabilities } = composition
  if (item.what === 'message') {
    const refused = capabilities.recheck(state, item.cap, item.kind)
    const installed = refused ? { state, slots: [] } : capabilities.install(state, member.id, item.caps)
    const { kind, body, request, badge } = item
    const event = { type: kind, body, from: { request, badge, caps: installed.slots } }
    const before = request === null ? local : { ...local, open: [...local.open, request].toSorted((a, b) => a - b) }
    return {
      refused,
      state: installed.state,
      move: { event, before, label: `${kind} from ${item.from}` },
      key: `${id}/${installed.slots.join()}`,
    }
  }
  const key = String(id)
  if (item.what === 'cancelled') {
    if (!local.open.includes(item.request)) return null
    const event = { type: 'cancelled', request: item.request }
    return { refused: null, state, key, move: { event, before: cancelled(local, item.request), label: 'cancelled' } }
  }
  const pending = local.pending.find(
    (other): other is Extract<Pending, { what: 'request' }> => other.what === 'request' && other.request === item.request,
  )
  if (!pending) return null
  const { ref, kind } = pending
  const before = item.what === 'part' ? local : { ...local, pending: local.pending.filter((other) => other !== pending) }
  const event: Event =
    item.what === 'replied'
      ? { type: 'replied', ref, kind, body: item.body, caps: item.slots }
      : item.what === 'refused'
        ? { type: 'refused', ref, kind, error: item.error }
        : { type: 'part', ref, kind, body: item.body }
  return {
    refused: null,
    state,
    key,
    move: { event, before, label: `${kind} ${item.what}${item.what === 'refused' ? ` ${item.error.code}` : ''}` },
  }
}
