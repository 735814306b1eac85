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
import { type ActorId, type Capability, derivable, find, type Held, type Holder, lookup, type Tables } from './capabilities.ts'
import { fault } from './errors.ts'
import { unpayable } from './metering.ts'
import type { Badge, Delegation, Fault, From, KindSchema, Limits, Protocol } from './types.ts'
import { invalid } from './validation.ts'

export type Delivered = { ok: true; cap: Capability; target: ActorId; badge: Badge }
export type Refused = { ok: false; error: Fault }

/**
 * Whether `sender` may send a message of `kind` on `slot` at `now` (epoch ms). `bytes`: size of the body, 0 when nothing counts it.
 * Refusals: `no-capability`, `revoked`, `attenuated`, `expired`, `quota`.
 */
export function route(tables: Tables, sender: ActorId, slot: number | string, kind: string, now: number, bytes = 0): Delivered | Refused {
  const held = find(tables, sender, slot)
  if (!held) return refused(unheld(sender, slot))
  const { cap, badge } = held
  const error = forbidden(tables, cap, kind, now, bytes)
  return error ? refused(error) : { ok: true, cap, target: cap.target, badge }
}

const unheld = (sender: ActorId, slot: number | string): Fault =>
  fault('no-capability', `${sender} holds no capability ${JSON.stringify(slot)}.`, { rule: 'capability table' })

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
  /** How many messages wait for it. */
  readonly length: number
  /** How many may. */
  mailbox: number
  /** Why requests are not taken on, when it keeps failing. */
  failing: { cause: string; retryAfterMs: number } | null
  /** It is not there any more, and this will never say anything else. */
  gone: boolean
}
/** What a decision rests on. */
export type World<To extends Target = Target> = {
  tables: Tables
  targetOf(id: ActorId): To | null
  /** Bytes of a body on the wire; asked only when something counts them. */
  sizeOf(body: unknown): number
  /** Epoch ms; asked only when something depends on it. */
  clock(): number
}
/** What is to be derived for the receiver, already narrowed. */
export type Handover = { parent: Capability; limits: Limits; reason: string }
/**
 * How messages of one kind get from a slot to their receiver, found out once: the kind is allowed and known. Whether it may be used is
 * asked each time.
 */
export type Way<To extends Target = Target> = {
  ok: true
  cap: Capability
  target: To
  schema: KindSchema
  /** What a message says of itself that expects no answer and hands nothing over. */
  plain: From
  badge: Badge
  handovers: readonly Handover[]
  /** Of the body, when something counts them. */
  bytes: number
}
export type Decision<To extends Target = Target> = Way<To> | Refused

const nothing: readonly Handover[] = Object.freeze([])
const noSlots: readonly number[] = Object.freeze([])

/**
 * Everything that can be known when a message is sent.
 * @param request whether an answer is expected: messages that expect none wait even for an actor that keeps failing
 */
export function decide<To extends Target>(
  world: World<To>,
  from: Holder,
  slot: number | string,
  kind: string,
  body: unknown,
  request: boolean,
  delegations: readonly Delegation[],
): Decision<To> {
  const held = from.find(slot)
  if (held === null) return refused(unheld(from.id, slot))
  const known = held.wayOf(kind) as Way<To> | undefined
  if (known === undefined || known.cap.revoked || known.cap.changes || known.target.gone || delegations.length > 0)
    return decideAnew(world, held, kind, body, request, delegations)
  const { target, schema } = known
  if (target.length >= target.mailbox || request || invalid(schema.body, body) !== null) return decideSlowly(known, kind, body, request)
  return known
}

function decideSlowly<To extends Target>(known: Way<To>, kind: string, body: unknown, request: boolean): Decision<To> {
  return unfit(known, kind, body) ?? crowded(known, request) ?? known
}

/** With every question asked: what was found out before does not settle them, or something travels with the message. */
function decideAnew<To extends Target>(
  world: World<To>,
  held: Held,
  kind: string,
  body: unknown,
  request: boolean,
  delegations: readonly Delegation[],
): Decision<To> {
  const { tables } = world
  const { cap, badge } = held
  const no = forbidden(tables, cap, kind, cap.changes ? world.clock() : 0, 0)
  if (no) return refused(no)
  const way = findWay(held, world, kind)
  if (!way.ok) return way
  const misfit = unfit(way, kind, body)
  if (misfit) return misfit
  // Measured only now that it is known to be plain: an encoder would follow a cycle for ever.
  const bytes = cap.metered ? world.sizeOf(body) : 0
  const unpaid = cap.metered ? unpayable(tables, cap, bytes, world.clock()) : null
  if (unpaid) return refused(unpaid)
  const handovers = delegations.length === 0 ? nothing : plan(tables, badge.from, delegations)
  if ('code' in handovers) return refused(handovers)
  return crowded(way, request) ?? { ...way, handovers, bytes }
}

function unfit({ cap, schema }: Way, kind: string, body: unknown): Refused | null {
  const problem = invalid(schema.body, body)
  return problem === null ? null : refused(malformed(cap, kind, problem))
}

function crowded(way: Way, request: boolean): Refused | null {
  const { target } = way
  if (target.length >= target.mailbox) return full(way)
  return request && target.failing !== null ? failing(way) : null
}

// Apart, like other refusals of every message's path: what is short is compiled into its callers.
const full = ({ cap }: Way): Refused => refused(fault('overloaded', `${cap.target} has too many messages waiting.`))
const failing = ({ cap, target }: Way): Refused => refused(fault('actor-down', `${cap.target} keeps failing.`, target.failing ?? {}))

function findWay<To extends Target>(held: Held, world: World<To>, kind: string): Decision<To> {
  const known = held.wayOf(kind) as Way<To> | undefined
  if (known !== undefined && !known.target.gone) return known
  const { cap, badge } = held
  const target = world.targetOf(cap.target)
  if (!target) return refused(fault('actor-down', `${cap.target} is not running.`))
  const schema = Object.hasOwn(target.protocol, kind) ? target.protocol[kind] : undefined
  if (!schema) return refused(malformed(cap, kind, `${cap.target} knows no message "${kind}"`))
  const plain: From = { request: null, badge, caps: noSlots }
  const way: Way<To> = { ok: true, cap, target, schema, plain, badge, handovers: nothing, bytes: 0 }
  // Kinds come from senders; those kept are of the receiver's protocol, which has few.
  held.keep(kind, way)
  return way
}

const malformed = (cap: Capability, kind: string, cause: string): Fault =>
  fault('malformed', `"${kind}" to ${cap.target} is malformed.`, { cause })

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
