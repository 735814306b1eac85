import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Capability, createTables, derive, mint, type Tables } from './capabilities.ts'
import { charge, pay, remaining, unpayable } from './metering.ts'
import type { Limits } from './types.ts'

function chain(...limits: readonly Limits[]): { tables: Tables; caps: Capability[] } {
  const tables = createTables()
  const caps = [mint(tables, 'target', limits[0] ?? {}, 'root')]
  for (const more of limits.slice(1)) caps.push(derive(tables, caps.at(-1) as Capability, more, 'child', 'a') as Capability)
  return { tables, caps }
}
const at = (caps: readonly Capability[], index: number): Capability => caps[index] as Capability

describe('a rate', () => {
  test('lets a burst through, then as many as time brings back, and says when', () => {
    const { tables, caps } = chain({ rate: { messages: 2, perMs: 1000 } })
    const cap = at(caps, 0)
    for (const now of [1000, 1000]) {
      expect(unpayable(tables, cap, 0, now)).toBeNull()
      pay(tables, cap, 0, now)
    }
    expect(unpayable(tables, cap, 0, 1000)).toMatchObject({ code: 'quota', rule: 'rate 2 in 1000 ms', retryAfterMs: 500 })
    expect(unpayable(tables, cap, 0, 1499)).toMatchObject({ retryAfterMs: 1 })
    expect(unpayable(tables, cap, 0, 1500)).toBeNull()
  })

  test('is not passed by in any window, whatever was derived and when messages come', () => {
    const gaps = fc.array(fc.record({ gap: fc.nat(400), which: fc.nat(3) }), { maxLength: 60 })
    fc.assert(
      fc.property(gaps, (steps) => {
        const { tables, caps } = chain({ rate: { messages: 3, perMs: 1000 } }, {}, { rate: { messages: 9, perMs: 1000 } }, {})
        const passed: number[] = []
        let now = 0
        for (const { gap, which } of steps) {
          now += gap
          if (unpayable(tables, at(caps, which), 0, now)) continue
          pay(tables, at(caps, which), 0, now)
          passed.push(now)
          // A full bucket and a window's refill.
          expect(passed.filter((time) => time > now - 1000).length).toBeLessThanOrEqual(6)
        }
        expect(passed.length).toBeLessThanOrEqual(3 + Math.floor((now * 3) / 1000) + 1)
      }),
    )
  })
})

describe('a quota', () => {
  test('given away in parts is still one account', () => {
    const { tables, caps } = chain({ quota: { bytes: 100 } })
    const parts = Array.from({ length: 3 }, () => derive(tables, at(caps, 0), { quota: { bytes: 80 } }, 'part', 'a') as Capability)
    for (const part of parts.slice(0, 2)) {
      expect(unpayable(tables, part, 45, 0)).toBeNull()
      pay(tables, part, 45, 0)
    }
    expect(unpayable(tables, at(parts, 2), 45, 0)).toMatchObject({ code: 'quota', rule: 'quota bytes 100' })
    expect(unpayable(tables, at(parts, 2), 10, 0)).toBeNull()
    expect(remaining(tables, at(parts, 2), 'bytes')).toBe(10)
  })

  test('tokens and processes are charged by the receiver; what comes back can be used again', () => {
    const { tables, caps } = chain({ quota: { processes: 2, tokens: 10 } }, {})
    expect(charge(tables, at(caps, 1), 'processes', 2)).toBeNull()
    expect(unpayable(tables, at(caps, 1), 0, 0)).toMatchObject({ code: 'quota', rule: 'quota processes 2' })
    charge(tables, at(caps, 1), 'processes', -1)
    expect(unpayable(tables, at(caps, 1), 0, 0)).toBeNull()
    expect(charge(tables, at(caps, 0), 'tokens', 11)).toMatchObject({ code: 'quota' })
    expect(unpayable(tables, at(caps, 1), 0, 0)).toMatchObject({ rule: 'quota tokens 10' })
  })

  test('costs nothing where nothing is counted', () => {
    const { tables, caps } = chain({ kinds: ['read'] }, { mode: 'ro' })
    expect([at(caps, 1).metered, unpayable(tables, at(caps, 1), 1e9, 0), remaining(tables, at(caps, 1), 'ms')]).toEqual([false, null, null])
  })
})
