/** The member's egress rules: how one changes them, and how they are kept. Pure; `rules-file.ts` reads and writes them. */
import { z } from 'zod'
import { type Fault, fault } from '../../kernel/index.ts'
import { modes, noRules, type MemberRules, type SessionRules } from './egress-policy.ts'
import { parsePattern } from './host-grammar.ts'
import { limits } from './limits.ts'
import { canonicalRequestRule, requestRule } from './request-rules.ts'

export const mode = z.enum(modes)
const pattern = z.string().min(1).max(limits.patternChars)
const patterns = z.array(pattern).max(limits.rules)
export const sessionName = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/i)

export const keptRules = z.strictObject({
  version: z.literal(1),
  member: z.strictObject({ mode, allow: patterns, deny: patterns, requests: z.array(requestRule).max(limits.requestRules).optional() }),
  sessions: z.record(sessionName, z.strictObject({ mode: mode.nullable(), deny: patterns })),
})
export type Rules = { member: MemberRules; sessions: Readonly<Record<string, SessionRules>> }

export const ruleChange = z.discriminatedUnion('change', [
  /** Takes the place of the mode there was. Null, of a session: the device's again. */
  z.strictObject({ change: z.literal('mode'), mode: mode.nullable() }),
  /** For the device only: a session's allowed hosts are grants, which consent keeps. */
  z.strictObject({ change: z.literal('allow'), pattern }),
  z.strictObject({ change: z.literal('deny'), pattern }),
  /** For the device only: from now on only such requests go to the host. */
  z.strictObject({ change: z.literal('request'), rule: requestRule }),
  /** Takes a pattern off both lists, and its request rules with it. */
  z.strictObject({ change: z.literal('forget'), pattern }),
])
export type RuleChange = z.infer<typeof ruleChange>

export const startRules: Rules = { member: noRules, sessions: {} }
/** What holds while what the member decided cannot be read. */
export const closedRules: Rules = { member: { mode: 'none', allow: [], deny: [] }, sessions: {} }

export function changeRules(
  rules: Rules,
  change: RuleChange,
  session: string | null,
): { ok: true; rules: Rules } | { ok: false; error: Fault } {
  const no = (message: string, cause?: string) =>
    ({ ok: false, error: fault('bad-settings', message, cause === undefined ? {} : { cause }) }) as const
  if (change.change === 'mode') {
    if (session !== null) return ownRules(rules, session, (own) => ({ ...own, mode: change.mode }))
    if (change.mode === null) return no('The device needs a mode.')
    return { ok: true, rules: { ...rules, member: { ...rules.member, mode: change.mode } } }
  }
  if (change.change === 'request') {
    const rule = canonicalRequestRule(change.rule)
    if (session !== null) return no('Request rules are for the device.')
    if (rule === null) return no(`${JSON.stringify(change.rule.host)} is not a host pattern.`)
    const before = (rules.member.requests ?? []).filter((one) => JSON.stringify(one) !== JSON.stringify(rule))
    if (before.length >= limits.requestRules) return tooMany(limits.requestRules, 'request rules')
    return { ok: true, rules: { ...rules, member: { ...rules.member, requests: [...before, rule] } } }
  }
  const entry = canonicalPattern(change.pattern)
  if (entry === null) {
    const parsed = parsePattern(change.pattern)
    return no(`${JSON.stringify(change.pattern)} is not a host pattern.`, parsed.ok ? undefined : `${parsed.why}.`)
  }
  if (session !== null) {
    if (change.change === 'allow') return no('A host allowed for one session is a grant of that session.')
    return ownRules(rules, session, (own) => ({ ...own, deny: edited(own.deny, entry, change.change === 'deny') }))
  }
  const { requests = [], ...member } = rules.member
  const kept = change.change === 'forget' ? requests.filter(({ host }) => host !== entry) : requests
  const next = {
    ...member,
    ...(kept.length > 0 ? { requests: kept } : {}),
    allow: edited(member.allow, entry, change.change === 'allow'),
    deny: edited(member.deny, entry, change.change === 'deny'),
  }
  if (next.allow.length > limits.rules || next.deny.length > limits.rules) return tooMany(limits.rules, 'rules')
  return { ok: true, rules: { ...rules, member: next } }
}

/** One spelling in the file and in every rule that is told. */
function canonicalPattern(text: string): string | null {
  const parsed = parsePattern(text)
  if (!parsed.ok) return null
  const { wildcard, host, port } = parsed.value
  return `${wildcard ? '*.' : ''}${host}${port === null ? '' : `:${port}`}`
}

function edited(list: readonly string[], entry: string, listed: boolean): readonly string[] {
  const others = list.filter((one) => one !== entry)
  return listed ? [...others, entry] : others
}

function ownRules(rules: Rules, session: string, edit: (own: SessionRules) => SessionRules): ReturnType<typeof changeRules> {
  const own = edit(rules.sessions[session] ?? { mode: null, deny: [] })
  const { [session]: _, ...others } = rules.sessions
  if (own.mode === null && own.deny.length === 0) return { ok: true, rules: { ...rules, sessions: others } }
  if (own.deny.length > limits.rules) return tooMany(limits.rules, 'rules')
  // Dropping the oldest would allow again what was denied.
  if (Object.keys(others).length >= limits.sessionsWithRules) return tooMany(limits.sessionsWithRules, 'sessions with rules of their own')
  return { ok: true, rules: { ...rules, sessions: { ...others, [session]: own } } }
}

function tooMany(most: number, what: string): { ok: false; error: Fault } {
  return { ok: false, error: fault('overloaded', `There are ${most} ${what} already.`, { remedy: 'Forget some: `bulkhead egress show`.' }) }
}
