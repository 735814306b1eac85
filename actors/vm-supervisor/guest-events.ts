/** What the guest tells of its sessions on its way to telemetry: gathered for a moment, bounded for the whole VM. */
import type { GuestEvent } from '../../guest/events.ts'
import { eventBatch, eventBatchMs, eventBudget, eventsKept } from './limits.ts'

export type Batch = { session: string; events: readonly GuestEvent[]; missed: number }
type Open = { events: GuestEvent[]; missed: number }

export class GuestEvents {
  readonly #pass: (batch: Batch) => void
  readonly #open = new Map<string, Open>()
  #left: number = eventBudget.burst
  #at = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor(pass: (batch: Batch) => void) {
    this.#pass = pass
  }

  /** The caller has seen to it that there is such a session. */
  add(session: string, event: GuestEvent, missed: number): void {
    const now = performance.now()
    this.#left = Math.min(eventBudget.burst, this.#left + ((now - this.#at) / 1000) * eventBudget.eachSecond)
    this.#at = now
    const open = this.#open.get(session) ?? { events: [], missed: 0 }
    this.#open.set(session, open)
    // A guest's number, which may be any.
    open.missed = Math.min(Number.MAX_SAFE_INTEGER, open.missed + missed)
    // Programs come and go by the hundred: of what is rarer, and says more, some is still told then.
    const common = event.name === 'process_start' || event.name === 'process_exit'
    if (this.#left < (common ? eventsKept : 1)) open.missed++
    else {
      this.#left--
      open.events.push(event)
    }
    if (open.events.length >= eventBatch) this.#flush(session)
    this.#timer ??= setTimeout(() => this.end(), eventBatchMs)
  }

  /** What is gathered goes at once. */
  end(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const session of this.#open.keys()) this.#flush(session)
  }

  #flush(session: string): void {
    const open = this.#open.get(session)
    this.#open.delete(session)
    if (open !== undefined && open.events.length + open.missed > 0) this.#pass({ session, ...open })
  }
}
