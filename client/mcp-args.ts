/** `bulkhead mcp …` and `bulkhead extension …`, parsed. */
import { resolve } from 'node:path'
import { parseFolder, parseWords, UsageError, type Folder } from './args.ts'

export type McpCommand =
  | { verb: 'mcp'; action: 'list'; json: boolean }
  | {
      verb: 'mcp'
      action: 'add'
      json: boolean
      server: { name: string; command: string; args: string[]; env: Record<string, string>; network: boolean; folders: Folder[] }
    }
  | { verb: 'mcp'; action: 'remove' | 'restart' | 'approve'; json: boolean; name: string }
  | { verb: 'mcp'; action: 'tool-mode'; json: boolean; tool: string; mode: 'allow' | 'ask' | 'blocked' }
  | { verb: 'extension'; action: 'list'; json: boolean }
  | { verb: 'extension'; action: 'install'; json: boolean; file: string; config: Record<string, string | string[]>; network: boolean }
  | { verb: 'extension'; action: 'remove'; json: boolean; id: string }

const options = {
  json: { type: 'boolean' },
  network: { type: 'boolean' },
  env: { type: 'string', multiple: true },
  folder: { type: 'string', multiple: true },
  config: { type: 'string', multiple: true },
} as const

const modes = { allow: 'allow', ask: 'ask', block: 'blocked' } as const

export function parseMcp(verb: 'mcp' | 'extension', words: readonly string[]): McpCommand {
  const { values, positionals } = parseWords(words, options)
  const [action = '', ...rest] = positionals
  const json = values.json === true
  const network = values.network === true
  const only = (what: string): string => {
    const [one, ...more] = rest
    if (one === undefined || more.length > 0) throw new UsageError(`${verb} ${action} takes ${what}.`)
    return one
  }
  if (action === 'list') {
    if (rest.length > 0) throw new UsageError(`${verb} list takes no argument but --json.`)
    return { verb, action, json }
  }
  if (verb === 'extension') {
    if (action === 'install')
      return { verb, action, json, file: resolve(only('a file')), config: pairs(values.config ?? [], '--config'), network }
    if (action === 'remove') return { verb, action, json, id: only('the name of an extension') }
    throw new UsageError('extension takes one of: install FILE, list, remove NAME.')
  }
  switch (action) {
    case 'add': {
      const [name, command, ...args] = rest
      if (name === undefined || command === undefined)
        throw new UsageError('mcp add needs a name and a command: bulkhead mcp add NAME -- COMMAND [ARGUMENT]…')
      const env = Object.fromEntries(
        Object.entries(pairs(values.env ?? [], '--env')).map(([key, value]) => [key, Array.isArray(value) ? (value.at(-1) ?? '') : value]),
      )
      return {
        verb,
        action,
        json,
        server: { name, command: here(command), args: args.map(here), env, network, folders: (values.folder ?? []).map(parseFolder) },
      }
    }
    case 'remove':
    case 'restart':
    case 'approve':
      return { verb, action, json, name: only('the name of a server') }
    case 'allow':
    case 'ask':
    case 'block':
      return { verb, action: 'tool-mode', json, tool: only('the name of a tool'), mode: modes[action] }
    default:
      throw new UsageError('mcp takes one of: list, add NAME -- COMMAND…, remove NAME, restart NAME, approve NAME, allow|ask|block TOOL.')
  }
}

/** A server does not start where the member stands now. */
function here(word: string): string {
  return /^\.{1,2}(?:\/|$)/.test(word) ? resolve(word) : word
}

/** `KEY=VALUE`; a key given more than once has all its values. */
function pairs(words: readonly string[], option: string): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = {}
  for (const word of words) {
    const [, key, value] = /^([\w.-]+)=(.*)$/s.exec(word) ?? []
    if (key === undefined || value === undefined) throw new UsageError(`${option} takes KEY=VALUE.`)
    const before = found[key]
    found[key] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]
  }
  return found
}
