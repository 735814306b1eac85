/**
 * Host patterns of `coworkEgressAllowedHosts`: an exact host, `*.example.com` (any depth, never the apex), each with an optional `:port`,
 * or a bare `*` for all. Addresses only as they are; no IPv6. The egress actor has the last word on every request; this says which
 * entries can mean anything at all.
 */

/** The pattern in canonical spelling (lower case, punycode, no trailing dot), or what is wrong with it. */
export function canonicalPattern(text: string): { pattern: string } | { why: string } {
  if (text === '*') return { pattern: '*' }
  const match = /^(\*\.)?([^:/\s*@?#[\]\\]+)(?::([1-9]\d{0,4}))?$/u.exec(text)
  if (!match) return { why: 'it is not a host, `*.host` or `*`, with an optional port' }
  const [, wildcard = '', name = '', port] = match
  if (port !== undefined && Number(port) > 65_535) return { why: 'the port is not a number from 1 to 65535' }
  const host = canonicalHost(name)
  if (host === null) return { why: 'the host is not a valid name or address' }
  const address = /^\d+\.\d+\.\d+\.\d+$/.test(host)
  if (wildcard !== '' && (address || host.split('.').length < 2)) return { why: 'a wildcard needs a name of at least two labels after it' }
  return { pattern: `${wildcard}${host}${port === undefined ? '' : `:${port}`}` }
}

function canonicalHost(name: string): string | null {
  try {
    const { hostname } = new URL(`http://${name.endsWith('.') ? name.slice(0, -1) : name}/`)
    return hostname === '' || hostname.split('.').some((label) => label === '') ? null : hostname
  } catch {
    return null
  }
}
