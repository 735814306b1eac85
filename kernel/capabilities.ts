/**
 * The capability tables: who holds what, derived from what.
 *
 *   capability 7  -> target egress, limits {kinds:[fetch], hosts:[a.com]}, derived from 3
 *   c-list of conversation:s-1 :  slot 2 "egress" -> capability 7
 *
 * An actor only ever sees its own slots. Capability ids stay inside the kernel. `route` (router.ts) reads these tables and never
 * changes them; the functions here are the only writers.
 */
import { fault } from './errors.ts'
import { maxSlots } from './limits.ts'
import type { Fault, Limits } from './types.ts'

export type ActorId = string

export type Capability = {
  id: number
  target: ActorId
  limits: Limits
  parent: number | null
  children: Set<number>
  revoked: boolean
  /** Messages still allowed on it, null = no limit. Counted at this capability and at each it was derived from. */
  usesLeft: number | null
  reason: string
  /** Actor that derived it, or 'manifest'. */
  by: ActorId
}

export type Slot = { cap: number; name: string | null }

export type Tables = {
  caps: Map<number, Capability>
  clists: Map<ActorId, Map<number, Slot>>
  nextCap: number
  nextSlot: number
}

export function createTables(): Tables {
  return { caps: new Map(), clists: new Map(), nextCap: 1, nextSlot: 1 }
}

/** A capability with no parent: only the kernel calls this, from manifests and for newly spawned instances. */
export function mint(tables: Tables, target: ActorId, limits: Limits, reason: string): Capability {
  return add(tables, target, limits, null, reason, 'manifest')
}

/** A narrower copy. The result can never allow what `parent` does not. Refuses when the parent is revoked or the limits contradict. */
export function derive(tables: Tables, parent: Capability, limits: Limits, reason: string, by: ActorId): Capability | Fault {
  if (isRevoked(tables, parent)) return fault('revoked', 'A revoked capability cannot be passed on.')
  const narrowed = narrow(parent.limits, limits)
  if ('code' in narrowed) return narrowed
  const child = add(tables, parent.target, narrowed, parent.id, reason, by)
  parent.children.add(child.id)
  return child
}

function add(tables: Tables, target: ActorId, limits: Limits, parent: number | null, reason: string, by: ActorId): Capability {
  const id = tables.nextCap++
  const cap: Capability = { id, target, limits, parent, children: new Set(), revoked: false, usesLeft: limits.uses ?? null, reason, by }
  tables.caps.set(id, cap)
  return cap
}

/** Puts a capability into an actor's table. A name already in use moves to the new slot, so that re-granting replaces. */
export function install(tables: Tables, holder: ActorId, cap: Capability, name: string | null): number {
  const clist = tables.clists.get(holder) ?? new Map<number, Slot>()
  tables.clists.set(holder, clist)
  if (name !== null) for (const [slot, held] of clist) if (held.name === name) clist.delete(slot)
  if (clist.size >= maxSlots) prune(tables, clist)
  const slot = tables.nextSlot++
  clist.set(slot, { cap: cap.id, name })
  return slot
}

/** Forgets slots whose capability is revoked or used up. Until then they answer with the reason; afterwards with `no-capability`. */
function prune(tables: Tables, clist: Map<number, Slot>): void {
  for (const [slot, held] of clist) {
    const cap = tables.caps.get(held.cap)
    if (!cap || cap.usesLeft === 0 || isRevoked(tables, cap)) clist.delete(slot)
    if (cap?.usesLeft === 0) revoke(tables, cap)
  }
  collect(tables)
}

export function lookup(tables: Tables, holder: ActorId, slot: number | string): Capability | null {
  const clist = tables.clists.get(holder)
  if (!clist) return null
  if (typeof slot === 'number') {
    const held = clist.get(slot)
    return held ? (tables.caps.get(held.cap) ?? null) : null
  }
  for (const held of clist.values()) if (held.name === slot) return tables.caps.get(held.cap) ?? null
  return null
}

/** Revokes a capability and all derived from it; returns how many died. Effective at once: delivery asks again. */
export function revoke(tables: Tables, cap: Capability): number {
  let count = 0
  const pending = [cap]
  for (let next = pending.pop(); next; next = pending.pop()) {
    if (!next.revoked) count++
    next.revoked = true
    for (const id of next.children) {
      const child = tables.caps.get(id)
      if (child) pending.push(child)
    }
  }
  return count
}

export function isRevoked(tables: Tables, cap: Capability): boolean {
  for (let at: Capability | undefined = cap; at; at = at.parent === null ? undefined : tables.caps.get(at.parent))
    if (at.revoked) return true
  return false
}

/** Forgets an actor that is gone for good: its table, and everything that led to it. */
export function removeActor(tables: Tables, actor: ActorId): void {
  tables.clists.delete(actor)
  for (const cap of tables.caps.values()) if (cap.target === actor) cap.revoked = true
  collect(tables)
}

/** Drops revoked capabilities that nobody holds and nothing live derives from. Slots that still hold one keep it, to answer `revoked`. */
function collect(tables: Tables): void {
  const held = new Set<number>()
  for (const clist of tables.clists.values()) for (const { cap } of clist.values()) held.add(cap)
  for (const cap of [...tables.caps.values()].toReversed()) {
    if (!cap.revoked || held.has(cap.id) || cap.children.size > 0) continue
    tables.caps.delete(cap.id)
    if (cap.parent !== null) tables.caps.get(cap.parent)?.children.delete(cap.id)
  }
}

/** Intersection of two limits. A `Fault` when they contradict (another session, a path outside). */
export function narrow(parent: Limits, child: Limits): Limits | Fault {
  const merged: { -readonly [K in keyof Limits]: Limits[K] } = {}
  for (const key of ['kinds', 'hosts', 'tools'] as const) {
    const list = both(parent[key], child[key], (a, b) => b.filter((item) => a.includes(item)))
    if (list) merged[key] = list
  }
  for (const key of ['expiresAt', 'uses'] as const) {
    const least = both(parent[key], child[key], Math.min)
    if (least !== undefined) merged[key] = least
  }
  const mode = both(parent.mode, child.mode, (a, b) => (a === 'ro' ? a : b))
  if (mode) merged.mode = mode
  if (parent.session !== undefined && child.session !== undefined && parent.session !== child.session)
    return fault('attenuated', 'A capability of one session cannot be passed to another.', { rule: `session ${parent.session}` })
  const session = parent.session ?? child.session
  if (session !== undefined) merged.session = session
  const path = both(parent.path, child.path, (a, b) => (isInside(b, a) ? b : null))
  if (path === null) return fault('attenuated', 'The path is outside the one the capability allows.', { rule: `path ${parent.path}` })
  if (path !== undefined) merged.path = path
  return merged
}

function both<T, R>(a: T | undefined, b: T | undefined, combine: (a: T, b: T) => R): T | R | undefined {
  if (a === undefined) return b
  return b === undefined ? a : combine(a, b)
}

/** Whether relative path `path` is `folder` or lies below it; '' is the whole root. Neither may contain `..`. */
export function isInside(path: string, folder: string): boolean {
  if (path.split('/').includes('..')) return false
  return folder === '' || path === folder || path.startsWith(`${folder}/`)
}
