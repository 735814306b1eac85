/** `bulkhead check [NAME]`: explores the machines that run, as their models describe what is around them. Needs no daemon. */
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { eventsOf, type ModelImport, traceItf, traceMermaid, traceTest, traceText } from '../checker/counterexample.ts'
import { type CheckLimits, type CheckResult, examine } from '../checker/explore.ts'
import { promela } from '../checker/export-promela.ts'
import { exported } from '../checker/export-rows.ts'
import { tla } from '../checker/export-tla.ts'
import type { Model } from '../checker/model.ts'
import type { MutantVerdict } from '../checker/mutate.ts'
import { confirm, type Confirmation } from '../checker/replay.ts'
import type { Violation } from '../checker/trace.ts'
import { type Size, type Subject, subjects } from '../checker/subjects.ts'
import type { Product } from '../checker/product.ts'
import type { SystemModel } from '../checker/system.ts'
import { Pool } from '../checker/workers/pool.ts'
import { UsageError } from './args.ts'
import type { CheckCommand } from './check-args.ts'
import { beyondExhaustive } from './check-beyond.ts'
import { checkInThreads } from './check-threads.ts'
import { exitCodes } from './exit-codes.ts'
import { mutateInThreads } from './mutate-threads.ts'

const root = new URL('../', import.meta.url)

/** `full` sizes may take minutes and gigabytes; what a machine has is the limit, not what a test may take. */
const limits: Record<Size, CheckLimits> = {
  small: { maxStates: 2_000_000, maxBytes: 2 ** 30 },
  full: { maxStates: 50_000_000, maxBytes: 6 * 2 ** 30 },
}

export async function check(options: CheckCommand & { out(text: string): void; progress(text: string): void }): Promise<number> {
  const { name } = options
  const known = subjects()
  const wanted = name === null ? known : known.filter((subject) => subject.name === name)
  if (wanted.length === 0)
    throw new UsageError(`check: there is no model of "${name}" (there are: ${known.map((subject) => subject.name).join(', ')})`)
  if (name === null && options.export !== null) throw new UsageError('check --export needs the name of a model.')
  const size = options.full ? 'full' : 'small'
  // Models checked one after another in one process would leave one another's rubbish to be counted against them.
  if (name === null && !options.mutate && !options.beyond) return checkInThreads(wanted, options)
  let failed = false
  for (const subject of wanted) {
    if (options.mutate) {
      if (subject.kind === 'system') {
        if (name !== null) throw new UsageError('check --mutate takes an actor: systems are made of their machines.')
        continue
      }
      failed = (await mutationReport(subject.name, options)) > 0 || failed
    } else if (options.beyond) failed = beyondExhaustive(subject.name, await subject.load(size), options.beyond, options) || failed
    else failed = (await checkOne(subject, options)) || failed
  }
  return failed ? exitCodes.failed : exitCodes.done
}

/** One model, exhaustively. Whether something is broken or was not seen. */
export async function checkOne(
  subject: Subject,
  options: CheckCommand & { out(text: string): void; progress(text: string): void },
): Promise<boolean> {
  const { json, out, progress, reduce, depthFirst, maxStates, maxMemoryMiB } = options
  const size = options.full ? 'full' : 'small'
  const model = await subject.load(size)
  const bounds: CheckLimits = {
    ...limits[size],
    ...(maxStates === null ? {} : { maxStates }),
    ...(maxMemoryMiB === null ? {} : { maxBytes: maxMemoryMiB * 2 ** 20 }),
    onProgress: (states) => progress(`Checking ${subject.name}: ${states} states`),
  }
  let result: CheckResult
  if (options.workers !== null && options.workers > 1) {
    const pool = new Pool(options.workers)
    try {
      result = await pool.check(await subject.reference(size), bounds)
    } finally {
      await pool.close()
    }
  } else {
    const examined = examine(model, {
      ...bounds,
      ...(depthFirst ? { order: 'depth' } : {}),
      reduceOrder: reduce.includes('order'),
      reduceSymmetry: reduce.includes('symmetry'),
      skipTemporal: reduce.length > 0 || depthFirst,
    })
    result = examined.result
    if (options.export !== null) {
      const rows = exported(examined.tables, examined.found)
      out(options.export === 'promela' ? promela(rows) : tlaText(tla(rows)))
      return result.violations.length > 0 || !result.complete
    }
  }
  const confirmations = result.violations.map((violation) => confirmed(model, violation))
  if (json) out(`${JSON.stringify({ ...result, confirmations })}\n`)
  else out(checkText(result, { trace: options.trace, confirmations, model: await importOf(subject, model, size) }))
  return result.violations.length > 0 || !result.complete
}

