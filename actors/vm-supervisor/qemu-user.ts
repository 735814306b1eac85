/**
 * A user for QEMU that is nobody else's: what a hostile guest makes of QEMU then is no process of the member's or of root's, even where a wall
 * of the jail fails. Only root can give it one. Pure.
 */
import { createHash } from 'node:crypto'
import { qemuUids } from './limits.ts'

export type Range = { first: number; count: number }

/** How many are looked at before none is taken. */
const tries = 4

/** Ids this process's user namespace has, from `/proc/self/uid_map`: lines of inside, outside, count. */
export function parseIdMap(text: string): Range[] {
  return text
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [first, , count] = line.trim().split(/\s+/).map(Number)
      return first !== undefined && count !== undefined && count > 0 ? [{ first, count }] : []
    })
}

/** Candidates in the order they are to be tried: another home begins at another id. Empty where the namespace has none of the range. */
export function userCandidates(home: string, mapped: readonly Range[]): number[] {
  const range = qemuUids.find(({ first, count }) => mapped.some((one) => one.first <= first && first + count <= one.first + one.count))
  if (range === undefined) return []
  const start = createHash('sha256').update(home).digest().readUInt32BE(0)
  return Array.from({ length: tries }, (_, at) => range.first + ((start + at) % range.count))
}
