/**
 * The capability tables: who holds what, derived from what.
 *
 *   capability 7  -> target egress, limits {kinds:[fetch], hosts:[a.com]}, derived from 3
 *   c-list of conversation:s-1 :  slot 2 "egress" -> capability 7
 *
 * An actor only ever sees its own slots. Capability ids stay inside the kernel. `route` (router.ts) reads these tables and never
 * changes them; the functions here are the only writers.
 *
 * Revoking marks the whole tree below at once, so that "is it revoked" is one look. What is counted (uses, rate, quotas) is counted at a
 * capability and at each it was derived from: an account given away in parts is still one account.
 */
import { narrow, quotaNames } from './attenuation.ts'
import { fault } from './errors.ts'
import { maxSlots } from './limits.ts'
import type { Way } from './router.ts'
import type { Badge, Fault, Limits, Quota } from './types.ts'

export type ActorId = string

/** What is left of each budget; a budget without a limit is absent. */
export type Budget = { [K in keyof Quota]: number }
/** Token bucket of a rate: `tokens` as of `at` (epoch ms). */
export type Bucket = { tokens: number; at: number }

/** What is asked of it with every message comes first: it lies together. */
export type Capability = {
  revoked: boolean
  /** Whether it may allow something else the next time it is asked, without having been revoked: it is metered, or ends at a time. */
  changes: boolean
  /** Whether anything is counted at it or at one it was derived from. */
  metered: boolean
  id: number
  target: ActorId
  limits: Limits
  parent: number | null
  children: Set<number>
  /** Messages still allowed on it, null = no limit. Counted at this capability and at each it was derived from. */
  usesLeft: number | null
  budget: Budget | null
  bucket: Bucket | null
  /** Slots that lead to it. */
  held: number
  reason: string
  /** Actor that derived it, or 'manifest'. */
  by: ActorId
}

export type Slot = { cap: number; name: string | null }

/**
 * A slot as it was found: what it leads to, what its holder's messages are stamped with, and by message kind what the router found out
 * about it. All of it follows from the tables; it saves looking it up with every message.
 */
export class Held {
  /** The one that was asked for last: messages come in runs. */
  private lastKind: string | null = null
  private lastWay: Way | undefined = undefined
  readonly cap: Capability
  readonly badge: Badge
  private readonly ways = new Map<string, Way>()
  constructor(cap: Capability, holder: ActorId) {
    this.cap = cap
    this.badge = Object.freeze({ from: holder, session: cap.limits.session ?? null, limits: cap.limits })
  }

  wayOf(kind: string): Way | undefined {
    if (kind !== this.lastKind) {
      this.lastKind = kind
      this.lastWay = this.ways.get(kind)
    }
    return this.lastWay
  }

  keep(kind: string, way: Way): void {
    this.ways.set(kind, way)
    this.lastKind = kind
    this.lastWay = way
  }
}

/** Slots of one actor by number, with an index of the named ones. Written by `install` and `drop` only. */
export class CList extends Map<number, Slot> {
  readonly names = new Map<string, number>()
  /** Slots that were asked for, by number and by name, until they are dropped. */
  private readonly found = new Map<number | string, Held>()
  private lastName: string | null = null
  private lastFound: Held | undefined = undefined

  foundAs(slot: number | string): Held | undefined {
    if (typeof slot === 'number') return this.found.get(slot)
    if (slot !== this.lastName) {
      this.lastName = slot
      this.lastFound = this.found.get(slot)
    }
    return this.lastFound
  }

  keep(slot: number | string, held: Held): void {
    this.found.set(slot, held)
    this.lastName = null
  }

  forget(slot: number | string): void {
    this.found.delete(slot)
    this.lastName = null
  }
}

/** Tables by holder. */
export class CLists extends Map<ActorId, CList> {
  /** Counts tables that came or went: while it stays the same, whoever found its table has it still. */
  changed = 0

  override set(holder: ActorId, clist: CList): this {
    this.changed++
    return super.set(holder, clist)
  }

