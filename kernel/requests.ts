/**
 * Requests that wait for their answer. Exactly one reaches the requester: whoever closes the entry answers, and nobody can close it twice.
 * The time a request may take is the kind's, the requester's, or what the grant's budget still pays for, whichever ends first.
 */
import type { ActorId, Capability, Tables } from './capabilities.ts'
import type { Answer } from './endpoint.ts'
import { fault } from './errors.ts'
import { defaultDeadlineMs, partWindow } from './limits.ts'
import { charge, remaining } from './metering.ts'
import type { Fault } from './types.ts'

export type Request = {
  id: number
  from: ActorId
  to: ActorId
  kind: string
  cap: Capability
  credit: number
  timer: NodeJS.Timeout | null
  answer: Answer
  part(body: unknown): void
  openedAt: number
  /** Processes its receiver says it holds. */
  processes: number
}
export type Opening = Pick<Request, 'from' | 'to' | 'kind' | 'cap' | 'answer'> & {
  part: Request['part'] | undefined
  /** Undefined: the default; null: none. */
  deadlineMs: number | null | undefined
}
export type Requests = ReturnType<typeof createRequests>

/** Calls back when the time of a request is over. */
export type Timer = (over: () => void, ms: number, request: number) => NodeJS.Timeout | null

/** @param late told that a request's time is over; it is still open then */
export function createRequests(tables: Tables, late: (id: number, error: Fault) => void, after: Timer = setTimeout) {
  const open = new Map<number, Request>()
  let next = 1

  function overdue({ to, kind, cap }: Opening, paid: number | null, wanted: number | null): Fault {
    if (paid === null || (wanted !== null && paid >= wanted))
      return fault('deadline', `${to} did not answer "${kind}" within ${wanted} ms.`)
    return fault('quota', `"${kind}" to ${to} used up the time of the grant "${cap.reason}".`, { rule: `quota ms ${cap.limits.quota?.ms}` })
  }

  return {
    open(opening: Opening): number {
      const { from, to, kind, cap, answer, part = noPart, deadlineMs } = opening
      const id = next++
      const wanted = deadlineMs === undefined ? defaultDeadlineMs : deadlineMs
      const paid = remaining(tables, cap, 'ms')
      const ms = paid === null ? wanted : Math.min(paid, wanted ?? paid)
      const timer = ms === null ? null : after(() => late(id, overdue(opening, paid, wanted)), ms, id)
      open.set(id, { id, from, to, kind, cap, credit: partWindow, timer, answer, part, openedAt: Date.now(), processes: 0 })
      return id
    },
    /** Null when it was closed before, so that a second answer finds nothing. */
    close(id: number): Request | null {
      const request = open.get(id)
      if (!request) return null
      open.delete(id)
      if (request.timer) clearTimeout(request.timer)
      if (request.cap.metered) {
        charge(tables, request.cap, 'ms', Date.now() - request.openedAt)
        charge(tables, request.cap, 'processes', -request.processes)
      }
      return request
    },
    get: (id: number): Request | undefined => open.get(id),
    /** Those open now; may be closed while they are walked. */
    all: (): Iterable<Request> => open.values(),
  }
}

function noPart(): void {}
