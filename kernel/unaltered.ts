/**
 * Whether a schema only judges. The kernel delivers a body as it was sent, and never what a schema would make of it: a message means the same
 * to who sends it, to the log and to who gets it, and one that travels needs no copy. So a schema that would fill in, convert or drop
 * something says what no receiver will see, and is refused where actors are made known.
 */
import type { z } from 'zod'

/** Of zod's own types, those whose output is not what they were given. */
const altering: Readonly<Record<string, string>> = {
  default: 'a default',
  prefault: 'a default',
  catch: 'a replacement for what is wrong (catch)',
  transform: 'a transform',
  pipe: 'a pipe or codec',
  success: 'a conversion to success or failure',
  promise: 'a promise',
}

type Def = {
  type: string
  check?: string
  coerce?: boolean
  checks?: readonly unknown[]
  shape?: object
  catchall?: unknown
  getter?: () => unknown
}
/** What in it would change a value, and where; null: it takes values as they are. */
export function alters(schema: z.ZodType): string | null {
  return search(schema, 'body', new Set())
}

function search(value: unknown, at: string, seen: Set<unknown>): string | null {
  if (typeof value !== 'object' || value === null || seen.has(value)) return null
  seen.add(value)
  const def = defOf(value)
  if (!def) {
    for (const [name, item] of Object.entries(value)) {
      const found = search(item, Array.isArray(value) ? at : `${at}.${name}`, seen)
      if (found !== null) return found
    }
    return null
  }
  const what = altering[def.type] ?? (def.coerce === true ? 'a conversion (coerce)' : null) ?? changingCheck(def) ?? dropping(def)
  if (what !== null) return `${at} has ${what}`
  // A check holds what was found wrong with it so far, a shape's own parts are asked under their names.
  const { checks: _, shape, getter, ...parts } = def
  return search(shape, at, seen) ?? (getter ? search(getter(), at, seen) : null) ?? search(Object.values(parts), at, seen)
}

/** `.trim()`, `.toLowerCase()` and the like. */
function changingCheck({ checks = [] }: Def): string | null {
  const changes = checks.some((check) => typeof check === 'object' && check !== null && defOf(check)?.check === 'overwrite')
  return changes ? 'a check that changes the value (trim, case, overwrite)' : null
}

/** `z.object` drops fields it does not know; `z.strictObject` refuses them, `z.looseObject` keeps them. */
function dropping({ type, catchall }: Def): string | null {
  return type === 'object' && catchall === undefined ? 'an object that drops unknown fields (say z.strictObject or z.looseObject)' : null
}

/** What zod keeps of a schema, or of a check. */
function defOf(value: object): Def | null {
  const { _zod: inner } = value as { _zod?: { def?: Def } }
  return inner?.def ?? null
}
