/** A number by which states are shared out, which does not depend on how they are packed. */
export function keyOf(ids: ArrayLike<number>): number {
  let key = 0
  for (let i = 0; i < ids.length; i++) key ^= keyOfValue(i, ids[i] as number)
  return key
}

/** What one value adds to it: a value that takes another's place changes it by both. */
export function keyOfValue(component: number, id: number): number {
  let h = Math.imul(id ^ Math.imul(component + 1, 0x9e3779b1), 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}
