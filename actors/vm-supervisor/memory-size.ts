/** How much memory a VM gets. Pure. */
import { memoryMiB, memoryStepMiB } from './limits.ts'

/**
 * In whole steps, MiB.
 * @param asked by whoever set it, MiB; null: nobody did
 * @param freeBytes that the host can give away without taking it from anybody
 */
export function chosenMemory(asked: number | null, freeBytes: number): number {
  if (asked !== null) return Math.max(memoryMiB.smallest, Math.round(asked))
  const share = freeBytes / 1024 ** 2 / memoryMiB.freeShare
  const stepped = Math.floor(share / memoryStepMiB) * memoryStepMiB
  return Math.min(memoryMiB.usual, Math.max(memoryMiB.least, stepped))
}
