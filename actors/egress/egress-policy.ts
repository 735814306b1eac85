/**
 * The one decision about a host, for the web, the workspace and everything else that goes out. Pure: the same inputs, the same verdict,
 * for those that ask and for those that only want it explained.
 *
 * First match decides:
 *
 *   1  mode none                       deny     nothing, whatever else is said
 *   2  managed list, host not on it    deny
 *   3  denied, by member or session    deny     beats every allow
 *   4  mode packages, no registry      deny
 *   5  capability names it             allow    a pattern, `*`, `@packages`
 *   6  capability has `@member`        allow    what the member's rules allow: mode all, a listed host, mode packages' registries
 *   7  capability has `?`              ask      the member, once
 *   8                                  deny
 *
 * The capability is the bearer's own and can only be narrowed on its way to a sub-agent or a tool server, so that each may hold less than
 * its session. Denials are kept here, outside capabilities, where no narrowing can lose them.
 */
import type { ManagedProxy } from './proxy-settings.ts'
import { compileRules, type HostTarget, type RuleSet } from './rule-set.ts'
import { limits } from './limits.ts'
import type { Registry } from './registries.ts'
import { type Asked, compileRequestRules, type RequestRule, requestRuleText } from './request-rules.ts'

/**
 * `none`: nothing. `packages`: the registries this machine's package managers are configured for, nothing else. `list`: what is listed,
 * and what the member says when asked. `all`: every public host that is not denied.
 */
export const modes = ['none', 'packages', 'list', 'all'] as const
export type Mode = (typeof modes)[number]

/** What the member decided for the whole device. */
export type MemberRules = {
  mode: Mode
  allow: readonly string[]
  deny: readonly string[]
  /** What may be asked of a host. It narrows what the rest allows, for every session. */
  requests?: readonly RequestRule[] | undefined
}
/** What the member decided for one session besides; its allowed hosts are in its capability. A null mode is the device's. */
export type SessionRules = { mode: Mode | null; deny: readonly string[] }
export type ManagedRules = {
  /** `coworkEgressAllowedHosts`: null does not restrict, an empty list allows nothing. */
  hosts: readonly string[] | null
  decidedBy: string
  /** Managed policy cannot be used: the member's own rules then widen nothing. */
  failedClosed: boolean
  /** How what is allowed goes out: no part of any decision. */
  proxy?: ManagedProxy
}
export type PolicyInputs = {
  member: MemberRules
  sessions: Readonly<Record<string, SessionRules>>
  managed: ManagedRules
  registries: readonly Registry[]
}

/** Who asks: the session stamped on the message and the hosts of the capability it came on. */
export type Bearer = { session: string | null; hosts: readonly string[] }
export type Verdict = { verdict: 'allow' | 'deny' | 'ask'; rule: string; reason: string }

export type EgressPolicy = {
  warnings: readonly string[]
  /** Prepares the decisions of one bearer; keep it for as long as the request runs, and make a new one when policy changes. */
  bearer(bearer: Bearer): BearerPolicy
}
export type BearerPolicy = {
  decide(target: HostTarget): Verdict
  /** Whether requests to it have to be read one by one. */
  reads(target: HostTarget): boolean
  /**
   * Which hosts' pages a search may bring: those that could be reached, with a question or without. `allow` null: any that `deny` does not
   * name. Patterns; `decide` has the last word about each.
   */
  scope(): { verdict: 'allow' | 'deny'; rule: string; reason: string; allow: readonly string[] | null; deny: readonly string[] }
  /** About one request to a host that is allowed. */
  judge(target: HostTarget, asked: Asked): Verdict
}

/** In a capability's `hosts`, beside patterns. None of them is a pattern: a host has no such characters. */
const tokens = { all: '*', packages: '@packages', member: '@member', ask: '?' } as const

export const noRules: MemberRules = { mode: 'list', allow: [], deny: [] }

type Labelled = { label: string; rules: RuleSet }

