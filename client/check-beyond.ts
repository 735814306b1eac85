/** Searches that prove nothing, and say how much they are likely to have missed: bits in place of states, random walks. */
import { traceItf, traceMermaid, traceText } from '../checker/counterexample.ts'
import { productOf } from '../checker/explore.ts'
import type { Model } from '../checker/model.ts'
import type { Violation } from '../checker/trace.ts'
import { bitstate, simulate } from '../checker/simulate.ts'
import type { Product } from '../checker/product.ts'
import type { SystemModel } from '../checker/system.ts'
import { createTables } from '../checker/tables.ts'
import type { CheckCommand } from './check-args.ts'

type Beyond = NonNullable<CheckCommand['beyond']>

/** Whether anything was found. */
export function beyondExhaustive(
  name: string,
  model: Model | SystemModel | Product,
  how: Beyond,
  { json, trace, out }: { json: boolean; trace: CheckCommand['trace']; out(text: string): void },
): boolean {
  const tables = createTables(productOf(model))
  const found = how.do === 'bitstate' ? { how, ...bitstate(tables, how) } : { how, ...simulate(tables, { ...how, depth: how.steps }) }
  if (json) out(`${JSON.stringify({ name, ...found })}\n`)
  else out(`${[`${name}: ${said(how, found)}`, ...found.violations.flatMap((violation) => shown(name, violation, trace))].join('\n')}\n`)
  return found.violations.length > 0
}

function said(how: Beyond, found: object): string {
  const percent = (share: number): string => `${(100 * share).toPrecision(2)} %`
  if (how.do === 'bitstate') {
    const { states, transitions, omission, complete } = found as ReturnType<typeof bitstate>
    const rest = complete ? '' : '; the longest ways were cut off'
    return `at least ${states} states, ${transitions} transitions, three bits each in ${how.mebibytes} MiB. At the end a new state was taken for a known one with a chance of ${percent(omission)}${rest}. Nothing is proved.`
  }
  const { walks, steps, states, unseen, covered } = found as ReturnType<typeof simulate>
  return `${walks} walks (seed ${how.seed}), ${steps} steps, ${states} states. The next step would see a new state with a chance of about ${percent(unseen)}; ${covered.taken} of ${covered.known} local transitions met were taken. Nothing is proved.`
}

function shown(name: string, violation: Violation, form: CheckCommand['trace']): string[] {
  const { kind, property, trace } = violation
  const way =
    form === 'mermaid' ? traceMermaid(trace).trimEnd() : form === 'itf' ? JSON.stringify(traceItf(name, violation)) : traceText(trace)
  return ['', `  ${kind}: ${property}`, `  a way there, ${trace.steps.length} steps:`, way]
}
