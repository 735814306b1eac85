/** The words of `bulkhead check`. */
import { parseWords, UsageError } from './args.ts'

const traceForms = ['text', 'mermaid', 'itf', 'test'] as const
const exportForms = ['promela', 'tla'] as const
export type CheckCommand = {
  name: string | null
  json: boolean
  full: boolean
  mutate: boolean
  trace: (typeof traceForms)[number]
  export: (typeof exportForms)[number] | null
  /** A session to compare with the models, in place of a search. */
  conform: string | null
}

export function parseCheck(args: readonly string[]): { verb: 'check' } & CheckCommand {
  const { values, positionals } = parseWords(args, {
    json: { type: 'boolean' },
    full: { type: 'boolean' },
    mutate: { type: 'boolean' },
    trace: { type: 'string' },
    export: { type: 'string' },
    conform: { type: 'string' },
  })
  if (positionals.length > 1) throw new UsageError('check takes at most one name.')
  const trace = traceForms.find((form) => form === (values.trace ?? 'text'))
  if (!trace) throw new UsageError(`--trace is one of: ${traceForms.join(', ')}.`)
  const form = values.export === undefined ? null : exportForms.find((known) => known === values.export)
  if (form === undefined) throw new UsageError(`--export is one of: ${exportForms.join(', ')}.`)
  return {
    verb: 'check',
    name: positionals[0] ?? null,
    json: values.json === true,
    full: values.full === true,
    mutate: values.mutate === true,
    trace,
    export: form,
    conform: values.conform ?? null,
  }
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
