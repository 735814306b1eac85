/** What a step changes, for people: the leaves that differ, by their path, and of a list only the items that came or went. Pure. */

/** `before`, `after`: JSON; null: there was nothing there, or is nothing any more. */
export type Change = { component: string; path: string; before: string | null; after: string | null }

export function differences(component: string, path: string, before: unknown, after: unknown): Change[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  if (Array.isArray(before) && Array.isArray(after)) return ofLists(component, path, before, after)
  if (isRecord(before) && isRecord(after))
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      differences(component, below(path, key), before[key], after[key]),
    )
  const text = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value))
  return [{ component, path, before: text(before), after: text(after) }]
}

/** Less what both begin and end with: in a list cut short for people the difference would be what is cut off. */
function ofLists(component: string, path: string, before: readonly unknown[], after: readonly unknown[]): Change[] {
  const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other)
  const shorter = Math.min(before.length, after.length)
  let first = 0
  while (first < shorter && same(before[first], after[first])) first++
  let last = 0
  while (last < shorter - first && same(before.at(-1 - last), after.at(-1 - last))) last++
  const [gone, come] = [before, after].map((list) => list.slice(first, list.length - last)) as [unknown[], unknown[]]
  if (gone.length === 1 && come.length === 1) return differences(component, below(path, String(first)), gone[0], come[0])
  const text = (items: readonly unknown[]): string | null =>
    items.length === 0 ? null : items.map((item) => JSON.stringify(item)).join(', ')
  return [{ component, path, before: text(gone), after: text(come) }]
}

const below = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`)

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
