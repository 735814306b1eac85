/** Messages on their way to an actor: in its mailbox, then handed over, until the step that took them is acknowledged. */
import type { Socket } from 'node:net'
import type { Capability } from './capabilities.ts'
import type { ToActor } from './frames.ts'
import type { Way } from './router.ts'
import type { From } from './types.ts'

export type Delivery = {
  way: Way
  /** That of the way: it is asked again when the message is handed over. */
  cap: Capability
  /** What the receiver's machine gets. `from.caps` is filled in when it is handed over. */
  event: { type: string; body: unknown; from: From }
  /** The request's number; null when no answer is expected. */
  request: number | null
  /** Given when it is handed over: the next of this actor. */
  n: number
  /** What few messages have. */
  extra: { caps: readonly Capability[]; handle: { conn: number; socket: Socket } | null; trace: string | null } | null
  /** What waits behind it in its mailbox. */
  next: Delivery | null
}

/** As it travels to an actor that is not in this thread. */
export function frameOf({ way, n, event, extra }: Delivery): Extract<ToActor, { t: 'msg' }> {
  const frame: Extract<ToActor, { t: 'msg' }> = { t: 'msg', n, event }
  if (extra?.handle) frame.handle = extra.handle.conn
  if (extra && extra.trace !== null) frame.trace = extra.trace
  // What a manifest grants is granted for good, and the kernel refuses to revoke it; whatever was derived may be revoked.
  if (way.cap.parent !== null) frame.revocable = true
  return frame
}

/**
 * Deliveries an actor has not acknowledged, at most `deliveryWindow` of them. They are handled in order, so an acknowledgement is of all up
 * to its number. Not a Map: its tables, remade every few entries, are linked to one another, and one that got old keeps all that follow.
 */
export class Unacknowledged {
  private readonly deliveries: Delivery[] = []
  /** How many there are. A field and not computed when asked: it is asked with every message. Written here only. */
  size = 0

  /** Numbers only grow. */
  add(delivery: Delivery): void {
    this.deliveries.push(delivery)
    this.size++
  }

  *[Symbol.iterator](): Generator<Delivery> {
    yield* this.deliveries
  }

  /** The one of that number; it and all before it are not waited for any more. Nothing when it was not waited for. */
  take(n: number): Delivery | undefined {
    const { deliveries } = this
    // Mostly the first.
    const at = deliveries[0]?.n === n ? 0 : deliveries.findIndex((delivery) => delivery.n === n)
    if (at < 0) return undefined
    this.size -= at + 1
    return at === 0 ? deliveries.shift() : deliveries.splice(0, at + 1)[at]
  }
}
