/**
 * The host's book of requests: those it sent (by `ref`) and the stream credit of those it is answering (by `request`).
 * Credit: a responder may have `partWindow` parts unread; the requester returns credit when a part was consumed.
 */
import { asFault } from './errors.ts'
import type { Out } from './frames.ts'
import { maxQueuedParts, partWindow } from './limits.ts'
import { noRequest } from './no-request.ts'
import type { Fault } from './types.ts'

type Event = { type: string; [key: string]: unknown }
type Waiter = {
  ok(reply: { body: unknown; caps: readonly number[] }): void
  failed(error: Fault): void
  part(body: unknown): Promise<void>
}
type Opened = { machineRef: string | null; waiter: Waiter; parts: Promise<void> }
/** What waits to leave, in order: parts need credit, the answer that ends it does not. */
type Answering = { credit: number; queue: { item: Out; sent: () => void }[] }

export function createLedger(emit: (item: Out) => void) {
  const opened = new Map<number, Opened>()
  const answering = new Map<number, Answering>()
  let nextRef = 1

  function open(machineRef: string | null, waiter: Waiter): number {
    const ref = nextRef++
    opened.set(ref, { machineRef, waiter, parts: Promise.resolve() })
    return ref
  }

  function close(ref: number): Opened | undefined {
    const entry = opened.get(ref)
    opened.delete(ref)
    return entry
  }

  function flush(request: number, entry: Answering, push: (item: Out) => void): void {
    for (let next = entry.queue[0]; next; next = entry.queue[0]) {
      if (next.item.t === 'part' && entry.credit-- <= 0) {
        entry.credit = 0
        return
      }
      entry.queue.shift()
      push(next.item)
      next.sent()
      if (next.item.t !== 'part') answering.delete(request)
    }
  }

  return {
    /** A request of the machine: its outcome becomes an event; `after` runs when the step that took a part is committed. */
    openForMachine(machineRef: string, kind: string, deliver: (event: Event, after: () => void) => void): number {
      const none = () => {}
      return open(machineRef, {
        ok: ({ body, caps }) => deliver({ type: 'replied', ref: machineRef, kind, body, caps }, none),
        failed: (error) => deliver({ type: 'refused', ref: machineRef, kind, error }, none),
        part: (body) => new Promise((resolve) => deliver({ type: 'part', ref: machineRef, kind, body }, resolve)),
      })
    },
    openForEffect: (waiter: Waiter): number => open(null, waiter),
    /** Open requests the machine gave this ref. */
    refsOf: (machineRef: string): number[] => [...opened].filter(([, entry]) => entry.machineRef === machineRef).map(([ref]) => ref),
    drop: (ref: number): boolean => close(ref) !== undefined,
    /** A reply is delivered after every part before it was consumed. */
    replied(ref: number, body: unknown, caps: readonly number[]): void {
      const entry = close(ref)
      if (entry) void entry.parts.then(() => entry.waiter.ok({ body, caps }))
    },
    refused(ref: number, error: Fault): void {
      const entry = close(ref)
      if (entry) void entry.parts.then(() => entry.waiter.failed(error))
    },
    part(ref: number, body: unknown): void {
      const entry = opened.get(ref)
      if (!entry) return
      entry.parts = entry.parts
        .then(() => entry.waiter.part(body))
        .then(() => {
          if (opened.has(ref)) emit({ t: 'credit', ref, n: 1 })
        })
        .catch((error: unknown) => {
          if (!close(ref)) return
          emit({ t: 'cancel', ref })
          entry.waiter.failed(asFault(error))
        })
    },
    accept(request: number): void {
      answering.set(request, { credit: partWindow, queue: [] })
    },
    /** The last word on a request; it leaves after the parts that still wait for credit. */
    answer(request: number, item: Extract<Out, { t: 'reply' | 'refuse' }>, out: Out[]): void {
      if (request === noRequest) return
      const entry = answering.get(request)
      if (!entry) return void out.push(item)
      entry.queue.push({ item, sent: () => {} })
      flush(request, entry, (ready) => out.push(ready))
    },
    /** The requester gave up: what waited for credit is dropped, and whoever waited goes on. */
    finish(request: number): void {
      const entry = answering.get(request)
      answering.delete(request)
      for (const { sent } of entry?.queue ?? []) sent()
    },
    credit(request: number, n: number): void {
      const entry = answering.get(request)
      if (!entry) return
      entry.credit += n
      flush(request, entry, emit)
    },
    /** For machines, which cannot wait. */
    queuePart(request: number, body: unknown, out: Out[]): 'ok' | 'overflow' {
      const entry = answering.get(request)
      if (!entry) return 'ok'
      if (entry.queue.length >= maxQueuedParts) return 'overflow'
      entry.queue.push({ item: { t: 'part', request, body }, sent: () => {} })
      flush(request, entry, (item) => out.push(item))
      return 'ok'
    },
    /** For effects: resolves when the part was sent, or at once when nobody wants it any more. */
    sendPart(request: number, body: unknown): Promise<void> {
      const entry = answering.get(request)
      if (!entry) return Promise.resolve()
      return new Promise((sent) => {
        entry.queue.push({ item: { t: 'part', request, body }, sent })
        flush(request, entry, emit)
      })
    },
  }
}
