/**
 * The proxy this machine is told to use for what goes out, as curl and most programs read it from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and
 * NO_PROXY. Pure. A setting that is not understood is a problem that ends requests: going straight out instead would be another network.
 */
import ipaddr from 'ipaddr.js'
import { z } from 'zod'
import { canonicalHost, parseAuthority } from './host-grammar.ts'

export type ProxyServer = {
  /** Canonical. */
  host: string
  port: number
  /** TLS to the proxy itself. */
  secure: boolean
  /** Value of Proxy-Authorization. A secret: never in a message or a log. */
  authorization: string | null
}
/** Null: straight to the host. */
export type ProxyChoice = { ok: true; proxy: ProxyServer | null } | { ok: false; why: string }
/** `secure`: TLS or unknown bytes; otherwise plain HTTP. */
export type ProxyTarget = { host: string; port: number; secure: boolean }

const setting = z.string().max(4096).optional()
/** As the client found them in the member's environment; `pac` is a script, or the address of one. */
export const proxyVariables = z.strictObject({
  http: setting,
  https: setting,
  all: setting,
  no: z
    .string()
    .max(64 * 1024)
    .optional(),
  pac: z
    .string()
    .max(2 * 1024 * 1024)
    .optional(),
})
export type ProxyVariables = z.infer<typeof proxyVariables>

/** What policy says instead (`egressProxyUrl`, `egressProxyPacUrl`); a script decides before an address. */
export type ManagedProxy = { url: string | null; pac: string | null; decidedBy: string }
export const noManagedProxy: ManagedProxy = { url: null, pac: null, decidedBy: 'default' }

/** Null: policy says nothing, and this machine's own settings count. */
export function managedVariables({ url, pac }: ManagedProxy): ProxyVariables | null {
  if (pac !== null) return { pac }
  return url === null ? null : { all: url }
}

/** What the variables alone say; a PAC script, if there is one, is asked instead (pac.ts). */
export function proxyFor({ http, https, all, no }: ProxyVariables, target: ProxyTarget): ProxyChoice {
  const wanted = (target.secure ? https : http) || all
  if (!wanted || bypasses(no ?? '', target)) return { ok: true, proxy: null }
  const proxy = parseProxy(wanted)
  // Its text may hold a password, so it is not quoted.
  return proxy ? { ok: true, proxy } : { ok: false, why: 'the address of the proxy is not http(s)://[user:password@]host[:port]' }
}

/** `[http[s]://][user[:password]@]host[:port]`. */
export function parseProxy(text: string): ProxyServer | null {
  const [, scheme = 'http', credentials, rest = ''] = /^(?:([a-z0-9+.-]+):\/\/)?(?:([^@/?#]*)@)?([^@/?#]+)\/?$/i.exec(text.trim()) ?? []
  const secure = scheme.toLowerCase() === 'https'
  const authority = parseAuthority(rest)
  if (!authority.ok || (!secure && scheme.toLowerCase() !== 'http')) return null
  const authorization = credentials === undefined ? null : basic(credentials)
  if (authorization === undefined) return null
  return { host: authority.value.host, port: authority.value.port ?? (secure ? 443 : 80), secure, authorization }
}

function basic(credentials: string): string | undefined {
  try {
    return `Basic ${Buffer.from(decodeURIComponent(credentials.includes(':') ? credentials : `${credentials}:`)).toString('base64')}`
  } catch {
    return undefined
  }
}

/** NO_PROXY as curl reads it: names with their subdomains, with or without a dot or `*.` before, addresses, CIDR ranges, an optional port. */
function bypasses(no: string, { host, port }: ProxyTarget): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  return no.split(/[\s,]+/).some((entry) => {
    if (entry === '') return false
    if (entry === '*') return true
    if (ipaddr.isValidCIDR(entry)) return inRange(bare, entry)
    const authority = parseAuthority(entry.replace(/^\*?\./, ''))
    const named = authority.ok ? authority.value : unbracketed(entry)
    if (named === null || (named.port !== null && named.port !== port)) return false
    return host === named.host || (!ipaddr.isValid(bare) && host.endsWith(`.${named.host}`))
  })
}

function unbracketed(entry: string): { host: string; port: null } | null {
  const host = canonicalHost(`[${entry}]`)
  return host.ok ? { host: host.value, port: null } : null
}

function inRange(host: string, range: string): boolean {
  if (!ipaddr.isValid(host)) return false
  const address = ipaddr.process(host)
  const [base, bits] = ipaddr.parseCIDR(range)
  return address.kind() === base.kind() && address.match(base, bits)
}

/**
 * What a PAC script answers: `PROXY a:3128; DIRECT`. The first that can be used counts; SOCKS cannot. An answer that names nothing usable
 * is a problem, because the script's author did not mean `DIRECT`.
 */
export function readPacAnswer(answer: string): ProxyChoice {
  for (const entry of answer.slice(0, 4096).split(';')) {
    const [kind = '', where = ''] = entry.trim().split(/\s+/)
    if (/^direct$/i.test(kind)) return { ok: true, proxy: null }
    const scheme = /^(proxy|http)$/i.test(kind) ? 'http' : /^https$/i.test(kind) ? 'https' : null
    const proxy = scheme === null ? null : parseProxy(`${scheme}://${where}`)
    if (proxy) return { ok: true, proxy }
  }
  return answer.trim() === '' ? { ok: true, proxy: null } : { ok: false, why: 'the PAC script names no proxy that can be used' }
}

/** Names that only a network's own resolver knows: a proxy must not be asked for them. */
export function isLocalName(host: string): boolean {
  return !host.includes('.') || /\.(localhost|local|internal|intranet|lan|home|corp|private|home\.arpa|localdomain)$/.test(host)
}