  override delete(holder: ActorId): boolean {
    this.changed++
    return super.delete(holder)
  }
}

/** Someone who sends again and again, and remembers where its table is. */
export class Holder {
  readonly id: ActorId
  private clist: CList | undefined = undefined
  private asOf = -1
  private readonly tables: Tables

  constructor(tables: Tables, id: ActorId) {
    this.id = id
    this.tables = tables
  }

  /** What it has in a slot, by number or by name. */
  find(slot: number | string): Held | null {
    const { tables } = this
    if (this.asOf !== tables.clists.changed) {
      this.clist = tables.clists.get(this.id)
      this.asOf = tables.clists.changed
    }
    return this.clist === undefined ? null : (this.clist.foundAs(slot) ?? look(tables, this.clist, this.id, slot))
  }
}

export type Tables = {
  caps: Map<number, Capability>
  clists: CLists
  /** Live capabilities by target. */
  leading: Map<ActorId, Set<number>>
  nextCap: number
  nextSlot: number
}

export function createTables(): Tables {
  return { caps: new Map(), clists: new CLists(), leading: new Map(), nextCap: 1, nextSlot: 1 }
}

/** A capability with no parent: only the kernel calls this, from manifests and for newly spawned instances. */
export function mint(tables: Tables, target: ActorId, limits: Limits, reason: string): Capability {
  return add(tables, target, limits, null, reason, 'manifest')
}

/** A narrower copy. The result can never allow what `parent` does not. Refuses when the parent is revoked or the limits contradict. */
export function derive(tables: Tables, parent: Capability, limits: Limits, reason: string, by: ActorId): Capability | Fault {
  const narrowed = derivable(parent, limits)
  return 'code' in narrowed ? narrowed : add(tables, parent.target, narrowed, parent, reason, by)
}

/** The limits `derive` would give, without deriving. */
export function derivable(parent: Capability, limits: Limits): Limits | Fault {
  if (parent.revoked) return fault('revoked', 'A revoked capability cannot be passed on.')
  return narrow(parent.limits, limits)
}

function add(tables: Tables, target: ActorId, limits: Limits, parent: Capability | null, reason: string, by: ActorId): Capability {
  const { uses, rate, quota } = limits
  const metered = uses !== undefined || quota !== undefined || rate !== undefined || parent?.metered === true
  const cap: Capability = {
    revoked: false,
    changes: metered || limits.expiresAt !== undefined,
    metered,
    id: tables.nextCap++,
    target,
    limits,
    parent: parent?.id ?? null,
    children: new Set(),
    usesLeft: uses ?? null,
    budget: quota && quotaNames.some((name) => quota[name] !== undefined) ? { ...quota } : null,
    bucket: rate ? { tokens: rate.messages, at: 0 } : null,
    held: 0,
    reason,
    by,
  }
  tables.caps.set(cap.id, cap)
  parent?.children.add(cap.id)
  const others = tables.leading.get(target)
  if (others) others.add(cap.id)
  else tables.leading.set(target, new Set([cap.id]))
  return cap
}

/** Puts a capability into an actor's table. A name already in use moves to the new slot, so that re-granting replaces. */
export function install(tables: Tables, holder: ActorId, cap: Capability, name: string | null): number {
  let clist = tables.clists.get(holder)
  if (!clist) {
    clist = new CList()
    tables.clists.set(holder, clist)
  }
  const replaced = name === null ? undefined : clist.names.get(name)
  if (replaced !== undefined) drop(tables, clist, replaced)
  if (clist.size >= maxSlots) prune(tables, clist)
  const slot = tables.nextSlot++
  // Revoked while its message waited: kept after all, so that using it says `revoked`.
  if (!tables.caps.has(cap.id)) tables.caps.set(cap.id, cap)
  cap.held++
  clist.set(slot, { cap: cap.id, name })
  if (name !== null) clist.names.set(name, slot)
  return slot
}

