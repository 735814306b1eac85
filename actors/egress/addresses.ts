/**
 * Which addresses may be dialled: public unicast only, judged after resolution, in whatever encoding they come.
 * An IPv4 address carried inside IPv6 is judged as the IPv4 address where the carrier is a plain translation (mapped, NAT64);
 * other carriers (6to4, Teredo, compatible …) lead through relays nobody asked for and are refused as such.
 */
import ipaddr from 'ipaddr.js'

export type AddressClass =
  | 'public'
  | 'invalid'
  | 'loopback'
  | 'unspecified'
  | 'private'
  | 'link-local'
  | 'shared'
  | 'multicast'
  | 'broadcast'
  | 'metadata'
  | 'benchmark'
  | 'tunnel'
  | 'reserved'
  | 'own'

/** Judges one address in text form, as a resolver or `canonicalHost` (without brackets) gives it. */
export type AddressPolicy = (address: string) => AddressClass

/** Cloud metadata and fabric services; some lie in ranges that are public by number. */
const metadata = new Set([
  '169.254.169.254',
  '169.254.170.2',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  'fd00:ec2::254',
  'fd20:ce::254',
  'fd00:c1::a9fe:a9fe',
  'fd00:42::42',
  'fd00:a9fe:a9fe::1',
  'fd00:100::100:200',
])

const v4Classes: Record<string, AddressClass> = {
  unicast: 'public',
  loopback: 'loopback',
  unspecified: 'unspecified',
  private: 'private',
  linkLocal: 'link-local',
  carrierGradeNat: 'shared',
  multicast: 'multicast',
  broadcast: 'broadcast',
}

const v6Classes: Record<string, AddressClass> = {
  loopback: 'loopback',
  unspecified: 'unspecified',
  uniqueLocal: 'private',
  linkLocal: 'link-local',
  deprecatedSiteLocal: 'private',
  multicast: 'multicast',
  benchmarking: 'benchmark',
  rfc6145: 'tunnel',
  rfc6052: 'tunnel',
  '6to4': 'tunnel',
  teredo: 'tunnel',
}

const benchmarkV4 = ipaddr.IPv4.parseCIDR('198.18.0.0/15')
const wellKnownNat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96')
const compatible = ipaddr.IPv6.parseCIDR('::/96')
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')

/** The policy of production. `own`: the addresses of the host's interfaces, which are refused even when public. */
export function publicOnly(own: readonly string[]): AddressPolicy {
  const mine = new Set(own.map((address) => plain(address)).filter((address) => address !== null))
  return (address) => {
    const judged = classify(address)
    return judged === 'public' && mine.has(plain(address) ?? '') ? 'own' : judged
  }
}

export function classify(address: string): AddressClass {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return classifyV4(ipaddr.IPv4.parse(address))
  // Zone ids are host-local by definition, and have been used to smuggle suffixes past checks.
  if (address.includes('%')) return 'invalid'
  const parsed = parseV6(address)
  return parsed ? classifyV6(parsed) : 'invalid'
}

/** ipaddr.js reads `::1.2.3.4` as `::ffff:1.2.3.4`, which is another address to the system; so the dotted tail goes first. */
function parseV6(address: string): ipaddr.IPv6 | null {
  const [, head, tail] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/s.exec(address) ?? []
  if (head === undefined || tail === undefined)
    return address.includes(':') && ipaddr.IPv6.isValid(address) ? ipaddr.IPv6.parse(address) : null
  if (!ipaddr.IPv4.isValidFourPartDecimal(tail)) return null
  const [a = 0, b = 0, c = 0, d = 0] = tail.split('.').map(Number)
  return parseV6(`${head}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`)
}

function classifyV4(address: ipaddr.IPv4): AddressClass {
  if (metadata.has(address.toString())) return 'metadata'
  if (address.match(benchmarkV4)) return 'benchmark'
  return v4Classes[address.range()] ?? 'reserved'
}

function classifyV6(address: ipaddr.IPv6): AddressClass {
  const carried = carriedV4(address)
  if (carried) return classifyV4(carried)
  if (metadata.has(address.toString())) return 'metadata'
  const range = address.range()
  if (range === 'unicast' && address.match(globalUnicast)) return 'public'
  if (v6Classes[range]) return v6Classes[range]
  return address.match(compatible) ? 'tunnel' : 'reserved'
}

function carriedV4(address: ipaddr.IPv6): ipaddr.IPv4 | null {
  if (address.isIPv4MappedAddress()) return address.toIPv4Address()
  if (address.match(wellKnownNat64)) return new ipaddr.IPv4(address.toByteArray().slice(12))
  return null
}

/** One spelling per machine: a mapped address is its IPv4 address, zones are cut. */
function plain(address: string): string | null {
  const bare = address.replace(/%.*$/s, '')
  if (ipaddr.IPv4.isValidFourPartDecimal(bare)) return bare
  const parsed = parseV6(bare)
  return parsed ? (carriedV4(parsed) ?? parsed).toString() : null
}
