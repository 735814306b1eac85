/** Revoking reaches what an actor already has in its hands, wherever it runs: nothing under a dead capability is begun after it. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { deliveryWindow } from './limits.ts'
import { actor as stalling, lever } from './testing/stalling/index.ts'
import { startTestKernel, type TestKernel } from './testing/test-kernel.ts'
import type { Fault, Placement } from './types.ts'
import { fileBoard, fileReader } from './withdrawal.ts'

let running: TestKernel | null = null
afterEach(async () => {
  await running?.stop()
  running = null
})

type Stalled = TestKernel & {
  /** Resolves once it takes no message. Nothing waits for an inline actor but the kernel itself. */
  stall(): Promise<void>
  goOn(): void
}

async function start(placement: Placement): Promise<Stalled> {
  const memory = new SharedArrayBuffer(8)
  const words = new Int32Array(memory)
  const it = await startTestKernel({
    actors: [
      {
        manifest: stalling.manifest,
        protocol: stalling.protocol,
        entry: new URL('./testing/stalling/index.ts', import.meta.url).href,
        load: async () => stalling,
      },
    ],
    placement,
    params: placement === 'thread' ? { stalling: { lever: memory } } : {},
    // A lever is no part of a log.
    replay: false,
  })
  running = it
  const pid = it.kernel.actors.get('stalling')?.port?.pid ?? null
  const isStopped = () => /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  return {
    ...it,
    async stall() {
      if (placement === 'thread') {
        it.test.send('stalling', 'stall', {})
        await expect.poll(() => Atomics.load(words, lever.pulled), { interval: 1 }).toBe(1)
      }
      if (pid === null) return
      process.kill(pid, 'SIGSTOP')
      await expect.poll(isStopped, { interval: 1 }).toBe(true)
    },
    goOn() {
      Atomics.store(words, lever.moved, 1)
      Atomics.notify(words, lever.moved)
      if (pid !== null) process.kill(pid, 'SIGCONT')
    },
  }
}

describe.each(['inline', 'thread', 'process'] as const)('%s placement', (placement) => {
  test('of what is in its hands, all under what is revoked is refused, and the rest is handled in order', async () => {
    const { test: me, kernel, stall, goOn } = await start(placement)
    const derive = async (slot: string) => {
      const { body, slots } = await me.request('kernel', 'derive', {}, { caps: [{ slot }] })
      return { slot: slots[0] as string, grant: (body as { grant: number }).grant }
    }
    const live = kernel.actors.get('stalling')
    let sent = 0
    let refusals = 0
    let takenBack = 0

    // Slots: what the manifest of the test grants, one derived from it, one derived from that, and another.
    const messages = fc.array(fc.record({ slot: fc.nat(3), asks: fc.boolean() }), {
      minLength: 1,
      maxLength: deliveryWindow + 20,
      size: 'max',
    })
    await fc.assert(
      fc.asyncProperty(messages, fc.integer({ min: 1, max: 3 }), async (chosen, revoked) => {
        const first = await derive('stalling')
        const grants = [null, first, await derive(first.slot), await derive('stalling')]
        const dead = new Set(revoked === 1 ? [1, 2] : [revoked])
        await stall()
        const answers = chosen.map(({ slot, asks }) => {
          const n = sent++
          const to = grants[slot]?.slot ?? 'stalling'
          if (!asks) {
            me.send(to, 'note', { n })
            return Promise.resolve(null)
          }
          return me.request(to, 'note', { n }).then(
            ({ body }) => body,
            ({ code }: Fault) => code,
          )
        })
        const numbers = chosen.map((_, index) => sent - chosen.length + index)
        // The kernel hands over before it hears the next request; an inline actor has handled them by then.
        const inHands = placement === 'inline' ? 0 : Math.min(chosen.length, deliveryWindow - (placement === 'thread' ? 1 : 0))
        if (placement !== 'inline') await expect.poll(() => live?.outstanding.size ?? 0, { interval: 1 }).toBeGreaterThanOrEqual(inHands)
        kernel.revoke(kernel.tables.caps.get(grants[revoked]?.grant ?? -1) as never)
        takenBack += [...(live?.outstanding ?? [])].filter(({ way }) => way.cap.revoked).length
        goOn()
        const isDead = (index: number) => dead.has(chosen[index]?.slot ?? 0)
        expect(await Promise.all(answers)).toEqual(
          chosen.map(({ asks }, index) => (asks ? (isDead(index) ? 'revoked' : { noted: numbers[index] }) : null)),
        )
        expect((await me.request('stalling', 'notes', {})).body).toEqual({ notes: numbers.filter((_, index) => !isDead(index)) })
        refusals += chosen.filter((_, index) => isDead(index)).length
        expect(kernel.deadLetters.counts['revoked'] ?? 0).toBe(refusals)
      }),
      { numRuns: 25 },
    )
    expect(refusals).toBeGreaterThan(100)
    // The moves are worth something: messages were in its hands by then.
    expect(takenBack > 100).toBe(placement !== 'inline')
    expect(live?.incarnation).toBe(1)
  })
})

test('a number taken back is seen by whoever reads the file, and by no later one in its place', () => {
  const board = fileBoard()
  const withdrawn = fileReader(board.reading)
  expect([1, deliveryWindow, deliveryWindow + 1].map(withdrawn)).toEqual([false, false, false])
  board.withdraw(1)
  expect([1, deliveryWindow + 1, 2].map(withdrawn)).toEqual([true, false, false])
  board.withdraw(deliveryWindow + 1)
  expect([1, deliveryWindow + 1].map(withdrawn)).toEqual([false, true])
  board.shared()
  board.close()
  expect(() => board.withdraw(2)).not.toThrow()
})

test('what is granted for good is not revoked: nobody looks for it in an actor elsewhere, so that it would not be true', async () => {
  const { kernel, test: me } = await start('process')
  const granted = [...kernel.tables.caps.values()].find(({ target, parent }) => target === 'stalling' && parent === null)
  expect(() => kernel.revoke(granted as never)).toThrow(expect.objectContaining({ code: 'malformed' }) as never)
  expect(granted?.revoked).toBe(false)
  expect(await me.request('stalling', 'notes', {})).toMatchObject({ body: { notes: [] } })
})
