/**
 * Who starts when, as the kernel comes up. Loading is work for the processors: more actors that load at once than there are processors are all
 * up later, and none of them sooner. Mail to those that wait for their turn waits in their mailbox.
 */
import { availableParallelism } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { startTurnMs } from './limits.ts'
import type { ActorEntry } from './placement.ts'
import type { Strategy } from './supervisor.ts'

type Fate = { strategy: Strategy; of: readonly ActorEntry[] }

/** Those that share a fate, in the order of `entries`, then each other one by itself. */
export function byFate(
  entries: readonly ActorEntry[],
  supervision: readonly { strategy: Strategy; children: readonly string[] }[],
): readonly Fate[] {
  const together = supervision.map(({ strategy, children }) => ({
    strategy,
    of: entries.filter(({ manifest }) => children.includes(manifest.kind)),
  }))
  const alone = entries.filter((entry) => !together.some(({ of }) => of.includes(entry)))
  return [...together, ...alone.map((entry) => ({ strategy: 'one-for-one' as const, of: [entry] }))]
}

type Turns = { width: number; patienceMs: number }

/**
 * Begins `starts` in order, `width` at once, and between any two sees to what came in meanwhile: to make a process takes its time. One that takes
 * longer than `patienceMs` holds the others up no longer. Resolves when all have ended.
 */
export async function startInTurns(
  starts: readonly (() => Promise<void>)[],
  { width, patienceMs }: Turns = { width: Math.max(2, availableParallelism()), patienceMs: startTurnMs },
): Promise<void> {
  const waiting = [...starts]
  const begun: Promise<void>[] = []

  async function taker(): Promise<void> {
    for (let start = waiting.shift(); start; start = waiting.shift()) {
      const ended = start()
      begun.push(ended)
      await withPatience(ended, patienceMs)
      await nextTurn()
    }
  }

  const takers: Promise<void>[] = []
  for (let at = 0; at < width; at++) {
    takers.push(taker())
    await nextTurn()
  }
  await Promise.all(takers)
  await Promise.all(begun)
}

async function withPatience(ended: Promise<void>, ms: number): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, ms)
  await Promise.race([ended, late.promise])
  clearTimeout(timer)
}
