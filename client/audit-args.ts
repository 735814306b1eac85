/** The words of `bulkhead audit`. Apart from what carries them out, so that parsing loads nothing of it. */
import { resolve } from 'node:path'
import type { ParseArgsConfig } from 'node:util'
import { parseWords, UsageError } from './args.ts'

const auditActions = ['verify', 'export', 'query'] as const
export type AuditCommand = {
  verb: 'audit'
  action: (typeof auditActions)[number]
  json: boolean
  /** Null: the one of this home. */
  dir: string | null
  /** What is known from elsewhere: an entry by number and hash, the fingerprint of the key. */
  expect: { link?: { n: number; hash: string }; key?: string }
  filter: { session?: string; action?: string; since?: string; until?: string }
}

const auditOptions = {
  dir: { type: 'string' },
  expect: { type: 'string' },
  key: { type: 'string' },
  session: { type: 'string' },
  action: { type: 'string' },
  since: { type: 'string' },
  until: { type: 'string' },
} as const satisfies ParseArgsConfig['options']

export function parseAudit(args: readonly string[]): AuditCommand {
  const { values, positionals } = parseWords(args, { ...auditOptions, json: { type: 'boolean' } })
  const action = auditActions.find((name) => name === positionals[0])
  if (!action || positionals.length > 1) throw new UsageError(`audit takes one of: ${auditActions.join(', ')}.`)
  const [, n, hash] = /^(\d+):([0-9a-f]{64})$/.exec(values.expect ?? '') ?? []
  if (values.expect !== undefined && hash === undefined)
    throw new UsageError('--expect takes an entry as `audit verify` prints it: N:HASH.')
  const time = (name: 'since' | 'until'): Record<string, string> => {
    const text = values[name]
    if (text === undefined) return {}
    if (Number.isNaN(Date.parse(text))) throw new UsageError(`--${name} takes a time: 2026-11-26 or 2026-11-26T12:00:00Z.`)
    return { [name]: new Date(text).toISOString() }
  }
  return {
    verb: 'audit',
    action,
    json: values.json === true,
    dir: values.dir === undefined ? null : resolve(values.dir),
    expect: { ...(hash === undefined ? {} : { link: { n: Number(n), hash } }), ...(values.key === undefined ? {} : { key: values.key }) },
    filter: {
      ...(values.session === undefined ? {} : { session: values.session }),
      ...(values.action === undefined ? {} : { action: values.action }),
      ...time('since'),
      ...time('until'),
    },
  }
}
