/**
 * The decision about one address on the web, in two pure steps: `decideUrl` before anything is looked up, `decideAddresses`
 * on what the name resolved to. `fetch` obeys it, `explain` tells it.
 */
import { type ErrorCode, type Fault, fault } from '../../kernel/index.ts'
import type { AddressPolicy } from './addresses.ts'
import { canonicalHost, decideHost, type HostPolicy, isAddress, parseAuthority } from './host-grammar.ts'
import { limits } from './limits.ts'

export type Target = {
  /** Built from the canonical host; has no credentials and no fragment. */
  url: URL
  /** Canonical; brackets around IPv6. */
  host: string
  port: number
  secure: boolean
  rule: string
}
export type UrlDecision = { allowed: true; target: Target; rule: string; reason: string } | Refusal
export type Refusal = { allowed: false; code: ErrorCode; rule: string; reason: string }
export type Address = { address: string; family: 4 | 6 }
export type AddressDecision = { allowed: true; dial: readonly Address[]; reason: string } | Refusal

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const blanksOrControls = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029\\]/u

export function decideUrl(text: string, policy: HostPolicy): UrlDecision {
  if (text.length > limits.urlChars) return refuse('bad-url', 'url-length', `The URL is longer than ${limits.urlChars} characters.`)
  if (blanksOrControls.test(text)) return refuse('bad-url', 'url-form', 'The URL has blanks, backslashes or control characters.')
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)/iu.exec(text)
  if (!match) return refuse('bad-url', 'url-form', 'The address is not of the form http://host/path or https://host/path.')
  const [, scheme = '', authorityText = '', rest = ''] = match
  const secure = scheme.toLowerCase() === 'https'
  if (!secure && scheme.toLowerCase() !== 'http') return refuse('bad-url', 'scheme', `Only http and https are fetched, not ${scheme}.`)
  if (authorityText.includes('@')) return refuse('bad-url', 'url-credentials', 'The URL carries a user name; that is not accepted.')
  const authority = parseAuthority(authorityText)
  if (!authority.ok) return refuse('bad-url', 'host-form', `The host cannot be used: ${authority.why}.`)
  const { host } = authority.value
  const port = authority.value.port ?? (secure ? 443 : 80)
  const url = build(secure, host, port, rest)
  if (!url || !canonicalHost(url.hostname).ok || url.hostname !== host) {
    return refuse('bad-url', 'url-form', 'The URL cannot be read in one way only.')
  }
  const decision = decideHost(policy, { host, port })
  if (!decision.allowed) return refuse('egress-denied', decision.rule, decision.reason)
  return { allowed: true, target: { url, host, port, secure, rule: decision.rule }, rule: decision.rule, reason: decision.reason }
}

/** Denied addresses are dropped; the rest may be dialled, exactly these. */
export function decideAddresses(host: string, resolved: readonly Address[], policy: AddressPolicy): AddressDecision {
  if (resolved.length === 0) return refuse('fetch-failed', 'resolution', `${host} has no address.`)
  const judged = resolved.map((entry) => ({ entry, is: policy(entry.address) }))
  const dial = judged.filter(({ is }) => is === 'public').map(({ entry }) => entry)
  if (dial.length > 0) return { allowed: true, dial, reason: `${host} leads to a public address.` }
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
  return { allowed: false, code, rule, reason }
}
