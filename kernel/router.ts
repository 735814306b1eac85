/**
 * The router: the only way a message travels. Pure: it reads tables and says what would happen; whoever asked carries it out.
 *
 *   decide   when a message is sent: may it travel at all? Asks `route` first, then the body, what it hands over, and the receiver's state
 *   route    does the sender hold a capability that allows it?
 *   check    right before it is handed over, so that a revocation catches messages that already wait
 *
 * | refusal         | decided by                                              |
 * | --------------- | ------------------------------------------------------- |
 * | `no-capability` | no such slot, here or among what is handed over         |
 * | `revoked`       | it, or one it was derived from, was taken back          |
 * | `attenuated`    | a limit does not allow this; the rule names it          |
 * | `expired`       | time or uses are over                                   |
 * | `quota`         | a budget is used up; the rule names it                  |
 * | `malformed`     | the body does not match the receiver's schema           |
 * | `actor-down`    | the receiver is not there, or keeps failing             |
 * | `overloaded`    | its mailbox is full                                     |
 *
 * `deadline` and `cancelled` come later, from time and from the requester (kernel.ts).
 */
import { type ActorId, type Capability, derivable, lookup, type Tables } from './capabilities.ts'
import { fault } from './errors.ts'
import { unpayable } from './metering.ts'
import type { Badge, Delegation, Fault, KindSchema, Limits, Protocol } from './types.ts'
import { invalid } from './validation.ts'

export type Delivered = { ok: true; cap: Capability; target: ActorId; badge: Badge }
export type Refused = { ok: false; error: Fault }

/**
 * Whether `sender` may send a message of `kind` on `slot` at `now` (epoch ms). `bytes`: size of the body, 0 when nothing counts it.
 * Refusals: `no-capability`, `revoked`, `attenuated`, `expired`, `quota`.
 */
export function route(tables: Tables, sender: ActorId, slot: number | string, kind: string, now: number, bytes = 0): Delivered | Refused {
  const cap = lookup(tables, sender, slot)
  const error = cap ? forbidden(tables, cap, kind, now, bytes) : unheld(sender, slot)
  if (!cap || error) return refused(error as Fault)
  return { ok: true, cap, target: cap.target, badge: badgeOf(sender, cap) }
}

const unheld = (sender: ActorId, slot: number | string): Fault =>
  fault('no-capability', `${sender} holds no capability ${JSON.stringify(slot)}.`, { rule: 'capability table' })

const badgeOf = (sender: ActorId, { limits }: Capability): Badge => ({ from: sender, session: limits.session ?? null, limits })

/** Why a capability that is held does not allow it now, or null. */
function forbidden(tables: Tables, cap: Capability, kind: string, now: number, bytes: number): Fault | null {
  return check(cap, kind, now) ?? (cap.metered ? unpayable(tables, cap, bytes, now) : null)
}

/** The part of `route` that can change while a message waits. What it costs was paid when it was sent and is not asked again. */
export function check(cap: Capability, kind: string, now: number): Fault | null {
  if (cap.revoked) return fault('revoked', `The grant "${cap.reason}" was revoked.`, { rule: cap.reason })
  const { kinds, expiresAt } = cap.limits
  if (kinds && !kinds.includes(kind))
    return fault('attenuated', `This capability to ${cap.target} does not allow "${kind}".`, {
      rule: `kinds: ${kinds.join(', ') || 'none'}`,
    })
  if (expiresAt !== undefined && now >= expiresAt)
    return fault('expired', `The grant "${cap.reason}" was limited in time.`, { rule: `expires ${new Date(expiresAt).toISOString()}` })
  return null
}

/** The receiver as the router sees it. */
export type Target = {
  protocol: Protocol
  waiting: number
  mailbox: number
  /** Why requests are not taken on, when it keeps failing. */
  failing: { cause: string; retryAfterMs: number } | null
}
export type Message = {
  from: ActorId
  slot: number | string
  kind: string
  body: unknown
  /** Whether an answer is expected: messages that expect none wait even for an actor that keeps failing. */
  request: boolean
  delegations: readonly Delegation[]
}
/** What is to be derived for the receiver, already narrowed. */
export type Handover = { parent: Capability; limits: Limits; reason: string }
export type Decision = (Delivered & { schema: KindSchema; handovers: readonly Handover[]; bytes: number }) | Refused

const nothing: readonly Handover[] = []

/**
 * Everything that can be known when a message is sent.
 * @param sizeOf bytes of a body on the wire; asked only when something counts them
 */
export function decide(
  tables: Tables,
  targetOf: (id: ActorId) => Target | null,
  sizeOf: (body: unknown) => number,
  message: Message,
  now: number,
): Decision {
  const { from, slot, kind, body, request, delegations } = message
  // As `route` does, without what it returns: this is where every message passes.
  const cap = lookup(tables, from, slot)
  if (!cap) return refused(unheld(from, slot))
  const no = forbidden(tables, cap, kind, now, 0)
  if (no) return refused(no)
  const target = targetOf(cap.target)
  if (!target) return refused(fault('actor-down', `${cap.target} is not running.`))
  const schema = Object.hasOwn(target.protocol, kind) ? target.protocol[kind] : undefined
  const problem = schema ? invalid(schema.body, body) : `${cap.target} knows no message "${kind}"`
  if (!schema || problem) return refused(fault('malformed', `"${kind}" to ${cap.target} is malformed.`, { cause: problem ?? '' }))
  // Measured only now that it is known to be plain: an encoder would follow a cycle for ever.
  const bytes = cap.metered ? sizeOf(body) : 0
  const unpaid = cap.metered ? unpayable(tables, cap, bytes, now) : null
  if (unpaid) return refused(unpaid)
  const handovers = delegations.length === 0 ? nothing : plan(tables, from, delegations)
  if (handovers !== nothing && 'code' in handovers) return refused(handovers)
  if (target.waiting >= target.mailbox) return refused(fault('overloaded', `${cap.target} has too many messages waiting.`))
  if (request && target.failing) return refused(fault('actor-down', `${cap.target} keeps failing.`, target.failing))
  return { ok: true, cap, target: cap.target, badge: badgeOf(from, cap), schema, handovers: handovers as readonly Handover[], bytes }
}

/** What a message hands over; all or nothing. Passing on derives always, so that revoking the giver's copy ends the taker's. */
export function plan(tables: Tables, from: ActorId, delegations: readonly Delegation[]): Handover[] | Fault {
  const handovers: Handover[] = []
  for (const { slot, limits = {}, reason } of delegations) {
    const parent = lookup(tables, from, slot)
    if (!parent) return fault('no-capability', `${from} cannot pass on ${JSON.stringify(slot)}, which it does not hold.`)
    const narrowed = derivable(parent, limits)
    if ('code' in narrowed) return narrowed
    handovers.push({ parent, limits: narrowed, reason: reason ?? parent.reason })
  }
  return handovers
}

function refused(error: Fault): Refused {
  return { ok: false, error }
}
