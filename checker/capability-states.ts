/**
 * The kernel's capability tables as a component. Its values are what the production functions make of an empty table: each value remembers
 * the calls that led to it and is rebuilt from them, so that nothing here knows how the tables are kept. Decisions are production `route`
 * and `check`.
 */
import { type Capability, createTables, derive, install, lookup, mint, revoke, type Tables } from '../kernel/capabilities.ts'
import { pay } from '../kernel/metering.ts'
import { check, route } from '../kernel/router.ts'
import type { Badge, Delegation, Fault, Limits } from '../kernel/types.ts'
import { canonical, Interner } from './product.ts'

export type Wire = { holder: string; slot: string; target: string; limits: Limits; reason: string }

type Call =
  | { do: 'grant'; wire: Wire }
  | { do: 'derive'; from: string; slot: number | string; limits: Limits; reason: string }
  | { do: 'install'; holder: string; cap: number; name?: string }
  | { do: 'use'; cap: number }
  | { do: 'revoke'; holder: string; slot: string }
  | { do: 'mint'; target: string; limits: Limits; reason: string }
  | { do: 'derive again'; cap: number; by: string }
  | { do: 'revoke grant'; cap: number }

type Value = { calls: readonly Call[]; shown: unknown }

export type Routed =
  | { ok: true; target: string; cap: number; badge: Badge; state: number; caps: readonly number[] }
  | { ok: false; error: Fault }

/** What the kernel is asked as an actor (kernel/control.ts), and what it does about it at once. */
export type Controlled = { state: number; body: unknown; caps: readonly number[] }

export type CapabilityStates = ReturnType<typeof createCapabilityStates>

export function createCapabilityStates(wires: readonly Wire[]) {
  const values = new Interner<Value>()
  const firstCap = createTables().nextCap

  function rebuild(calls: readonly Call[]): Tables {
    const tables = createTables()
    for (const call of calls) perform(tables, call)
    return tables
  }

  /** For questions only: nobody may change what it returns. */
  const built = new Map<number, Tables>()
  function tablesOf(state: number): Tables {
    const known = built.get(state)
    if (known) return known
    const tables = rebuild(values.get(state).calls)
    built.set(state, tables)
    return tables
  }
  const rechecked = new Map<string, Fault | null>()

  function keep(calls: readonly Call[], tables: Tables): number {
    const shown = plain(tables)
    return values.add(canonical(shown), () => ({ calls, shown }))
  }

  const initial = ((): number => {
    const calls = wires.map((wire): Call => ({ do: 'grant', wire }))
    return keep(calls, rebuild(calls))
  })()

  function after(state: number, more: readonly Call[]): { state: number; tables: Tables; results: unknown[] } {
    const calls = [...values.get(state).calls, ...more]
    const tables = rebuild(values.get(state).calls)
    const results = more.map((call) => perform(tables, call))
    return { state: keep(calls, tables), tables, results }
  }

  return {
    initial,
    size: () => values.size,
    value: (id: number) => values.get(id).shown,
    /** The grant from the start that a capability is, or null when it was derived later. */
    wireOf: (cap: number): Wire | null => wires[cap - firstCap] ?? null,
    capOf: (holder: string, slot: string): number => firstCap + wires.findIndex((wire) => wire.holder === holder && wire.slot === slot),
    /** A message on its way: routed, its use taken, what it hands over derived. */
    send(state: number, sender: string, slot: number | string, kind: string, delegations: readonly Delegation[]): Routed {
      const tables = tablesOf(state)
      const routed = route(tables, sender, slot, kind, 0)
      if (!routed.ok) return routed
      const { cap, target, badge } = routed
      const counted = cap.metered
      const handed = delegations.length === 0 ? [] : derivations(rebuild(values.get(state).calls), sender, delegations)
      if ('code' in handed) return { ok: false, error: handed }
      const calls: Call[] = [...handed, ...(counted ? [{ do: 'use' as const, cap: cap.id }] : [])]
      if (calls.length === 0) return { ok: true, target, cap: cap.id, badge, state, caps: [] }
      const done = after(state, calls)
      return { ok: true, target, cap: cap.id, badge, state: done.state, caps: done.results.slice(0, handed.length) as number[] }
    },
    /** What travels with a reply. */
    hand(state: number, sender: string, delegations: readonly Delegation[]): { state: number; caps: readonly number[] } | Fault {
      if (delegations.length === 0) return { state, caps: [] }
      const handed = derivations(rebuild(values.get(state).calls), sender, delegations)
      if ('code' in handed) return handed
      const done = after(state, handed)
      return { state: done.state, caps: done.results as number[] }
    },
    /** Right before a message is handed over: why it may not be any more. */
    recheck(state: number, cap: number, kind: string): Fault | null {
      const key = `${state}/${cap}/${kind}`
      const known = rechecked.get(key)
      if (known !== undefined) return known
      const tables = tablesOf(state)
      const held = tables.caps.get(cap)
      const refused = held ? check(held, kind, 0) : { code: 'revoked', message: 'The grant is gone.', remedy: '' }
      rechecked.set(key, refused)
      return refused
    },
    holds: (state: number, holder: string, slot: number | string): boolean => lookup(tablesOf(state), holder, slot) !== null,
    install(state: number, holder: string, caps: readonly number[]): { state: number; slots: readonly number[] } {
      if (caps.length === 0) return { state, slots: [] }
      const done = after(
        state,
        caps.map((cap) => ({ do: 'install', holder, cap })),
      )
      return { state: done.state, slots: done.results as number[] }
    },
    /**
     * A request to the kernel itself, with the capabilities that came with it.
     * @param instances who stands for an instance that is spawned, by kind
     */
    control(
      state: number,
      holder: string,
      { kind, body, caps }: { kind: string; body: Readonly<Record<string, unknown>>; caps: readonly number[] },
      instances: Readonly<Record<string, string>>,
    ): Controlled | Fault {
      const none = { code: 'no-capability', message: '', remedy: '' }
      const [given] = caps
      switch (kind) {
        case 'spawn': {
          const {
            kind: spawned,
            instance,
            session,
            grants,
          } = body as {
            kind: string
            instance: string
            session: string | null
            grants: readonly { name: string }[]
          }
          const target = instances[spawned]
          if (target === undefined) return none
          const done = after(state, [
            { do: 'mint', target, limits: session === null ? {} : { session }, reason: `spawned ${spawned}` },
            ...grants.map(({ name }, i): Call => ({ do: 'install', holder: target, cap: caps[i] as number, name })),
          ])
          return { state: done.state, body: { id: `${spawned}:${instance}` }, caps: [done.results[0] as number] }
        }
        case 'endow': {
          const { id, name } = body as { id: string; name: string }
          const target = instances[id.split(':')[0] as string]
          if (target === undefined || given === undefined) return none
          return { state: after(state, [{ do: 'install', holder: target, cap: given, name }]).state, body: {}, caps: [] }
        }
        case 'derive': {
          if (given === undefined) return none
          const done = after(state, [{ do: 'derive again', cap: given, by: holder }])
          return { state: done.state, body: { grant: given }, caps: [done.results[0] as number] }
        }
        case 'revoke': {
          const done = after(state, [{ do: 'revoke grant', cap: body['grant'] as number }])
          return { state: done.state, body: { revoked: done.results[0] }, caps: [] }
        }
        // An instance that ends takes nothing more; one that goes on is the harder case.
        default:
          return { state, body: {}, caps: [] }
      }
    },
    /** Null when the holder has no such slot, or it is revoked already. */
    revoke(state: number, holder: string, slot: string): number | null {
      const cap = lookup(tablesOf(state), holder, slot)
      if (!cap || cap.revoked) return null
      return after(state, [{ do: 'revoke', holder, slot }]).state
    },
  }
}