function tlaText({ name, module, config }: ReturnType<typeof tla>): string {
  return `${module}\n\\* ${name}.cfg:\n${config.replaceAll(/^/gm, '\\* ')}\n`
}

/** An independent run of the machines along the counterexample; kinds that have no way to show are not asked, nor models without machines. */
function confirmed(model: Model | SystemModel | Product, { trace }: Violation): Confirmation | null {
  if ('rules' in model || trace.steps.length === 0 || trace.steps.some(({ actor }) => actor === 'fault')) return null
  const parts =
    'system' in model ? Object.entries(model.actors).map(([id, part]) => [id, part.model] as const) : [[model.actor, model] as const]
  return confirm(Object.fromEntries(parts.map(([id, { machine, input }]) => [id, { machine, input: input as unknown }])), eventsOf(trace))
}

/** Null for models without machines. */
async function importOf(subject: Subject, model: Model | SystemModel | Product, size: Size): Promise<ModelImport | null> {
  if ('rules' in model) return null
  const { module, name, args } = await subject.reference(size)
  const from = `../../${relative(fileURLToPath(root), fileURLToPath(module))}`
  return { from, name, ...(args ? { args } : {}) }
}

/** How many survive. */
async function mutationReport(
  name: string,
  options: Pick<CheckCommand, 'json' | 'workers'> & { out(text: string): void; progress(text: string): void },
): Promise<number> {
  const verdicts = await mutateInThreads(name, options.workers, ({ fate }, done, of) =>
    options.progress(`Mutants of ${name}: ${done}/${of}${fate === 'survives' ? ' (survives)' : ''}`),
  )
  const of = (wanted: MutantVerdict['fate']): MutantVerdict[] => verdicts.filter(({ fate }) => fate === wanted)
  const [killed, alike, survivors] = [of('killed'), of('equivalent'), of('survives')]
  if (options.json) {
    options.out(`${JSON.stringify({ name, mutants: verdicts })}\n`)
    return survivors.length
  }
  const lines = [
    `${name}: ${verdicts.length} mutants, ${killed.length} killed, ${survivors.length} survive, ${alike.length} equivalent at this bound`,
  ]
  for (const { place, change, difference } of survivors)
    lines.push(
      `  survives: ${place}, ${change}`,
      difference ? `    told apart by: ${[...difference.way, difference.what].join(' > ')}` : '    no model was seen to get there',
    )
  for (const { place, change } of alike) lines.push(`  equivalent at this bound: ${place}, ${change}`)
  options.out(`${lines.join('\n')}\n`)
  return survivors.length
}

function notedText({ notAsked, notReduced }: CheckResult): string[] {
  return [
    ...(notReduced === null ? [] : [`  searched in full: ${notReduced}`]),
    ...(notAsked === null ? [] : [`  not asked, because ${notAsked.why}: ${notAsked.names.join('; ')}`]),
  ]
}

type Shown = {
  trace?: CheckCommand['trace']
  confirmations?: readonly (Confirmation | null)[]
  /** Where the model is, for tests made of its counterexamples. */
  model?: ModelImport | null
}

/** For people: what was explored, each property, and for each violation the shortest way to it. */
export function checkText(result: CheckResult, { trace: form = 'text', confirmations = [], model = null }: Shown = {}): string {
  const { name, states, transitions, depth, complete, stopped, ms, expansions, properties, violations, reduced } = result
  const rest = complete ? '' : ` (stopped at the limit of ${stopped}: not everything was seen)`
  const lines = [
    `${name}: ${states} states, ${transitions} transitions, depth ${depth}, ${expansions} local, ${(ms / 1000).toFixed(1)} s${rest}`,
    ...(reduced.length > 0 ? [`  reduced by ${reduced.join(' and ')}`] : []),
    ...notedText(result),
    ...properties.map(({ kind, name: property, held }) => `  ${held ? 'holds ' : 'BROKEN'} ${kind}: ${property}`),
  ]
  for (const [index, violation] of violations.entries()) {
    const { kind, property, detail, trace } = violation
    lines.push('', `  ${kind}: ${property}${detail ? ` (${detail})` : ''}`)
    if (form === 'mermaid') lines.push(traceMermaid(trace).trimEnd())
    else if (form === 'itf') lines.push(JSON.stringify(traceItf(name, violation)))
    else if (form === 'test') lines.push(traceTest(name, violation, model).trimEnd())
    else lines.push(`  shortest way there, ${trace.steps.length} steps:`, traceText(trace))
    const replayed = confirmations[index]
    if (replayed)
      lines.push(
        replayed.confirmed ? '  confirmed by replay on xstate' : `  NOT confirmed by replay: step ${replayed.at + 1}, ${replayed.why}`,
      )
  }
  return `${lines.join('\n')}\n`
}
