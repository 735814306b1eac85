/** `bulkhead egress …` on the command line. */
import { parseWords, UsageError } from './args.ts'

const egressModes = ['none', 'packages', 'list', 'all'] as const
type EgressMode = (typeof egressModes)[number]

type About = { session: string | null; json: boolean }
export type EgressCommand = { verb: 'egress' } & About &
  (
    | { action: 'show' }
    | { action: 'mode'; mode: EgressMode | null }
    | { action: 'allow' | 'deny' | 'forget'; pattern: string }
    | { action: 'request'; rule: { host: string; methods: string[]; path: string } }
    | { action: 'log'; count: number }
    | { action: 'explain'; url: string }
  )

/** Lines shown when no number is given: a screenful. */
const usualCount = 40

export function parseEgress(rest: readonly string[]): EgressCommand {
  const { values, positionals } = parseWords(rest, {
    json: { type: 'boolean' },
    session: { type: 'string' },
    count: { type: 'string' },
    path: { type: 'string' },
    method: { type: 'string' },
  })
  const [action, argument, ...more] = positionals
  const about: About & { verb: 'egress' } = { verb: 'egress', session: values.session ?? null, json: values.json === true }
  if (more.length > 0) throw new UsageError(`egress ${action} takes one argument.`)
  if (values.count !== undefined && action !== 'log') throw new UsageError('--count goes with egress log.')
  if ((values.path ?? values.method) !== undefined && action !== 'request')
    throw new UsageError('--path and --method go with egress request.')
  switch (action) {
    case 'request': {
      const { path } = values
      const methods = values.method?.toUpperCase().split(',') ?? []
      if (argument === undefined || argument.includes('/') || path === undefined || !path.startsWith('/') || about.session !== null)
        throw new UsageError('egress request takes a host and a path, for every session: egress request api.example.com --path "/v1/**".')
      if (methods.some((method) => !/^[A-Z]{1,20}$/.test(method))) throw new UsageError('--method takes names such as GET,POST.')
      return { ...about, action, rule: { host: argument, methods, path } }
    }
    case 'show':
      if (argument !== undefined) throw new UsageError('egress show takes no argument.')
      return { ...about, action }
    case 'log': {
      const count = Number(values.count ?? usualCount)
      if (argument !== undefined) throw new UsageError('egress log takes no argument but --session, --count and --json.')
      if (!Number.isInteger(count) || count < 1 || count > 2_000) throw new UsageError('--count is a whole number from 1 to 2000.')
      return { ...about, action, count }
    }
    case 'mode': {
      if (argument === 'default' && about.session !== null) return { ...about, action, mode: null }
      const mode = egressModes.find((name) => name === argument)
      if (!mode) throw new UsageError(`egress mode takes one of: ${egressModes.join(', ')}; with --session also default.`)
      return { ...about, action, mode }
    }
    case 'allow':
    case 'deny':
    case 'forget':
      if (argument === undefined || argument.includes('/'))
        throw new UsageError(`egress ${action} takes a host, not a URL: example.com, *.example.com, example.com:8443.`)
      return { ...about, action, pattern: argument }
    case 'explain':
      if (argument === undefined) throw new UsageError('egress explain takes a URL: https://example.com/.')
      return { ...about, action, url: argument.includes('://') ? argument : `https://${argument}/` }
    default:
      throw new UsageError('egress takes one of: show, mode, allow, deny, request, forget, log, explain.')
  }
}
