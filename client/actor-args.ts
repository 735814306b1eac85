/** `bulkhead actor …`, parsed. */
import { resolve } from 'node:path'
import { parseWords, UsageError } from './args.ts'

export type ActorCommand =
  | { verb: 'actor'; action: 'list'; json: boolean }
  | { verb: 'actor'; action: 'add'; json: boolean; folder: string; yes: boolean }
  | { verb: 'actor'; action: 'allow'; json: boolean; name: string; yes: boolean }
  | { verb: 'actor'; action: 'remove' | 'grants'; json: boolean; name: string }

export function parseActor(words: readonly string[]): ActorCommand {
  const { values, positionals } = parseWords(words, { json: { type: 'boolean' }, yes: { type: 'boolean', short: 'y' } })
  const [action = '', ...rest] = positionals
  const json = values.json === true
  const yes = values.yes === true
  const [one, ...more] = rest
  if (yes && action !== 'add' && action !== 'allow') throw new UsageError('--yes belongs to actor add and actor allow.')
  if (action === 'list') {
    if (one !== undefined) throw new UsageError('actor list takes no argument but --json.')
    return { verb: 'actor', action, json }
  }
  const named = (what: string): string => {
    if (one === undefined || more.length > 0) throw new UsageError(`actor ${action} takes ${what}.`)
    return one
  }
  switch (action) {
    case 'add':
      return { verb: 'actor', action, json, folder: resolve(named('a folder')), yes }
    case 'allow':
      return { verb: 'actor', action, json, name: named('the name of an actor'), yes }
    case 'remove':
    case 'grants':
      return { verb: 'actor', action, json, name: named('the name of an actor') }
    default:
      throw new UsageError('actor takes one of: list, add FOLDER, allow NAME, grants NAME, remove NAME.')
  }
}
