/**
 * Host names and host patterns: one canonical spelling, decided once and used everywhere after.
 *
 *   text --charset--> text --WHATWG URL--> canonical host        'Bücher.Example.' -> 'xn--bcher-kva.example'
 *
 * The charset is checked first because WHATWG parsing repairs: it deletes tabs, folds look-alike letters and full stops, and
 * cuts at `@`, `\` and `#`. What it would repair is refused here, so that filter, dialler and reader see the same name.
 *
 * Patterns: exact host, `*.example.com` (any depth, not the apex, base of at least two labels), an IPv4 address, a bracketed
 * IPv6 address; each with an optional `:port`. Without a port any port matches.
 */
import { limits } from './limits.ts'

export type Authority = { host: string; port: number | null }
export type Parsed<T> = { ok: true; value: T } | { ok: false; why: string }

export type HostRule = { source: string; host: string; wildcard: boolean; port: number | null }

const asciiLabel = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/
const numericLabel = /^(\d+|0x[0-9a-f]*)$/
/** Letters, marks, decimal digits and ASCII punctuation of names; no other dots, digits, signs, controls or blanks. */
const hostCharset = /^[\p{L}\p{M}0-9._-]+$/u
const ipv6Charset = /^[0-9a-fA-F:.]+$/

/** Canonical form of a host: lower case, punycode, no trailing dot; IPv4 dotted decimal; IPv6 compressed in brackets. */
export function canonicalHost(text: string): Parsed<string> {
  if (text.startsWith('[')) return canonicalIpv6(text)
  if (text === '') return no('the host is empty')
  if (text.length > limits.hostChars + 1) return no(`the host is longer than ${limits.hostChars} characters`)
  if (!hostCharset.test(text)) return no('the host has characters that names do not have')
  if (text.normalize('NFKC') !== text.normalize('NFC')) return no('the host has look-alike characters')
  const name = text.endsWith('.') ? text.slice(0, -1) : text
  const host = viaUrl(name)
  if (host === null) return no('the host is not a valid name or address')
  if (host.length > limits.hostChars) return no(`the host is longer than ${limits.hostChars} characters`)
  for (const label of host.split('.')) {
    if (label === '') return no('the host has an empty label')
    if (label.length > limits.labelChars) return no(`a label of the host is longer than ${limits.labelChars} characters`)
    if (!asciiLabel.test(label)) return no('a label of the host begins or ends with a hyphen, or has characters that names do not have')
  }
  return { ok: true, value: host }
}

/** `host`, `host:port`, `[v6]`, `[v6]:port`. Ports 1 to 65535 in plain decimal digits. */
export function parseAuthority(text: string): Parsed<Authority> {
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/su.exec(text)
  if (!match) return no('it is not a host with an optional port (IPv6 addresses need brackets)')
  const [, hostText = '', portText] = match
  const host = canonicalHost(hostText)
  if (!host.ok) return host
  if (portText === undefined) return { ok: true, value: { host: host.value, port: null } }
  if (!/^[1-9]\d{0,4}$/.test(portText) || Number(portText) > 65_535) return no('the port is not a number from 1 to 65535')
  return { ok: true, value: { host: host.value, port: Number(portText) } }
}

export function parsePattern(source: string): Parsed<HostRule> {
  const wildcard = source.startsWith('*.')
  const authority = parseAuthority(wildcard ? source.slice(2) : source)
  if (!authority.ok) return authority
  const { host, port } = authority.value
  if (wildcard && isAddress(host)) return no('a wildcard cannot stand before an address')
  if (wildcard && host.split('.').length < 2) return no('a wildcard needs a base of at least two labels')
  return { ok: true, value: { source, host, wildcard, port } }
}

/** Whether a canonical host is an address literal. */
export function isAddress(host: string): boolean {
  return host.startsWith('[') || /^\d+\.\d+\.\d+\.\d+$/.test(host)
}

function canonicalIpv6(text: string): Parsed<string> {
  if (!text.endsWith(']') || !ipv6Charset.test(text.slice(1, -1))) return no('it is not a bracketed IPv6 address')
  const host = viaUrl(text)
  return host === null ? no('it is not a valid IPv6 address') : { ok: true, value: host }
}

function viaUrl(name: string): string | null {
  try {
    const { hostname } = new URL(`http://${name}/`)
    // A name whose last label is numeric is an address to WHATWG, or nothing.
    if (numericLabel.test(hostname.split('.').at(-1) ?? '') && !isAddress(hostname)) return null
    return hostname === '' ? null : hostname
  } catch {
    return null
  }
}

function no(why: string): { ok: false; why: string } {
  return { ok: false, why }
}
