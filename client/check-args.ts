/** The words of `bulkhead check`. */
import { parseWords, UsageError } from './args.ts'

const traceForms = ['text', 'mermaid', 'itf', 'test'] as const
const exportForms = ['promela', 'tla'] as const
const reductions = ['order', 'symmetry'] as const
type Reduction = (typeof reductions)[number]
export type CheckCommand = {
  name: string | null
  json: boolean
  full: boolean
  mutate: boolean
  trace: (typeof traceForms)[number]
  export: (typeof exportForms)[number] | null
  /** A session to compare with the models, in place of a search. */
  conform: string | null
  reduce: readonly Reduction[]
  depthFirst: boolean
  maxStates: number | null
  maxMemoryMiB: number | null
  /** Threads: for one model they share its states out, for all of them each checks a model at a time. Null: one, or as many as there are cores. */
  workers: number | null
  /** In place of an exhaustive search. */
  beyond: { do: 'bitstate'; mebibytes: number } | { do: 'walks'; walks: number; steps: number; seed: number } | null
}

/** Long enough for what the models of the product do, when nothing else is said. */
const defaultSteps = 1_000
/** More threads than machines that people have has cores. */
const mostWorkers = 64

export function parseCheck(args: readonly string[]): { verb: 'check' } & CheckCommand {
  const { values, positionals } = parseWords(args, {
    json: { type: 'boolean' },
    full: { type: 'boolean' },
    mutate: { type: 'boolean' },
    trace: { type: 'string' },
    export: { type: 'string' },
    conform: { type: 'string' },
    reduce: { type: 'string' },
    'depth-first': { type: 'boolean' },
    'max-states': { type: 'string' },
    'max-memory': { type: 'string' },
    workers: { type: 'string' },
    bitstate: { type: 'string' },
    walks: { type: 'string' },
    steps: { type: 'string' },
    seed: { type: 'string' },
  })
  if (positionals.length > 1) throw new UsageError('check takes at most one name.')
  const trace = traceForms.find((form) => form === (values.trace ?? 'text'))
  if (!trace) throw new UsageError(`--trace is one of: ${traceForms.join(', ')}.`)
  const form = values.export === undefined ? null : exportForms.find((known) => known === values.export)
  if (form === undefined) throw new UsageError(`--export is one of: ${exportForms.join(', ')}.`)
  const [bits, walks] = [whole('bitstate', values.bitstate, 4_096), whole('walks', values.walks)]
  if (bits !== null && walks !== null) throw new UsageError('--bitstate and --walks are two ways to search: take one.')
  if (walks === null && (values.steps !== undefined || values.seed !== undefined))
    throw new UsageError('--steps and --seed go with --walks.')
  const workers = whole('workers', values.workers, mostWorkers)
  if (workers !== null && workers > 1 && positionals.length > 0) {
    const other = ['reduce', 'depth-first', 'export', 'bitstate', 'walks', 'conform'].find((word) => word in values)
    if (other) throw new UsageError(`check NAME --workers searches exhaustively, level by level: it does not go with --${other}.`)
  }
  return {
    verb: 'check',
    name: positionals[0] ?? null,
    json: values.json === true,
    full: values.full === true,
    mutate: values.mutate === true,
    trace,
    export: form,
    conform: values.conform ?? null,
    reduce: values.reduce === undefined ? [] : values.reduce.split(',').map(reduction),
    depthFirst: values['depth-first'] === true,
    maxStates: whole('max-states', values['max-states']),
    maxMemoryMiB: whole('max-memory', values['max-memory']),
    workers,
    beyond:
      bits !== null
        ? { do: 'bitstate', mebibytes: bits }
        : walks !== null
          ? { do: 'walks', walks, steps: whole('steps', values.steps) ?? defaultSteps, seed: whole('seed', values.seed) ?? 1 }
          : null,
  }
}

function reduction(word: string): Reduction {
  const found = reductions.find((known) => known === word)
  if (!found) throw new UsageError(`--reduce is one or both of: ${reductions.join(', ')}.`)
  return found
}

function whole(name: string, text: string | undefined, most = Number.MAX_SAFE_INTEGER): number | null {
  if (text === undefined) return null
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > most)
    throw new UsageError(`--${name} takes a whole number from 1${most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`}.`)
  return value
}

/** Highest port there is. */
const lastPort = 65_535

export function parseExplore(args: readonly string[]): { verb: 'explore'; name: string; port: number } {
  const { values, positionals } = parseWords(args, { port: { type: 'string' } })
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0) throw new UsageError('explore takes one actor or system: bulkhead explore vm-supervisor')
  const port = Number(values.port ?? 0)
  if (!Number.isInteger(port) || port < 0 || port > lastPort) throw new UsageError(`--port takes a number from 0 to ${lastPort}.`)
  return { verb: 'explore', name, port }
}
