/** `bulkhead doctor`: what the machine has of what Bulkhead needs. Exit 0 when nothing needed is missing. */
import { doctor as examine } from '../setup/doctor.ts'
import { exitCodes } from './exit-codes.ts'
import { findPlaces } from './places.ts'
import { printable } from './printable.ts'
import type { Style } from './style.ts'

export async function doctor(options: { json: boolean; env: NodeJS.ProcessEnv; style: Style; out(text: string): void }): Promise<number> {
  const { json, env, style, out } = options
  const report = await examine(findPlaces(env), env)
  if (json) out(`${JSON.stringify(report)}\n`)
  else
    for (const { name, ok, level, detail, remedy } of report.checks) {
      const mark = ok ? style.paint('green', level === 'ok' ? 'ok     ' : level.padEnd(7)) : style.paint('red', 'missing')
      out(printable(`${mark} ${name}: ${detail}\n${remedy ? `        What to do: ${remedy}\n` : ''}`))
    }
  return report.ok ? exitCodes.done : exitCodes.failed
}
