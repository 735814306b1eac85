/**
 * The decision about one address on the web, in two pure steps: `decideUrl` before anything is looked up, `decideAddresses`
 * on what the name resolved to. `fetch` obeys it, `explain` tells it.
 */
import { type ErrorCode, type Fault, fault } from '../../kernel/index.ts'
import type { AddressPolicy } from './addresses.ts'
import type { BearerPolicy } from './egress-policy.ts'
import { canonicalHost, isAddress, parseAuthority } from './host-grammar.ts'
import { limits } from './limits.ts'

export type Target = {
  /** Built from the canonical host; has no credentials and no fragment. */
  url: URL
  /** Canonical; brackets around IPv6. */
  host: string
  port: number
  secure: boolean
}
/** `ask`: allowed once the member says so. */
export type UrlDecision = { verdict: 'allow' | 'ask'; target: Target; rule: string; reason: string } | Refusal
export type Form = { ok: true; target: Target } | { ok: false; refusal: Refusal }
export type Refusal = { verdict: 'deny'; code: ErrorCode; rule: string; reason: string }
export type Address = { address: string; family: 4 | 6 }
export type AddressDecision = { verdict: 'allow'; dial: readonly Address[]; reason: string } | Refusal

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const blanksOrControls = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029\\]/u

/** What the text addresses, read in the one way all later steps share. */
export function parseTarget(text: string): Form {
  const bad = (rule: string, reason: string): Form => ({ ok: false, refusal: refuse('bad-url', rule, reason) })
  if (text.length > limits.urlChars) return bad('url-length', `The URL is longer than ${limits.urlChars} characters.`)
  if (blanksOrControls.test(text)) return bad('url-form', 'The URL has blanks, backslashes or control characters.')
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)/iu.exec(text)
  if (!match) return bad('url-form', 'The address is not of the form http://host/path or https://host/path.')
  const [, scheme = '', authorityText = '', rest = ''] = match
  const secure = scheme.toLowerCase() === 'https'
  if (!secure && scheme.toLowerCase() !== 'http') return bad('scheme', `Only http and https are fetched, not ${scheme}.`)
  if (authorityText.includes('@')) return bad('url-credentials', 'The URL carries a user name; that is not accepted.')
  const authority = parseAuthority(authorityText)
  if (!authority.ok) return bad('host-form', `The host cannot be used: ${authority.why}.`)
  const { host } = authority.value
  const port = authority.value.port ?? (secure ? 443 : 80)
  const url = build(secure, host, port, rest)
  if (!url || !canonicalHost(url.hostname).ok || url.hostname !== host) return bad('url-form', 'The URL cannot be read in one way only.')
  return { ok: true, target: { url, host, port, secure } }
}

export function decideUrl(text: string, policy: Pick<BearerPolicy, 'decide'>): UrlDecision {
  const form = parseTarget(text)
  if (!form.ok) return form.refusal
  const { verdict, rule, reason } = policy.decide(form.target)
  return verdict === 'deny' ? refuse('egress-denied', rule, reason) : { verdict, target: form.target, rule, reason }
}

/** Denied addresses are dropped; the rest may be dialled, exactly these. */
export function decideAddresses(host: string, resolved: readonly Address[], policy: AddressPolicy): AddressDecision {
  if (resolved.length === 0) return refuse('fetch-failed', 'resolution', `${host} has no address.`)
  const judged = resolved.map((entry) => ({ entry, is: policy(entry.address) }))
  const dial = judged.filter(({ is }) => is === 'public').map(({ entry }) => entry)
  if (dial.length > 0) return { verdict: 'allow', dial, reason: `${host} leads to a public address.` }
  const classes = [...new Set(judged.map(({ is }) => is))].join(', ')
  return refuse('private-address', `address: ${classes}`, `${host} leads only to addresses that are not public (${classes}).`)
}

/** The address a literal host stands for, which needs no resolution; null for a name. */
export function literalAddress(host: string): Address | null {
  if (!isAddress(host)) return null
  return host.startsWith('[') ? { address: host.slice(1, -1), family: 6 } : { address: host, family: 4 }
}

export function asRefusal({ code, rule, reason }: Refusal): Fault {
  return fault(code, reason, { rule })
}

function build(secure: boolean, host: string, port: number, rest: string): URL | null {
  try {
    return new URL(`${secure ? 'https' : 'http'}://${host}:${port}${rest.startsWith('/') ? '' : '/'}${rest}`)
  } catch {
    return null
  }
}

function refuse(code: ErrorCode, rule: string, reason: string): Refusal {
  return { verdict: 'deny', code, rule, reason }
}