function derivations(tables: Tables, sender: string, delegations: readonly Delegation[]): Extract<Call, { do: 'derive' }>[] | Fault {
  const calls: Extract<Call, { do: 'derive' }>[] = []
  for (const { slot, limits = {}, reason } of delegations) {
    const held = lookup(tables, sender, slot)
    if (!held) return { code: 'no-capability', message: `${sender} does not hold ${JSON.stringify(slot)}.`, remedy: '' }
    const tried = derive(tables, held, limits, reason ?? held.reason, sender)
    if ('code' in tried) return tried
    calls.push({ do: 'derive', from: sender, slot, limits, reason: reason ?? held.reason })
  }
  return calls
}

function perform(tables: Tables, call: Call): unknown {
  switch (call.do) {
    case 'grant': {
      const { holder, slot, target, limits, reason } = call.wire
      return install(tables, holder, mint(tables, target, limits, reason), slot)
    }
    case 'derive': {
      const cap = derive(tables, lookup(tables, call.from, call.slot) as Capability, call.limits, call.reason, call.from)
      return 'code' in cap ? -1 : cap.id
    }
    case 'install': {
      const cap = tables.caps.get(call.cap)
      return cap ? install(tables, call.holder, cap, call.name ?? null) : -1
    }
    case 'use': {
      const cap = tables.caps.get(call.cap)
      if (cap) pay(tables, cap, 0, 0)
      return null
    }
    case 'revoke': {
      const cap = lookup(tables, call.holder, call.slot)
      return cap ? revoke(tables, cap) : 0
    }
    case 'mint':
      return mint(tables, call.target, call.limits, call.reason).id
    case 'derive again': {
      const given = tables.caps.get(call.cap)
      const cap = given ? derive(tables, given, {}, given.reason, call.by) : null
      return cap && !('code' in cap) ? cap.id : -1
    }
    case 'revoke grant': {
      const cap = tables.caps.get(call.cap)
      return cap ? revoke(tables, cap) : 0
    }
    default:
      return call satisfies never
  }
}

/** Tables without maps and sets, for keys and for people. */
export function plain(value: unknown): unknown {
  if (value instanceof Map) return [...(value as Map<unknown, unknown>)].map(([key, item]) => [key, plain(item)])
  if (value instanceof Set) return [...(value as Set<number>)].toSorted((a, b) => a - b)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
  return value
}