export function compileEgressPolicy({ member, sessions, managed, registries }: PolicyInputs): EgressPolicy {
  const asking = compileRequestRules(member.requests ?? [])
  const registered = compileRules([...new Set(registries.map(({ pattern }) => pattern))], 'registry')
  const memberAllow = compileRules(managed.failedClosed ? [] : member.allow, 'allow')
  const memberDeny: Labelled = { label: 'egress rules', rules: compileRules(member.deny, 'deny') }
  const managedHosts = managed.hosts?.includes(tokens.all) ? null : managed.hosts
  const bound = managedHosts ? compileRules(managedHosts, 'coworkEgressAllowedHosts') : null
  const managedRule = `policy coworkEgressAllowedHosts (${managed.decidedBy})`
  const denials = new Map(
    Object.entries(sessions).map(([session, { deny }]) => [session, { label: `session ${session}`, rules: compileRules(deny, 'deny') }]),
  )
  const sourceOf = (pattern: string): string => registries.find((registry) => registry.pattern === pattern)?.source ?? 'configuration'

  function bearer({ session, hosts }: Bearer): BearerPolicy {
    const own = session === null ? undefined : sessions[session]
    const chosen = own?.mode ?? member.mode
    const mode = managed.failedClosed && chosen === 'all' ? 'list' : chosen
    const modeRule = own?.mode ? `mode ${mode} (session ${session})` : `mode ${mode}`
    const named = compileRules(
      hosts.filter((host) => !(Object.values(tokens) as string[]).includes(host)),
      'allowed host',
    )
    const [all, packages, byMember, mayAsk] = [tokens.all, tokens.packages, tokens.member, tokens.ask].map((token) => hosts.includes(token))
    const denied = [memberDeny, ...(session !== null && denials.has(session) ? [denials.get(session) as Labelled] : [])]

    function decide(target: HostTarget): Verdict {
      const { host, port } = target
      if (mode === 'none') return verdict('deny', modeRule, 'Nothing may be reached: egress is off.')
      if (bound && !bound.find(target)) return verdict('deny', managedRule, `${host}:${port} is not among the hosts that policy allows.`)
      for (const { label, rules } of denied) {
        const rule = rules.find(target)
        if (rule) return verdict('deny', `deny ${rule.source} (${label})`, `${host}:${port} is on the list of denied hosts.`)
      }
      if (mode === 'packages') {
        const registry = registered.find(target)
        if (!registry)
          return verdict(
            'deny',
            modeRule,
            `${host}:${port} is not a registry of this machine's package managers (${registryList(registries)}).`,
          )
        if (byMember || packages)
          return verdict('allow', `registry ${registry.source} (${sourceOf(registry.source)})`, `${host} is a package registry.`)
      }
      const rule = named.find(target)
      if (rule) return verdict('allow', `allow ${rule.source}`, `${host} is allowed by ${rule.source}.`)
      if (all) return verdict('allow', 'allow *', 'Every public host is allowed.')
      const registry = packages ? registered.find(target) : null
      if (registry) return verdict('allow', `registry ${registry.source} (${sourceOf(registry.source)})`, `${host} is a package registry.`)
      if (byMember && mode === 'all') return verdict('allow', modeRule, 'Every public host is allowed.')
      const listed = byMember ? memberAllow.find(target) : null
      if (listed) return verdict('allow', `allow ${listed.source} (egress rules)`, `${host} is allowed by ${listed.source}.`)
      if (mayAsk) return verdict('ask', 'hosts: not listed', `${host}:${port} is not among the allowed hosts.`)
      if (named.size === 0) return verdict('deny', 'hosts: none', 'No host is allowed.')
      return verdict('deny', 'hosts: not listed', `${host}:${port} is not among the allowed hosts (${listText(hosts)}).`)
    }
    // The same inputs, the same verdict: a page with a hundred pictures of one host is decided about once.
    const made = new Map<string, { port: number; verdict: Verdict }>()
    function remembered(target: HostTarget): Verdict {
      const before = made.get(target.host)
      if (before && before.port === target.port) return before.verdict
      const fresh = decide(target)
      // A bearer that reaches this many is rare, and begins anew rather than keeping an order at each decision.
      if (made.size >= limits.rememberedHosts) made.clear()
      made.set(target.host, { port: target.port, verdict: fresh })
      return fresh
    }

    function scope(): ReturnType<BearerPolicy['scope']> {
      const deny = [...member.deny, ...(own?.deny ?? [])]
      const none = (rule: string, reason: string) => ({ verdict: 'deny', rule, reason, allow: [], deny }) as const
      if (mode === 'none') return none(modeRule, 'Nothing may be reached: egress is off.')
      const listed = [
        ...hosts.filter((host) => !(Object.values(tokens) as string[]).includes(host)),
        ...(byMember && !managed.failedClosed ? member.allow : []),
        ...(packages ? registries.map(({ pattern }) => pattern) : []),
      ]
      const any = all || mayAsk || (byMember && mode === 'all')
      const allow = mode === 'packages' ? registries.map(({ pattern }) => pattern) : any ? managedHosts : listed
      if (allow?.length === 0) return none(managedHosts?.length === 0 ? managedRule : 'hosts: none', 'No host is allowed.')
      return { verdict: 'allow', rule: modeRule, reason: 'Hosts that may be reached may be searched.', allow, deny }
    }

    return {
      scope,
      decide: remembered,
      reads: (target) => asking.cover(target),
      judge(target, asked) {
        const about = remembered(target)
        if (about.verdict === 'deny' || !asking.cover(target)) return about
        const rule = asking.find(target, asked)
        if (rule) return { ...about, rule: `request ${requestRuleText(rule)}` }
        return verdict(
          'deny',
          'request rules',
          `${asked.method.slice(0, 20)} ${asked.path.split('?')[0]?.slice(0, 200)} is not what may be asked of ${target.host}.`,
        )
      },
    }
  }

  const warnings = [
    asking,
    registered,
    memberAllow,
    memberDeny.rules,
    ...(bound ? [bound] : []),
    ...[...denials.values()].map(({ rules }) => rules),
  ]
  return { warnings: warnings.flatMap((rules) => rules.warnings), bearer }
}

function verdict(kind: Verdict['verdict'], rule: string, reason: string): Verdict {
  return { verdict: kind, rule, reason }
}

/** Patterns for a sentence: a model and a member read it, so not ten thousand of them. */
function listText(patterns: readonly string[]): string {
  const shown = patterns.filter((pattern) => pattern !== tokens.ask && pattern !== tokens.member)
  return shown.length <= 20 ? shown.join(', ') : `${shown.slice(0, 20).join(', ')} and ${shown.length - 20} more`
}

function registryList(registries: readonly Registry[]): string {
  return registries.length === 0 ? 'none is configured' : listText([...new Set(registries.map(({ pattern }) => pattern))])
}
