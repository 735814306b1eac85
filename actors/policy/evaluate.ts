/**
 * Sources to effective values, with who decided each and what was wrong. Pure.
 *
 *   a managed source cannot be trusted or read -> nothing applies: no managed value, and local settings are off
 *   a managed source is there                  -> it wins as a whole; local settings are not looked at
 *   none is there                              -> local settings
 *
 * Of several managed sources the first that has a key decides it (macOS: the user's profile before the device's), but on Windows the
 * machine's policy hides the user's altogether. A key that is wrong is named and ignored alone.
 */
import { z } from 'zod'
import { canonicalPattern } from './host-pattern.ts'
import { folderPath, type Variables } from './folder-path.ts'
import { defaults, folderEntrySchema, given, type Key, keyNames, managedServer, renamed, type Values } from './keys.ts'
import { maxNamed, maxQuoted } from './limits.ts'
import { isManaged, type Source, sourceTitle } from './sources.ts'

export type Problem = {
  /** `null`: it concerns the whole source. */
  key: string | null
  /** Who said it. */
  source: string
  message: string
}
export type Effective = {
  values: Values
  /** Who decided each key: `managed settings, /etc/…`, or `default`. */
  decidedBy: Record<Key, string>
  problems: Problem[]
  /** Managed sources are there but cannot be used. */
  failedClosed: boolean
}

export function evaluate(sources: readonly Source[], variables: Variables): Effective {
  const managed = sources.filter(isManaged)
  const unreadable = managed.filter(({ state }) => state === 'unreadable')
  const problems = sources.flatMap(({ state, why, ...source }): Problem[] =>
    state === 'unreadable' ? [{ key: null, source: sourceTitle(source), message: `It is not used: ${why ?? 'it cannot be read'}.` }] : [],
  )
  const result: Effective = {
    values: { ...defaults },
    decidedBy: Object.fromEntries(keyNames.map((key) => [key, 'default'])) as Record<Key, string>,
    problems,
    failedClosed: unreadable.length > 0,
  }
  if (result.failedClosed) {
    problems.push({
      key: null,
      source: 'policy',
      message: 'Managed policy is there but cannot be used, so nothing applies and local settings are off.',
    })
    return result
  }
  for (const source of inForce(sources)) {
    const read = readValues(source.values ?? {}, sourceTitle(source), variables)
    problems.push(...read.problems)
    for (const key of keyNames) {
      if (result.decidedBy[key] !== 'default' || !(key in read.values)) continue
      Object.assign(result.values, { [key]: read.values[key] })
      result.decidedBy[key] = sourceTitle(source)
    }
  }
  return result
}

/** Sources that count, the strongest first. */
function inForce(sources: readonly Source[]): Source[] {
  const present = sources.filter(({ state }) => state === 'present')
  const managed = present.filter(isManaged)
  const machine = managed.some(({ kind }) => kind === 'machine-registry')
  if (managed.length > 0) return managed.filter(({ kind }) => !(machine && kind === 'user-registry'))
  return present
}

type Read = { values: Partial<Values>; problems: Problem[] }

/** What one source says, key by key. */
export function readValues(raw: Readonly<Record<string, unknown>>, source: string, variables: Variables): Read {
  const values: Partial<Values> = {}
  const problems: Problem[] = []
  for (const [name, value] of Object.entries(raw)) {
    const key = keyOf(name)
    const tell = (message: string) => problems.push({ key: name, source, message })
    if (key === null) {
      tell(unknownKey(name))
      continue
    }
    if (key !== name && Object.hasOwn(raw, key)) {
      tell(`It is ignored: it is the earlier name of ${key}, which is set as well.`)
      continue
    }
    const parsed = decode(given[key], value)
    if (!parsed.ok) tell(`It is ignored: ${parsed.why}.`)
    else Object.assign(values, { [key]: settle(key, parsed.value, variables, tell) })
  }
  return { values, problems }
}

export function keyOf(name: string): Key | null {
  if (Object.hasOwn(defaults, name)) return name as Key
  return Object.hasOwn(renamed, name) ? (renamed[name] ?? null) : null
}

function unknownKey(name: string): string {
  const near = keyNames.find((key) => key.toLowerCase() === name.toLowerCase())
  return near ? `It is ignored: there is no such key. Did you mean ${near}?` : 'It is ignored: there is no such key.'
}