function drop(tables: Tables, clist: CList, slot: number): void {
  const held = clist.get(slot)
  if (!held) return
  clist.delete(slot)
  clist.forget(slot)
  if (held.name !== null && clist.names.get(held.name) === slot) {
    clist.names.delete(held.name)
    clist.forget(held.name)
  }
  const cap = tables.caps.get(held.cap)
  if (!cap) return
  cap.held--
  collect(tables, cap)
}

/** Forgets slots whose capability is revoked or used up. Until then they answer with the reason; afterwards with `no-capability`. */
function prune(tables: Tables, clist: CList): void {
  for (const [slot, held] of clist) {
    const cap = tables.caps.get(held.cap)
    if (cap?.usesLeft === 0) revoke(tables, cap)
    if (!cap || cap.revoked) drop(tables, clist, slot)
  }
}

export function lookup(tables: Tables, holder: ActorId, slot: number | string): Capability | null {
  return find(tables, holder, slot)?.cap ?? null
}

/** What `holder` has in a slot, by number or by name. A slot keeps its capability in the tables, so that what was found once stays true until it is dropped. */
export function find(tables: Tables, holder: ActorId, slot: number | string): Held | null {
  const clist = tables.clists.get(holder)
  return clist === undefined ? null : (clist.foundAs(slot) ?? look(tables, clist, holder, slot))
}

function look(tables: Tables, clist: CList, holder: ActorId, slot: number | string): Held | null {
  const number = typeof slot === 'number' ? slot : clist.names.get(slot)
  const cap = number === undefined ? undefined : tables.caps.get(clist.get(number)?.cap ?? -1)
  if (!cap) return null
  const made = new Held(cap, holder)
  clist.keep(slot, made)
  return made
}

/** Revokes a capability and all derived from it; returns how many died. Effective at once: delivery asks again. */
export function revoke(tables: Tables, cap: Capability): number {
  let count = 0
  const dead: Capability[] = [cap]
  // Grows while it is walked: parents come before their children.
  for (const next of dead) {
    if (!next.revoked) count++
    next.revoked = true
    for (const id of next.children) {
      const child = tables.caps.get(id)
      if (child) dead.push(child)
    }
  }
  for (const next of dead.toReversed()) collect(tables, next)
  return count
}

/** Ends what was derived for a message that went nowhere. */
export function discard(tables: Tables, caps: readonly Capability[]): void {
  for (const cap of caps) if (cap.held === 0) revoke(tables, cap)
}

/** Forgets an actor that is gone for good: its table, and everything that led to it. */
export function removeActor(tables: Tables, actor: ActorId): void {
  const clist = tables.clists.get(actor)
  for (const slot of clist?.keys() ?? []) drop(tables, clist as CList, slot)
  tables.clists.delete(actor)
  for (const id of tables.leading.get(actor) ?? []) {
    const cap = tables.caps.get(id)
    if (cap) cap.revoked = true
  }
  for (const id of [...(tables.leading.get(actor) ?? [])].toReversed()) {
    const cap = tables.caps.get(id)
    if (cap) collect(tables, cap)
  }
}

/** Drops a revoked capability that nobody holds and nothing derives from, and then its parent. A slot that still leads to one keeps it, to answer `revoked`. */
function collect(tables: Tables, cap: Capability): void {
  for (let at: Capability | undefined = cap; at?.revoked && at.held === 0 && at.children.size === 0; ) {
    tables.caps.delete(at.id)
    const others = tables.leading.get(at.target)
    others?.delete(at.id)
    if (others?.size === 0) tables.leading.delete(at.target)
    const parent: Capability | undefined = at.parent === null ? undefined : tables.caps.get(at.parent)
    parent?.children.delete(at.id)
    at = parent
  }
}

/** The capability and each it was derived from, innermost first. */
export function* lineage(tables: Tables, cap: Capability): Generator<Capability> {
  for (let at: Capability | undefined = cap; at; at = at.parent === null ? undefined : tables.caps.get(at.parent)) yield at
}
