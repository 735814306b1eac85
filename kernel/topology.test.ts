/**
 * Actors at random, capabilities handed on at random, revoked, lent, used, actors killed and back: what must hold whatever happens.
 * The test keeps its own books of who was given what, and compares.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Fault, Limits } from './types.ts'
import { relay, type Noted } from './testing/relay/index.ts'
import { startTestKernel } from './testing/test-kernel.ts'

const kinds = ['a', 'b', 'c'] as const

type Move =
  /** The endpoint gives `to` a capability to `target`, derived from one of its own earlier grants or from its first one. */
  | { do: 'give'; to: number; target: number; from: number; limits: Limits }
  | { do: 'lend'; grant: number; limits: Limits }
  /** `by` is given the grant, and told to use it: a message from one actor to another, or to itself. */
  | { do: 'pass'; grant: number; by: number }
  | { do: 'revoke'; grant: number }
  | { do: 'use'; grant: number; wait: boolean }
  | { do: 'burst'; grant: number; count: number }
  | { do: 'kill'; actor: number }
  | { do: 'settle' }

const limits: fc.Arbitrary<Limits> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  fc.record({ kinds: fc.constantFrom(['note'], ['keep'], ['note', 'lend']) }),
  fc.record({ uses: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ expiresAt: fc.constantFrom(1, Number.MAX_SAFE_INTEGER) }),
  fc.record({ session: fc.constantFrom('s-1', 's-2') }),
)
const actor = fc.nat(kinds.length - 1)
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('give' as const), to: actor, target: actor, from: fc.nat(), limits }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lend' as const), grant: fc.nat(), limits }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), grant: fc.nat(), by: actor }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('revoke' as const), grant: fc.nat() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('use' as const), grant: fc.nat(), wait: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('burst' as const), grant: fc.nat(), count: fc.integer({ min: 2, max: 40 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), actor }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
)

/** A grant as the test knows it. `revokedAt`: the number of the first message sent after it was revoked. */
type Grant = {
  id: number
  parent: number | null
  target: string
  limits: Limits
  kernelGrant: number
  slot: string
  revokedAt: number | null
  uses: number
}