/** Native values as they are; texts may also hold the value as JSON, and registries and old profiles say 0 and 1. */
function decode(schema: z.ZodType, value: unknown): { ok: true; value: unknown } | { ok: false; why: string } {
  const candidates = [value, ...(typeof value === 'string' ? fromJson(value) : []), ...(value === 0 || value === 1 ? [value === 1] : [])]
  for (const candidate of candidates) {
    const parsed = schema.safeParse(candidate)
    if (parsed.success) return { ok: true, value: parsed.data }
  }
  const issue = schema.safeParse(candidates[1] ?? value).error?.issues[0]
  const where = issue && issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ` : ''
  return { ok: false, why: `${where}${issue?.message ?? 'it has the wrong type'}` }
}

function fromJson(text: string): unknown[] {
  try {
    return [JSON.parse(text) as unknown]
  } catch {
    return []
  }
}

/** Lists entry by entry: what is wrong is named and dropped, which never allows more than the list said. */
function settle(key: Key, value: unknown, variables: Variables, tell: (message: string) => void): unknown {
  switch (key) {
    case 'allowedWorkspaceFolders':
      return entries(value as unknown[], tell, (entry) => {
        const parsed = folderEntrySchema.safeParse(entry)
        if (!parsed.success) return { why: 'it is neither a path nor {path, mode, isDefaultSelected}' }
        const { path: text, mode = 'rw', isDefaultSelected = false } = typeof parsed.data === 'string' ? { path: parsed.data } : parsed.data
        const full = folderPath(text, variables)
        return 'why' in full ? full : { value: { path: full.path, mode, isDefaultSelected } }
      })
    case 'coworkEgressAllowedHosts':
      return entries(value as unknown[], tell, (entry) => {
        const pattern = typeof entry === 'string' ? canonicalPattern(entry) : { why: 'it is not a text' }
        return 'why' in pattern ? pattern : { value: pattern.pattern }
      })
    case 'managedMcpServers':
      return entries(value as unknown[], tell, (entry) => {
        const parsed = managedServer.safeParse(entry)
        return parsed.success
          ? { value: parsed.data }
          : { why: `${parsed.error.issues[0]?.path.join('.') ?? ''}: ${parsed.error.issues[0]?.message ?? 'wrong'}` }
      })
    case 'allowedThirdPartyActors':
      return entries(value as unknown[], tell, (entry) =>
        typeof entry === 'string' && /^[a-z][a-z0-9-]{1,39}(@[0-9a-f]{64})?$/.test(entry)
          ? { value: entry }
          : { why: 'it is neither NAME nor NAME@HASH' },
      )
    case 'builtinToolPolicy':
      return toolRules(value as Record<string, string>, tell)
    case 'otlpProtocol':
      return value === 'grpc' ? 'http/protobuf' : value
    default:
      return value
  }
}

function entries<T>(
  list: readonly unknown[],
  tell: (message: string) => void,
  read: (entry: unknown) => { value: T } | { why: string },
): T[] {
  let wrong = 0
  const kept = list.flatMap((entry) => {
    const outcome = read(entry)
    if ('value' in outcome) return [outcome.value]
    if (++wrong <= maxNamed) tell(`Entry ${quoted(entry)} is dropped: ${outcome.why}.`)
    return []
  })
  if (wrong > maxNamed) tell(`${wrong - maxNamed} more entries are dropped.`)
  return kept
}

/** Rules by tool; the strictest wins where several name the same one. */
function toolRules(rules: Readonly<Record<string, string>>, tell: (message: string) => void): Record<string, 'allow' | 'ask' | 'blocked'> {
  const order = ['allow', 'ask', 'blocked'] as const
  const settled: Record<string, (typeof order)[number]> = {}
  for (const [name, said] of Object.entries(rules)) {
    const [, tool = name, scoped] = /^([^()]+)(\(.*\))?$/s.exec(name) ?? []
    const rule = said === 'ask-session' ? 'ask' : (said as (typeof order)[number])
    if (scoped !== undefined && rule === 'allow')
      tell(`Entry ${quoted(name)} is dropped: rules for some arguments are not known yet, and this one would allow.`)
    if (scoped !== undefined && rule !== 'allow')
      tell(`Entry ${quoted(name)} holds for all of ${tool}: rules for some arguments are not known yet.`)
    if (scoped !== undefined && rule === 'allow') continue
    const known = Object.hasOwn(settled, tool) ? settled[tool] : undefined
    if (known === undefined || order.indexOf(rule) > order.indexOf(known)) settled[tool] = rule
  }
  return settled
}

function quoted(value: unknown): string {
  const text =
    typeof value === 'string'
      ? value
      : typeof value === 'object' && value !== null && 'name' in value
        ? String(value.name)
        : JSON.stringify(value)
  return JSON.stringify(text.slice(0, maxQuoted))
}
