import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isInside, narrow } from './attenuation.ts'
import { type Capability, createTables, derive, discard, install, mint, removeActor, revoke } from './capabilities.ts'
import { maxSlots } from './limits.ts'
import { pay } from './metering.ts'
import { route } from './router.ts'
import type { Limits } from './types.ts'

const kind = fc.constantFrom('read', 'write', 'exec', 'fetch')
const path = fc.array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 }).map((parts) => parts.join('/'))
const limits: fc.Arbitrary<Limits> = fc.record(
  {
    kinds: fc.uniqueArray(kind, { maxLength: 4 }),
    hosts: fc.uniqueArray(fc.constantFrom('a.com', 'b.com', '*.c.com'), { maxLength: 3 }),
    tools: fc.uniqueArray(fc.constantFrom('sum', 'mcp__x__y'), { maxLength: 2 }),
    session: fc.constantFrom('s-1', 's-2'),
    mode: fc.constantFrom('ro', 'rw'),
    path,
    uses: fc.nat({ max: 3 }),
    expiresAt: fc.nat({ max: 10 }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Limits>

/** What a set of limits lets through, asked independently of `narrow`. */
function allows(
  limit: Limits,
  ask: { kind: string; host: string; tool: string; session: string; mode: 'ro' | 'rw'; path: string; at: number },
): boolean {
  return (
    (limit.kinds?.includes(ask.kind) ?? true) &&
    (limit.hosts?.includes(ask.host) ?? true) &&
    (limit.tools?.includes(ask.tool) ?? true) &&
    (limit.session === undefined || limit.session === ask.session) &&
    (limit.mode === undefined || limit.mode === 'rw' || ask.mode === 'ro') &&
    (limit.path === undefined || isInside(ask.path, limit.path)) &&
    (limit.expiresAt === undefined || ask.at < limit.expiresAt)
  )
}
const ask = fc.record({
  kind,
  host: fc.constantFrom('a.com', 'b.com', '*.c.com'),
  tool: fc.constantFrom('sum', 'mcp__x__y'),
  session: fc.constantFrom('s-1', 's-2'),
  mode: fc.constantFrom('ro' as const, 'rw' as const),
  path,
  at: fc.nat({ max: 10 }),
})

describe('attenuation', () => {
  test('whatever a narrowed capability allows, both its parent and its own limits allow', () => {
    fc.assert(
      fc.property(limits, limits, ask, (parent, child, question) => {
        const merged = narrow(parent, child)
        if ('code' in merged) return
        if (allows(merged, question)) expect([allows(parent, question), allows(child, question)]).toEqual([true, true])
      }),
      { numRuns: 2000 },
    )
  })

  test('a path with .. is inside nothing', () => {
    expect(isInside('a/../b', '')).toBe(false)
    expect(isInside('a/../../etc', 'a')).toBe(false)
    expect(isInside('ab', 'a')).toBe(false)
    for (const outside of ['..', 'a/..', '../a']) expect(narrow({}, { path: outside })).toMatchObject({ code: 'attenuated' })
  })

  test('no rate, quota or count can be raised on the way', () => {
    const parent: Limits = { uses: 3, rate: { messages: 10, perMs: 1000 }, quota: { bytes: 100, tokens: 5 } }
    const wider: Limits = { uses: 9, rate: { messages: 50, perMs: 1000 }, quota: { bytes: 1000, ms: 7 } }
    expect(narrow(parent, wider)).toEqual({ uses: 3, rate: parent.rate, quota: { bytes: 100, tokens: 5, ms: 7 } })
    expect(narrow(parent, { rate: { messages: 1, perMs: 500 } })).toMatchObject({ rate: { messages: 1, perMs: 500 } })
  })
})

describe('derivation tree', () => {
  type Action =
    | { do: 'derive'; from: number; limits: Limits }
    | { do: 'revoke'; which: number }
    | { do: 'use'; which: number; kind: string }
  const action: fc.Arbitrary<Action> = fc.oneof(
    fc.record({ do: fc.constant('derive' as const), from: fc.nat(), limits }),
    fc.record({ do: fc.constant('revoke' as const), which: fc.nat() }),
    fc.record({ do: fc.constant('use' as const), which: fc.nat(), kind }),
  )

  test('no message passes on a capability with a revoked ancestor, and no more messages than `uses` pass below any', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const tables = createTables()
        const all: Capability[] = [mint(tables, 'target', { uses: 5 }, 'root')]
        const revoked = new Set<number>()
        const parents = new Map<number, number>()
        const passed = new Map<number, number>()
        install(tables, 'a', all[0] as Capability, '0')
        for (const step of actions) {
          if (step.do === 'derive') {
            const parent = all[step.from % all.length] as Capability
            const child = derive(tables, parent, step.limits, 'child', 'a')
            if ('code' in child) continue
            parents.set(child.id, parent.id)
            install(tables, 'a', child, String(all.length))
            all.push(child)
          } else if (step.do === 'revoke') {
            const cap = all[step.which % all.length] as Capability
            revoke(tables, cap)
            revoked.add(cap.id)
          } else {
            const index = step.which % all.length
            const cap = all[index] as Capability
            const chain: number[] = []
            for (let id: number | undefined = cap.id; id !== undefined; id = parents.get(id)) chain.push(id)
            const result = route(tables, 'a', String(index), step.kind, 0)
            if (chain.some((id) => revoked.has(id))) expect(result.ok).toBe(false)
            if (!result.ok) continue
            pay(tables, cap, 0, 0)
            for (const id of chain) {
              passed.set(id, (passed.get(id) ?? 0) + 1)
              const { uses } = (all.find((other) => other.id === id) as Capability).limits
              if (uses !== undefined) expect(passed.get(id)).toBeLessThanOrEqual(uses)
            }
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  test('an actor cannot name what it was not given', () => {
    const tables = createTables()
    const slot = install(tables, 'a', mint(tables, 'target', {}, 'r'), 'x')
    for (const guess of [slot - 1, slot + 1, 'y', '__proto__'])
      expect(route(tables, 'a', guess, 'read', 0)).toMatchObject({ ok: false, error: { code: 'no-capability' } })
    expect(route(tables, 'b', slot, 'read', 0)).toMatchObject({ ok: false, error: { code: 'no-capability' } })
  })

  test('what led to an actor that is gone is revoked, not dangling', () => {
    const tables = createTables()
    const cap = mint(tables, 'gone', {}, 'r')
    install(tables, 'a', cap, 'x')
    removeActor(tables, 'gone')
    expect(cap.revoked).toBe(true)
    expect(route(tables, 'a', 'x', 'read', 0)).toMatchObject({ ok: false, error: { code: 'revoked' } })
  })

  test('what is revoked and held by nobody is forgotten; what is held answers `revoked`', () => {
    const tables = createTables()
    const root = mint(tables, 'target', {}, 'r')
    install(tables, 'a', root, 'root')
    const children = Array.from({ length: 100 }, () => derive(tables, root, {}, 'c', 'a') as Capability)
    const slot = install(tables, 'b', children[0] as Capability, null)
    expect(revoke(tables, root)).toBe(101)
    expect([...tables.caps.keys()]).toEqual([root.id, (children[0] as Capability).id])
    expect(route(tables, 'b', slot, 'read', 0)).toMatchObject({ error: { code: 'revoked' } })
    removeActor(tables, 'b')
    removeActor(tables, 'a')
    expect([tables.caps.size, tables.leading.size, tables.clists.size]).toEqual([0, 0, 0])
  })

  test('what was derived for a message that went nowhere leaves nothing behind', () => {
    const tables = createTables()
    const root = mint(tables, 'target', {}, 'r')
    discard(tables, [derive(tables, root, {}, 'c', 'a') as Capability])
    expect([...tables.caps.values()]).toEqual([root])
    expect(root.children.size).toBe(0)
  })

  test('a table that is full makes room by forgetting what is dead, and names still lead where they did', () => {
    const tables = createTables()
    const kept = mint(tables, 'target', {}, 'kept')
    install(tables, 'a', kept, 'kept')
    for (let n = 0; n < 3 * maxSlots; n++) {
      const once = derive(tables, kept, { uses: 1 }, 'once', 'a') as Capability
      install(tables, 'a', once, `once-${n}`)
      pay(tables, once, 0, 0)
    }
    expect(tables.clists.get('a')?.size).toBeLessThanOrEqual(maxSlots)
    expect(tables.caps.size).toBeLessThanOrEqual(maxSlots + 1)
    expect(route(tables, 'a', 'kept', 'read', 0)).toMatchObject({ ok: true, cap: kept })
    expect(route(tables, 'a', 'once-0', 'read', 0)).toMatchObject({ error: { code: 'no-capability' } })
  })
})
