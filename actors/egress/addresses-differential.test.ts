/**
 * The address guard against others, on one large generated corpus: ipaddr.js's own ranges, request-filtering-agent (a widely used guard),
 * and Node's BlockList filled from the IANA special-purpose registries. Where they differ, the difference has a name and a reason; one
 * that has none fails, and so does a reason that explains nothing.
 */
import http from 'node:http'
import net from 'node:net'
import ipaddr from 'ipaddr.js'
import { RequestFilteringHttpAgent } from 'request-filtering-agent'
import { describe, expect, test } from 'vitest'
import { classify } from './addresses.ts'

/** IANA, special-purpose address registries (RFC 6890 and its updates): everything not globally reachable, and multicast. */
const iana4 =
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4'.split(
    ' ',
  )
const iana6 =
  '::/128 ::1/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8'.split(
    ' ',
  )

const corpus = generate()
const classes = new Map(corpus.map((address) => [address, classify(address)]))

type Guard = (address: string) => boolean
type Reason = { why: string; covers(address: string): boolean }

const v6 = (address: string): ipaddr.IPv6 | null => (net.isIPv6(address) ? ipaddr.IPv6.parse(hexadecimal(address)) : null)
const within = (cidr: string) => {
  const range = ipaddr.IPv6.parseCIDR(cidr)
  return (address: string) => v6(address)?.match(range) ?? false
}
const within4 = (...cidrs: string[]) => {
  const list = new net.BlockList()
  for (const cidr of cidrs) list.addSubnet(cidr.split('/')[0] ?? '', Number(cidr.split('/')[1]))
  return (address: string) => {
    const plain = net.isIPv4(address) ? address : carried(address)
    return plain !== null && list.check(plain)
  }
}
/** The IPv4 address in a mapped or NAT64 one. */
function carried(address: string): string | null {
  const parsed = v6(address)
  if (!parsed || !(within('::ffff:0:0/96')(address) || within('64:ff9b::/96')(address))) return null
  return parsed.toByteArray().slice(12).join('.')
}
const nat64: Reason = {
  why: 'NAT64 of the well-known prefix is judged by the IPv4 address it stands for; the other judges the carrier.',
  covers: within('64:ff9b::/96'),
}
const metadata: Reason = {
  why: "Azure's host agent answers on an address that is public by number.",
  covers: within4('168.63.129.16/32'),
}
const carriers: Reason = {
  why: 'IPv4-compatible and translated addresses lead to relays nobody asked for; the other does not know them.',
  covers: (address) => within('::/96')(address) || within('::ffff:0:0:0/96')(address),
}
const unallocated: Reason = {
  why: 'IPv6 outside 2000::/3 is not global unicast; the other refuses only what is listed.',
  covers: (address) => v6(address) !== null && !within('2000::/3')(address) && carried(address) === null,
}
const anycast: Reason = {
  why: 'Global by registry, yet nobody serves pages there: AMT relays, AS112 sinks.',
  covers: (address) => within4('192.52.193.0/24', '192.31.196.0/24', '192.175.48.0/24')(address) || within('2620:4f:8000::/48')(address),
}

const peers: { name: string; allows: Guard; differences: Reason[] }[] = [
  {
    name: 'ipaddr.js, mapped addresses unwrapped',
    allows: (address) => ipaddr.process(hexadecimal(address)).range() === 'unicast',
    differences: [nat64, metadata, carriers, unallocated],
  },
  {
    name: 'request-filtering-agent',
    allows: filteringAgentAllows,
    differences: [
      nat64,
      metadata,
      carriers,
      unallocated,
      {
        why: 'It refuses every mapped address; here it is judged as the IPv4 address it is.',
        covers: within('::ffff:0:0/96'),
      },
    ],
  },
  {
    name: "Node's BlockList with the IANA registries",
    allows: blockListAllows(),
    differences: [metadata, carriers, unallocated, anycast, nat64],
  },
]

test('the corpus is large, and has every kind of address', () => {
  expect(corpus.length).toBeGreaterThan(10_000)
  expect([...new Set(classes.values())].toSorted()).toEqual(
    [
      'benchmark',
      'broadcast',
      'link-local',
      'loopback',
      'metadata',
      'multicast',
      'private',
      'public',
      'reserved',
      'shared',
      'tunnel',
      'unspecified',
    ].toSorted(),
  )
})

describe.each(peers)('against $name', ({ allows, differences }) => {
  const allowed = new Set(corpus.filter(allows))

  test('every difference has a reason, and every reason explains some', () => {
    const explained = new Map<Reason, number>()
    const unexplained: string[] = []
    for (const address of corpus) {
      const here = classes.get(address) === 'public'
      if (here === allowed.has(address)) continue
      const reason = differences.find(({ covers }) => covers(address))
      if (reason) explained.set(reason, (explained.get(reason) ?? 0) + 1)
      else unexplained.push(`${address}: ${here ? 'allowed here' : `refused here (${classes.get(address)})`}`)
    }
    expect(unexplained.slice(0, 20)).toEqual([])
    expect(differences.filter((reason) => !explained.has(reason)).map(({ why }) => why)).toEqual([])
  })

  test('what is allowed here and refused there is only what a reason says is the same host', () => {
    const wider = corpus.filter((address) => classes.get(address) === 'public' && !allowed.has(address))
    expect(wider.filter((address) => carried(address) === null)).toEqual([])
    for (const address of wider) expect(classify(carried(address) ?? '')).toBe('public')
  })
})