async function play(moves: readonly Move[]): Promise<readonly Noted[]> {
  const notes: Noted[] = []
  const running = await startTestKernel({
    // What the relays tell the test is no part of their machines, and would be told twice.
    replay: false,
    actors: kinds.map((kind) => relay(kind, (noted) => notes.push(noted))),
  })
  const { test: me, kernel } = running
  const grants: Grant[] = []
  const answers = new Map<number, number>()
  const asked: Promise<void>[] = []
  /** Messages that waited for their receiver when a grant was revoked. */
  const waiting: { grant: Grant; n: number }[] = []
  let n = 0

  const lineage = (grant: Grant): Grant[] => [grant, ...(grant.parent === null ? [] : lineage(grants[grant.parent] as Grant))]
  const alive = () => Promise.all(kinds.map((kind) => expect.poll(() => kernel.actors.get(kind)?.state, { interval: 1 }).toBe('running')))

  /** Derives through the kernel, so that the test can revoke it; null when the kernel refused. */
  async function derive(slot: string, parent: number | null, target: string, narrower: Limits): Promise<Grant | null> {
    try {
      const { body, slots } = await me.request('kernel', 'derive', {}, { caps: [{ slot, limits: narrower }] })
      const grant: Grant = {
        id: grants.length,
        parent,
        target,
        limits: narrower,
        kernelGrant: (body as { grant: number }).grant,
        slot: slots[0] as string,
        revokedAt: null,
        uses: 0,
      }
      grants.push(grant)
      return grant
    } catch (error) {
      expect(['revoked', 'attenuated']).toContain((error as Fault).code)
      return null
    }
  }

  /** A note to the grant's target: from the test itself, or by way of the actor that was given the grant for it. */
  function note(grant: Grant, by: string | null = null): Promise<void> {
    const mine = n++
    const body = { grant: grant.id, n: mine }
    const key = `grant ${grant.id}`
    if (by !== null) void me.request(by, 'keep', { key }, { caps: [{ slot: grant.slot }], deadlineMs: null }).catch(() => {})
    const asking =
      by === null
        ? me.request(grant.slot, 'note', body, { deadlineMs: null })
        : me.request(by, 'pass', { key, kind: 'note', ...body }, { deadlineMs: null })
    const answer = asking
      .then(
        (reply) => expect(reply.body).toEqual(by === null ? { handled: mine } : { answer: { handled: mine } }),
        (error: Fault) => expect(['revoked', 'attenuated', 'expired', 'actor-down', 'overloaded', 'no-capability']).toContain(error.code),
      )
      .then(() => void answers.set(mine, (answers.get(mine) ?? 0) + 1))
    asked.push(answer)
    return answer
  }

  for (const step of moves) {
    const grant = grants.length > 0 && 'grant' in step ? grants[step.grant % grants.length] : undefined
    switch (step.do) {
      case 'give': {
        const candidates = grants.filter(({ target }) => target === kinds[step.target])
        const parent = candidates[step.from % (candidates.length + 1)]
        await derive(parent?.slot ?? (kinds[step.target] as string), parent?.id ?? null, kinds[step.target] as string, step.limits)
        break
      }
      case 'lend': {
        // Through another actor: what comes back is derived twice more.
        if (!grant) break
        const holder = kinds[(grant.id + 1) % kinds.length] as string
        try {
          await me.request(holder, 'keep', { key: 'k' }, { caps: [{ slot: grant.slot }] })
          const { slots } = await me.request(holder, 'lend', { key: 'k', limits: step.limits })
          await derive(slots[0] as string, grant.id, grant.target, step.limits)
        } catch (error) {
          expect(['revoked', 'attenuated', 'actor-down', 'no-capability']).toContain((error as Fault).code)
        }
        break
      }
      case 'revoke':
        if (!grant) break
        for (const other of grants) if (lineage(other).includes(grant)) other.revokedAt ??= n
        for (const { event } of kernel.actors.get(grant.target)?.receiver ?? [])
          waiting.push({ grant, n: (event.body as { n?: number }).n ?? -1 })
        await me.request('kernel', 'revoke', { grant: grant.kernelGrant }).catch((error: Fault) => expect(error.code).toBe('no-capability'))
        break
      case 'use':
        if (!grant) break
        if (step.wait) await note(grant)
        else void note(grant)
        break
      case 'pass':
        if (grant) void note(grant, kinds[step.by] as string)
        break
      case 'burst':
        if (grant) for (let i = 0; i < step.count; i++) void note(grant)
        break
      case 'kill':
        kernel.actors.get(kinds[step.actor] as string)?.port?.kill()
        break
      case 'settle':
        await Promise.all(asked)
        break
      default:
        step satisfies never
    }
  }
  await alive()
  await Promise.all(asked)

  // Exactly one answer for each message.
  expect([...answers.values()].every((count) => count === 1)).toBe(true)
  expect(answers.size).toBe(n)
  const handled = new Map<number, number>()
  for (const { grant: id, holder, n: number } of notes) {
    const grant = grants[id] as Grant
    handled.set(number, (handled.get(number) ?? 0) + 1)
    // It reached the actor its capability is for, while everything it derives from was alive and allowed it.
    expect(holder).toBe(grant.target)
    for (const at of lineage(grant)) {
      at.uses++
      expect(at.limits.kinds?.includes('note') ?? true, 'kinds').toBe(true)
      expect((at.limits.expiresAt ?? Number.MAX_SAFE_INTEGER) > 1, 'expiry').toBe(true)
      expect(at.uses, 'uses').toBeLessThanOrEqual(at.limits.uses ?? Number.MAX_SAFE_INTEGER)
      expect(number, 'sent after it was revoked').toBeLessThan(at.revokedAt ?? Number.MAX_SAFE_INTEGER)
      expect(
        waiting.some((other) => other.n === number && other.grant === at),
        'waited while it was revoked',
      ).toBe(false)
    }
  }
  // At most once, and in order for each pair of sender and receiver.
  expect([...handled.values()].every((count) => count === 1)).toBe(true)
  for (const pair of Object.values(Object.groupBy(notes, ({ from, holder }) => `${from} -> ${holder}`))) {
    const order = (pair ?? []).map(({ n: number }) => number)
    expect(order).toEqual(order.toSorted((a, b) => a - b))
  }
  await running.stop()
  return notes
}

test('no message without a live capability is handled, none widens, each is answered once and in order', async () => {
  let handled = 0
  let passed = 0
  await fc.assert(
    fc.asyncProperty(fc.array(move, { minLength: 5, maxLength: 40 }), async (moves) => {
      const notes = await play(moves)
      handled += notes.length
      passed += notes.filter(({ from }) => from !== 'test').length
    }),
    { numRuns: 150 },
  )
  // The moves are worth something: messages do get through.
  expect(handled).toBeGreaterThan(500)
  expect(passed).toBeGreaterThan(50)
})
