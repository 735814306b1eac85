/** Refused and undeliverable messages: counted for ever, the latest remembered for `bulkhead inspect`. Bodies are not kept. */
import { rememberedDeadLetters } from './limits.ts'
import type { Fault } from './types.ts'

type DeadLetter = { at: number; from: string; slot: number | string; kind: string; error: Fault }

export type DeadLetters = ReturnType<typeof createDeadLetters>

export function createDeadLetters() {
  const counts: Record<string, number> = {}
  const recent: DeadLetter[] = []
  return {
    counts,
    recent: recent as readonly DeadLetter[],
    add(letter: Omit<DeadLetter, 'at'>): void {
      counts[letter.error.code] = (counts[letter.error.code] ?? 0) + 1
      recent.push({ at: Date.now(), ...letter })
      if (recent.length > rememberedDeadLetters) recent.shift()
    },
  }
}
