/** `bulkhead changes`, `undo` and `redo` on the command line. */
import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseWords, UsageError } from './args.ts'

export type HistoryCommand = {
  verb: 'changes' | 'undo' | 'redo'
  folder?: string
  session?: string
  turn?: string
  what?: string
  /** A change's id, or a time, epoch ms. */
  to?: string | number
  preview: boolean
  force: boolean
  json: boolean
}

const options = {
  changes: { folder: { type: 'string' }, session: { type: 'string' }, turn: { type: 'string' }, json: { type: 'boolean' } },
  undo: {
    folder: { type: 'string' },
    to: { type: 'string' },
    preview: { type: 'boolean' },
    force: { type: 'boolean' },
    json: { type: 'boolean' },
  },
  redo: { folder: { type: 'string' }, preview: { type: 'boolean' }, force: { type: 'boolean' }, json: { type: 'boolean' } },
} as const

export function parseHistory(verb: HistoryCommand['verb'], args: readonly string[]): HistoryCommand {
  const { values, positionals } = parseWords(args, options[verb]) as { values: Values; positionals: string[] }
  const [what, ...more] = positionals
  const { folder, session, turn, to } = values
  if (more.length > 0 || (what !== undefined && verb !== 'undo'))
    throw new UsageError(`${verb} does not take ${JSON.stringify(more[0] ?? what)}.`)
  if (verb === 'undo' && (what === undefined) === (to === undefined))
    throw new UsageError('undo takes a change, a call or a turn, as bulkhead changes shows them, or --to POINT.')
  return {
    verb,
    preview: values.preview === true,
    force: values.force === true,
    json: values.json === true,
    ...(what === undefined ? {} : { what }),
    ...(to === undefined ? {} : { to: pointOf(to) }),
    ...(folder === undefined ? {} : { folder: realFolder(folder) }),
    ...(session === undefined ? {} : { session }),
    ...(turn === undefined ? {} : { turn }),
  }
}

type Values = { folder?: string; session?: string; turn?: string; to?: string; preview?: boolean; force?: boolean; json?: boolean }

/** A change's id as it is; anything else must be a time JavaScript can read, such as 2026-11-26T09:30. */
function pointOf(text: string): string | number {
  if (/^[0-9a-f]+-\d+$/.test(text)) return text
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new UsageError(`--to takes a change's id or a time such as 2026-11-26T09:30, not ${JSON.stringify(text)}.`)
  return time
}

function realFolder(path: string): string {
  try {
    return realpathSync(resolve(path))
  } catch {
    // It may be gone; its changes are still known under this path.
    return resolve(path)
  }
}
