/** `bulkhead secret …` on the command line. A value is no argument: every process could read it there. */
import { parseAuthority } from '../actors/egress/host-grammar.ts'
import { placePatterns } from '../actors/egress/place-patterns.ts'
import type { SecretPlace } from '../actors/egress/vault-format.ts'
import { parseWords, UsageError } from './args.ts'

export type SecretCommand = { verb: 'secret'; json: boolean } & (
  | { action: 'set'; name: string; host: string; port: number; place: SecretPlace }
  | { action: 'list' }
  | { action: 'remove'; name: string }
)

export function parseSecret(rest: readonly string[]): SecretCommand {
  const { values, positionals } = parseWords(rest, {
    json: { type: 'boolean' },
    host: { type: 'string' },
    header: { type: 'string' },
    prefix: { type: 'string' },
    basic: { type: 'string' },
    query: { type: 'string' },
  })
  const [action, name, ...more] = positionals
  const about = { verb: 'secret', json: values.json === true } as const
  if (more.length > 0) throw new UsageError('The value is not an argument: it is read from standard input, or asked for in a terminal.')
  if (action === 'list' && name === undefined) return { ...about, action }
  if (name === undefined || !/^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(name))
    throw new UsageError('It is one of: secret set NAME --host HOST, secret list, secret remove NAME. A name has letters, digits, _ and -.')
  if (action === 'remove') return { ...about, action, name }
  if (action !== 'set') throw new UsageError('secret takes one of: set, list, remove.')
  const host = parseAuthority(values.host ?? '')
  if (!host.ok) throw new UsageError(`--host takes the one host it belongs to, with an optional port: ${host.why}.`)
  const places = [values.header, values.basic, values.query].filter((place) => place !== undefined)
  if (places.length > 1) throw new UsageError('A secret has one place: --header, --basic or --query.')
  if (values.prefix !== undefined && (values.basic ?? values.query) !== undefined) throw new UsageError('--prefix goes with --header.')
  const place = placeOf(values)
  if (!place) throw new UsageError('--header and --query take the name of a field, --basic a user name without a colon.')
  return { ...about, action, name, host: host.value.host, port: host.value.port ?? 443, place }
}

function placeOf({
  basic,
  query,
  header,
  prefix,
}: {
  basic?: string
  query?: string
  header?: string
  prefix?: string
}): SecretPlace | null {
  if (basic !== undefined) return placePatterns.user.test(basic) ? { in: 'basic', user: basic } : null
  if (query !== undefined) return placePatterns.query.test(query) ? { in: 'query', name: query } : null
  const place = { in: 'header', name: header ?? 'authorization', prefix: prefix ?? (header === undefined ? 'Bearer ' : '') } as const
  return placePatterns.header.test(place.name) && placePatterns.prefix.test(place.prefix) ? place : null
}
