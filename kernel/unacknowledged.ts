/**
 * Deliveries an actor has not acknowledged, at most `deliveryWindow` of them. Acknowledged mostly in order, so the first is looked at first.
 * Not a Map: its tables, remade every few entries, are linked to one another, and one that got old keeps all that follow.
 */
import type { ToActor } from './frames.ts'

/** A message on its way to its receiver. */
export type Delivery = Extract<ToActor, { t: 'msg' }>

export class Unacknowledged {
  private readonly frames: Delivery[] = []

  get size(): number {
    return this.frames.length
  }

  add(frame: Delivery): void {
    this.frames.push(frame)
  }

  /** The one of that number, which is not waited for any more. */
  take(n: number): Delivery | undefined {
    if (this.frames[0]?.n === n) return this.frames.shift()
    const at = this.frames.findIndex((frame) => frame.n === n)
    return at < 0 ? undefined : this.frames.splice(at, 1)[0]
  }
}
