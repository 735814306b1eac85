/** What an actor's committed step asks for, carried out one by one. Whatever it names that is not its own is refused and counted. */
import { type ActorId, type Capability, type Holder, install, revoke, type Tables } from './capabilities.ts'
import type { DeadLetters } from './dead-letters.ts'
import type { SendOptions } from './endpoint.ts'
import { fault } from './errors.ts'
import type { Out } from './frames.ts'
import type { Live } from './lifecycle.ts'
import { charge } from './metering.ts'
import type { Request, Requests } from './requests.ts'
import { check, type Handover, plan } from './router.ts'
import type { Delegation, Fault, Protocol } from './types.ts'
import { invalid } from './validation.ts'
import { findImproper, sizeOf, unsendable } from './wire.ts'

type Wires = {
  tables: Tables
  requests: Requests
  deadLetters: DeadLetters
  send(from: Holder, slot: number | string, kind: string, body: unknown, more: SendOptions): number | null
  handOver(from: ActorId, handovers: readonly Handover[]): Capability[]
  /** Answers in the receiver's stead, and tells it. */
  giveUp(request: number, error: Fault): void
  returnCredit(request: number, n: number): void
  protocolOf(id: ActorId): Protocol | null
  log(level: string, source: string, message: string, data?: Record<string, unknown>): void
}

export function createOutgoing(wires: Wires) {
  const { tables, requests, deadLetters, send, handOver, giveUp, returnCredit, protocolOf, log } = wires

  function perform(live: Live, out: Out): void {
    const self = live.id
    switch (out.t) {
      case 'send':
        return sendFor(live, out)
      case 'reply': {
        const request = ownRequest(self, out.request, 'reply')
        if (!request) return
        const handovers = replyProblem(self, request, out.body) ?? plan(tables, self, (out.caps ?? []) as Delegation[])
        requests
          .close(out.request)
          ?.answer('code' in handovers ? { error: handovers } : { body: out.body, caps: handOver(self, handovers) })
        return
      }
      case 'refuse':
        if (ownRequest(self, out.request, 'refuse')) requests.close(out.request)?.answer({ error: out.error as Fault })
        return
      case 'part': {
        const request = ownRequest(self, out.request, 'part')
        if (!request) return
        const problem = partProblem(self, request, out.body)
        if (problem) giveUp(out.request, problem)
        else request.part(out.body)
        return
      }
      case 'charge': {
        const request = ownRequest(self, out.request, 'charge')
        if (!request) return
        // Only what this request took can come back.
        const amount = out.quota === 'processes' ? Math.max(out.amount, -request.processes) : Math.max(out.amount, 0)
        if (out.quota === 'processes') request.processes += amount
        charge(tables, request.cap, out.quota, amount)
        return
      }
      case 'cancel': {
        const id = live.refs.get(out.ref)
        if (id !== undefined) giveUp(id, fault('cancelled', 'The requester cancelled.'))
        return
      }
      case 'credit':
        return returnCredit(live.refs.get(out.ref) ?? -1, out.n)
      case 'log':
        return log(out.level, self, out.message, out.data)
      default:
        out satisfies never
    }
  }

  function sendFor(live: Live, { ref, slot, kind, body, caps, trace, deadlineMs }: Extract<Out, { t: 'send' }>): void {
    const self = live.id
    const { holder } = live
    const delegations = (caps ?? []) as Delegation[]
    if (ref === undefined) {
      send(holder, slot, kind, body, { delegations, trace })
      return
    }
    const { incarnation } = live
    const current = () => (live.incarnation === incarnation ? live.port : null)
    let id: number | null = null
    /** Of a part that came while the request was being sent: targets in this process may answer at once. */
    let unsent: Fault | null = null
    id = send(holder, slot, kind, body, {
      delegations,
      trace,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
      part(part) {
        const error = unsendable(() => current()?.send({ t: 'part', ref, body: part }))
        if (error && id !== null) giveUp(id, error)
        else unsent ??= error
      },
      answer: (result) => {
        live.refs.delete(ref)
        const port = current()
        if ('error' in result) port?.send({ t: 'refuse', ref, error: result.error })
        else {
          const slots = result.caps.map((cap) => install(tables, self, cap, null))
          const error = unsendable(() => port?.send({ t: 'reply', ref, body: result.body, caps: slots }))
          if (!error) return
          for (const cap of result.caps) revoke(tables, cap)
          port?.send({ t: 'refuse', ref, error })
        }
      },
    })
    if (id === null || !requests.get(id)) return
    live.refs.set(ref, id)
    if (unsent) giveUp(id, unsent)
  }

  function replyProblem(self: ActorId, request: Request, body: unknown): Fault | null {
    const reply = protocolOf(self)?.[request.kind]?.reply
    const problem = reply ? invalid(reply, body) : findImproper(body)
    if (problem) return fault('internal', `${self} sent a malformed reply to "${request.kind}".`, { cause: problem })
    return payFor(request, body)
  }

  function partProblem(self: ActorId, request: Request, body: unknown): Fault | null {
    const refused = check(request.cap, request.kind, Date.now()) ?? payFor(request, body)
    if (refused) return refused
    const part = protocolOf(self)?.[request.kind]?.part
    const problem = request.credit-- <= 0 ? 'more parts than credit' : part ? invalid(part, body) : 'this kind has no parts'
    return problem ? fault('internal', `${self} sent a malformed part of "${request.kind}".`, { cause: problem }) : null
  }

  /** What a part or reply costs, when bytes are counted. The refusal when it is more than is left. */
  function payFor(request: Request, body: unknown): Fault | null {
    if (!request.cap.metered || findImproper(body)) return null
    return charge(tables, request.cap, 'bytes', sizeOf(body))
  }

  /** The open request if `self` is the one who must answer it. A late answer is normal; another's request id is not, and is counted. */
  function ownRequest(self: ActorId, id: number, kind: string): Request | null {
    const request = requests.get(id)
    if (request && request.to === self) return request
    if (request)
      deadLetters.add({
        from: self,
        slot: `request ${id}`,
        kind,
        error: fault('no-capability', `${self} answered a request that is not its own.`),
      })
    return null
  }

  return perform
}
