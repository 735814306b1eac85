/** `bulkhead check [ACTOR]`: explores the machines that run, as their models describe what is around them. Needs no daemon. */
import { existsSync, readdirSync } from 'node:fs'
import { type CheckResult, check as explore } from '../checker/explore.ts'
import type { Model } from '../checker/model.ts'
import { UsageError } from './args.ts'
import { exitCodes } from './exit-codes.ts'

const actorsDir = new URL('../actors/', import.meta.url)
const modelOf = (actor: string): URL => new URL(`${actor}/model.ts`, actorsDir)

export async function check(options: {
  actor: string | null
  json: boolean
  out(text: string): void
  progress(text: string): void
}): Promise<number> {
  const { actor, json, out, progress } = options
  const known = readdirSync(actorsDir).filter((name) => existsSync(modelOf(name)))
  if (actor !== null && !known.includes(actor))
    throw new UsageError(`check: there is no model of "${actor}" (there are: ${known.join(', ')})`)
  let failed = false
  for (const name of actor === null ? known : [actor]) {
    const { model } = (await import(modelOf(name).href)) as { model: Model }
    const result = explore(model, {
      maxStates: 1_000_000,
      onProgress: (states, depth) => progress(`Checking ${name}: ${states} states, depth ${depth}`),
    })
    failed ||= result.violations.length > 0 || !result.complete
    out(json ? `${JSON.stringify(result)}\n` : checkText(result))
  }
  return failed ? exitCodes.failed : exitCodes.done
}

/** For people: what was explored, each property, and for each violation the shortest way to it. */
export function checkText({ actor, states, transitions, depth, complete, ms, properties, violations }: CheckResult): string {
  const lines = [
    `${actor}: ${states} states, ${transitions} transitions, depth ${depth}, ${(ms / 1000).toFixed(1)} s${complete ? '' : ' (stopped at the limit: not everything was seen)'}`,
    ...properties.map(({ kind, name, held }) => `  ${held ? 'holds ' : 'BROKEN'} ${kind}: ${name}`),
  ]
  for (const { kind, property, detail, trace } of violations) {
    lines.push('', `  ${kind}: ${property}${detail ? ` (${detail})` : ''}`, `  shortest way there, ${trace.length} steps:`)
    for (const [index, { event, value, out }] of trace.entries()) {
      const sent = out.map((message) => ('kind' in message ? `${message.type} ${message.kind}` : message.type)).join(', ')
      lines.push(`    ${index + 1}. ${event.type} -> ${JSON.stringify(value)}${sent ? `   [${sent}]` : ''}`)
    }
  }
  return `${lines.join('\n')}\n`
}
