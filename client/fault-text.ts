/** A fault in words: what happened, why, what to do; the code last. */
import type { Fault } from '../kernel/index.ts'
import { printable } from './printable.ts'

export function faultText({ message, cause, remedy, rule, code, retryAfterMs }: Fault): string {
  const lines = [
    message,
    ...(cause ? [`Why: ${cause}`] : []),
    ...(rule ? [`Rule: ${rule}`] : []),
    `What to do: ${remedy}${retryAfterMs ? ` (again in ${Math.ceil(retryAfterMs / 1000)} s)` : ''}`,
    `(${code})`,
  ]
  return printable(lines.join('\n  '))
}
