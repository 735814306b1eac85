/**
 * What waits to be exported, for one signal: bounded, counted, sent in batches, one at a time.
 *
 *   add --(full: lost)--> waiting --batch--> send --> sent
 *                            ^                 |----> refused: the collector will never take it; lost
 *                            +---- later ------+----> retry: it stays first, and the pause doubles
 *
 * Whoever adds never waits.
 */
import { exportEveryMs, maxBatch, maxBatchBytes, maxWaiting, maxWaitingBytes, retryMs } from './limits.ts'
import type { SignalStatus } from './protocol.ts'

/** `refused`: how many of the batch, when it was not all of them. */
export type Outcome = { type: 'sent'; refused?: number } | { type: 'refused'; why: string } | { type: 'retry'; why: string }
export type Send<T> = (batch: readonly T[]) => Promise<Outcome>
type Limits = {
  waiting: number
  waitingBytes: number
  batch: number
  batchBytes: number
  everyMs: number
  retryMs: { first: number; last: number }
}

export type Signal<T> = {
  add(item: T): void
  /** From now on to there; what waits goes there too. */
  connect(send: Send<T>): void
  /** What waits is kept for the next, is lost and counted, or was wanted by nobody. */
  disconnect(waiting: 'keep' | 'lose' | 'forget'): void
  /** Tries once to send all that waits. */
  flush(): Promise<void>
  status(): SignalStatus
}

export const usualLimits: Limits = {
  waiting: maxWaiting,
  waitingBytes: maxWaitingBytes,
  batch: maxBatch,
  batchBytes: maxBatchBytes,
  everyMs: exportEveryMs,
  retryMs,
}

export function createSignal<T>(limits: Limits = usualLimits, now: () => number = Date.now): Signal<T> {
  let waiting: { item: T; bytes: number }[] = []
  let bytes = 0
  let send: Send<T> | null = null
  let timer: NodeJS.Timeout | null = null
  let sending: Promise<Outcome | null> | null = null
  let pauseMs = 0
  const count = { accepted: 0, sent: 0, failures: 0 }
  const lost = { full: 0, refused: 0, dropped: 0 }
  let lastError: string | null = null
  let lastSentAt: string | null = null

  function add(item: T): void {
    const size = JSON.stringify(item).length
    count.accepted++
    if (waiting.length >= limits.waiting || bytes + size > limits.waitingBytes) {
      lost.full++
      return
    }
    waiting.push({ item, bytes: size })
    bytes += size
    schedule()
  }

  function schedule(): void {
    if (!send || sending || waiting.length === 0) return
    const soon = pauseMs === 0 && waiting.length >= limits.batch
    if (timer && !soon) return
    if (timer) clearTimeout(timer)
    timer = setTimeout(() => void attempt(), soon ? 0 : Math.max(pauseMs, limits.everyMs))
  }

  function nextBatch(): { item: T; bytes: number }[] {
    let size = 0
    const end = waiting.findIndex(
      (entry, index) => index >= limits.batch || (index > 0 && size + entry.bytes > limits.batchBytes) || ((size += entry.bytes), false),
    )
    return waiting.slice(0, end < 0 ? undefined : end)
  }

  async function attempt(): Promise<Outcome | null> {
    if (timer) clearTimeout(timer)
    timer = null
    if (sending) return sending
    const to = send
    const batch = nextBatch()
    if (!to || batch.length === 0) return null
    sending = to(batch.map(({ item }) => item)).catch(
      (error: unknown): Outcome => ({ type: 'retry', why: error instanceof Error ? error.message : String(error) }),
    )
    const outcome = await sending
    sending = null
    // Disconnected meanwhile: what happened to the batch no longer matters if it was counted as dropped.
    if (outcome && waiting[0] === batch[0]) settle(batch, outcome)
    schedule()
    return outcome
  }

  function settle(batch: readonly { bytes: number }[], outcome: Outcome): void {
    if (outcome.type === 'retry') {
      count.failures++
      lastError = outcome.why
      pauseMs = Math.min(Math.max(pauseMs * 2, limits.retryMs.first), limits.retryMs.last)
      return
    }
    pauseMs = 0
    waiting = waiting.slice(batch.length)
    for (const entry of batch) bytes -= entry.bytes
    if (outcome.type === 'refused') {
      count.failures++
      lost.refused += batch.length
      lastError = outcome.why
      return
    }
    lost.refused += outcome.refused ?? 0
    count.sent += batch.length - (outcome.refused ?? 0)
    lastSentAt = new Date(now()).toISOString()
  }

  return {
    add,
    connect(to) {
      send = to
      pauseMs = 0
      schedule()
    },
    disconnect(what) {
      send = null
      if (timer) clearTimeout(timer)
      timer = null
      if (what === 'keep') return
      if (what === 'lose') lost.dropped += waiting.length
      else count.accepted -= waiting.length
      waiting = []
      bytes = 0
    },
    async flush() {
      for (;;) {
        const before = waiting.length
        const outcome = await attempt()
        if (outcome === null || outcome.type === 'retry' || (before > 0 && waiting.length === 0)) return
      }
    },
    status: () => ({ ...count, waiting: waiting.length, lost: { ...lost }, lastError, lastSentAt }),
  }
}
