/**
 * What may be asked of a host, by method and path. A host with such rules is read: a request goes only if one of them fits, and TLS to it is
 * opened here. Pure. A host without any is decided about as a whole.
 */
import { RE2JS } from 're2js'
import { z } from 'zod'
import { parsePattern } from './host-grammar.ts'
import { limits } from './limits.ts'
import { compileRules, type HostTarget } from './rule-set.ts'

export const requestRule = z.strictObject({
  /** A host pattern. One that is none must not be passed over: without its rule the host would be open. */
  host: z
    .string()
    .max(limits.patternChars)
    .refine((host) => parsePattern(host).ok, 'not a host pattern'),
  /** In capitals; empty: any. */
  methods: z.array(z.string().regex(/^[A-Z]{1,20}$/)).max(20),
  /** `*` is anything up to the next `/`, `**` anything. Without the query. */
  path: z
    .string()
    .max(limits.requestPathChars)
    .regex(/^\/[\x21-\x22\x24-\x3e\x40-\x7e]*$/),
})
export type RequestRule = z.infer<typeof requestRule>
export type Asked = { method: string; path: string }

export type RequestRules = {
  warnings: readonly string[]
  /** Whether requests to it are read. */
  cover(target: HostTarget): boolean
  /** The rule that lets it through; null when the host has rules and none fits. */
  find(target: HostTarget, asked: Asked): RequestRule | null
}

type Compiled = { rule: RequestRule; fits: (path: string) => boolean }

export function compileRequestRules(rules: readonly RequestRule[]): RequestRules {
  const byHost = new Map<string, Compiled[]>()
  for (const rule of rules) byHost.set(rule.host, [...(byHost.get(rule.host) ?? []), { rule, fits: pathMatcher(rule.path) }])
  const hosts = compileRules([...byHost.keys()], 'request rule')
  const of = (target: HostTarget): readonly Compiled[] => {
    const found = hosts.find(target)
    return found === null ? [] : (byHost.get(found.source) ?? [])
  }
  return {
    warnings: hosts.warnings,
    cover: (target) => hosts.find(target) !== null,
    find(target, { method, path }) {
      const [bare = ''] = path.split('?')
      if (!isPlainPath(bare)) return null
      const fitting = of(target).find(({ rule, fits }) => (rule.methods.length === 0 || rule.methods.includes(method)) && fits(bare))
      return fitting?.rule ?? null
    },
  }
}

/** One that every server reads in the same way: no dot segments, no empty ones, no escaped slash, dot or backslash. */
function isPlainPath(path: string): boolean {
  return path.startsWith('/') && !/\\|\/\/|%(2e|2f|5c|00)|\/\.{1,2}(\/|;|$)/i.test(path)
}

/** In the time of the path's length, whatever the pattern: the path is a stranger's. */
function pathMatcher(pattern: string): (path: string) => boolean {
  const source = pattern.split(/(\*+)/).map((piece) => (piece === '*' ? '[^/]*' : piece.startsWith('*') ? '.*' : RE2JS.quote(piece)))
  const compiled = RE2JS.compile(source.join(''), RE2JS.DOTALL)
  return (path) => compiled.matches(path)
}

export function requestRuleText({ host, methods, path }: RequestRule): string {
  return `${methods.length === 0 ? 'any method' : methods.join(',')} ${host}${path}`
}

/** One spelling in the file and in what is told. Null: its host is no pattern. */
export function canonicalRequestRule(rule: RequestRule): RequestRule | null {
  const parsed = parsePattern(rule.host)
  if (!parsed.ok) return null
  const { wildcard, host, port } = parsed.value
  return {
    ...rule,
    host: `${wildcard ? '*.' : ''}${host}${port === null ? '' : `:${port}`}`,
    methods: [...new Set(rule.methods)].toSorted(),
  }
}
