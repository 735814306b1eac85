/** Whether a body may travel: plain and shallow first (inline actors share memory with the kernel and are held to the same rules), then its schema. */
import { z } from 'zod'
import { compileAfter } from './limits.ts'
import { findImproper } from './wire.ts'

type Checked = { schema: z.ZodType; uses: number }
const known = new WeakMap<z.ZodType, Checked>()

/** What is wrong with a body, or null. */
export function invalid(schema: z.ZodType, body: unknown): string | null {
  const improper = findImproper(body)
  if (improper) return improper
  const parsed = quickest(schema).safeParse(body)
  if (parsed.success) return null
  return parsed.error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${path.map(String).join('.') || 'body'}: ${message}`)
    .join('; ')
}

/** Compiling a schema costs about a millisecond and makes it several times faster: worth it for those that are used. */
function quickest(schema: z.ZodType): z.ZodType {
  let entry = known.get(schema)
  if (!entry) {
    entry = { schema, uses: 0 }
    known.set(schema, entry)
  }
  if (++entry.uses === compileAfter) entry.schema = z.compile(schema)
  return entry.schema
}