function blockListAllows(): Guard {
  const list = new net.BlockList()
  for (const cidr of iana4) list.addSubnet(cidr.split('/')[0] ?? '', Number(cidr.split('/')[1]), 'ipv4')
  for (const cidr of iana6) list.addSubnet(cidr.split('/')[0] ?? '', Number(cidr.split('/')[1]), 'ipv6')
  return (address) => {
    const plain = net.isIPv6(address) && within('::ffff:0:0/96')(address) ? (carried(address) ?? '') : address
    return !list.check(plain, net.isIPv4(plain) ? 'ipv4' : 'ipv6')
  }
}

/** What it would dial, asked without dialling: the lookup it puts before the connection is called instead. */
function filteringAgentAllows(address: string): boolean {
  const real = http.Agent.prototype.createConnection
  let verdict: boolean | null = null
  http.Agent.prototype.createConnection = ((options: net.TcpNetConnectOpts) => {
    options.lookup?.('name.test', { all: true }, (error) => (verdict = error === null))
    return new net.Socket()
  }) as typeof real
  try {
    const lookup: net.LookupFunction = (_host, _options, callback) =>
      callback(null, [{ address: hexadecimal(address), family: net.isIP(address) }])
    new RequestFilteringHttpAgent().createConnection({ host: 'name.test', port: 80, lookup }, () => undefined)
  } finally {
    http.Agent.prototype.createConnection = real
  }
  if (verdict === null) throw new Error('the agent did not look the name up')
  return verdict
}

/** ipaddr.js reads `::1.2.3.4` as another address than the system does; the comparison is about ranges, not about that. */
function hexadecimal(address: string): string {
  return address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (text: string, a: string, b: string, c: string, d: string) =>
    address.includes(':') ? `${(Number(a) * 256 + Number(b)).toString(16)}:${(Number(c) * 256 + Number(d)).toString(16)}` : text,
  )
}

/** The edges of every special range and their neighbours, each IPv4 address in every carrier, and as many addresses by chance. */
function generate(): string[] {
  const found = new Set<string>()
  const random = mulberry32(20_260_101)
  const word = () => Math.floor(random() * 0x1_0000)
  const v4s = new Set<number>()
  for (const cidr of [
    ...iana4,
    '192.52.193.0/24',
    '192.31.196.0/24',
    '192.175.48.0/24',
    '168.63.129.16/32',
    '100.100.100.200/32',
    '169.254.169.254/32',
  ]) {
    const [base = '', bits] = cidr.split('/')
    const first = base.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
    const size = 2 ** (32 - Number(bits))
    for (const at of [first - 1, first, first + 1, first + size - 1, first + size, first + Math.floor(random() * size)]) v4s.add(at >>> 0)
  }
  while (v4s.size < 700) v4s.add(Math.floor(random() * 2 ** 32))
  for (const number of v4s) {
    const address = [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.')
    const [high, low] = [(number >>> 16).toString(16), (number & 0xffff).toString(16)]
    const inverse = `${((number >>> 16) ^ 0xffff).toString(16)}:${((number & 0xffff) ^ 0xffff).toString(16)}`
    for (const spelled of [
      address,
      `::ffff:${address}`,
      `::ffff:${high}:${low}`,
      `0:0:0:0:0:FFFF:${high}:${low}`,
      `64:ff9b::${address}`,
      `64:ff9b:1::${high}:${low}`,
      `::${address}`,
      `::ffff:0:${address}`,
      `2002:${high}:${low}::1`,
      `2001:0:4136:e378:8000:63bf:${inverse}`,
      `2a00:1450::5efe:${high}:${low}`,
    ])
      found.add(spelled)
  }
  for (const cidr of [...iana6, '2000::/3', '2620:4f:8000::/48', '2001:3::/32', '2001:4:112::/48', '2001:20::/28']) {
    const bytes = ipaddr.IPv6.parseCIDR(cidr)[0].toByteArray()
    const bits = ipaddr.IPv6.parseCIDR(cidr)[1]
    const base = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
    const size = 1n << BigInt(128 - bits)
    const last = (1n << 128n) - 1n
    for (const at of [base - 1n, base, base + 1n, base + size - 1n, base + size, base + (size >> 1n)])
      if (at >= 0n && at <= last) found.add(text6(at))
  }
  while (found.size < 11_000) {
    const first = random() < 0.6 ? 0x2000 + Math.floor(random() * 0x2000) : word()
    found.add([first, ...Array.from({ length: 7 }, word)].map((part) => part.toString(16)).join(':'))
  }
  return [...found].filter((address) => net.isIP(address) !== 0)
}

function text6(number: bigint): string {
  return Array.from({ length: 8 }, (_, at) => ((number >> BigInt(16 * (7 - at))) & 0xffffn).toString(16)).join(':')
}

/** A small seeded generator: the corpus is the same in every run. */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
