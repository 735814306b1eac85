/**
 * Singletons that run only while there is something for them to do (`idleMs` of their manifest). They remember nothing between messages, so
 * it makes no difference to whom they serve in which of their lives a message arrives.
 */
import type { ActorId } from './capabilities.ts'
import type { Delivery } from './delivery.ts'
import type { createSupervisor, Live } from './lifecycle.ts'
import type { ActorEntry } from './placement.ts'

type Options = {
  supervisor: ReturnType<typeof createSupervisor>
  params(kind: string): Record<string, unknown>
  slots(id: ActorId): Record<string, number>
  /** Whether anyone waits for an answer of it. */
  asked(id: ActorId): boolean
}

export function createOnDemand({ supervisor, params, slots, asked }: Options) {
  let closed = false

  function of(entry: ActorEntry | null): ActorEntry | null {
    return !closed && entry?.manifest.cardinality === 'singleton' && entry.manifest.idleMs !== undefined ? entry : null
  }

  /** Looks once in `idleMs`: an actor that got nothing since the last look, and owes nothing, is stopped. */
  function watch(live: Live, idleMs: number, seen: number): void {
    const timer = setTimeout(() => {
      if (supervisor.actors.get(live.id) !== live) return
      const idle = live.nextDelivery === seen && live.receiver.length === 0 && live.outstanding.size === 0 && !asked(live.id)
      if (idle) void supervisor.stop(live.id)
      else watch(live, idleMs, live.nextDelivery)
    }, idleMs)
    timer.unref()
  }

  return {
    /** The entry, if it is of an actor that is started on demand, and may still be. */
    of,
    /** Starts it; messages wait in its mailbox while it loads. */
    wake(entry: ActorEntry): Live {
      const { kind, idleMs = 0 } = entry.manifest
      void supervisor.start(entry, kind, params(kind), () => slots(kind))
      const live = supervisor.actors.get(kind) as Live
      watch(live, idleMs, 0)
      return live
    },
    /** What it had not been given when it ended, for its next life. Nothing if it never ran: then another start would end the same way. */
    leftBy(live: Live): Delivery[] {
      const gone = supervisor.actors.get(live.id) !== live
      return gone && of(live.entry) && live.startedAt > 0 ? live.receiver.take(() => true) : []
    },
    /**
     * A request to it was given up. When nobody else waits it ends: what nobody wants any more may keep it busy for ever, and whoever comes
     * next is as well served by its next life.
     */
    givenUp(live: Live): void {
      if (of(live.entry) && !asked(live.id)) void supervisor.stop(live.id)
    },
    /** From now on nothing is started again. */
    close(): void {
      closed = true
    },
  }
}
