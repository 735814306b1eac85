import fc from 'fast-check'
import { expect, test } from 'vitest'
import { classify, publicOnly } from './addresses.ts'

test.each([
  ['8.8.8.8', 'public'],
  ['93.184.216.34', 'public'],
  ['1.1.1.1', 'public'],
  ['172.15.255.255', 'public'],
  ['172.32.0.0', 'public'],
  ['100.63.255.255', 'public'],
  ['100.128.0.0', 'public'],
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['0.0.0.0', 'unspecified'],
  ['0.1.2.3', 'unspecified'],
  ['10.0.0.1', 'private'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.1.1', 'private'],
  ['100.64.0.1', 'shared'],
  ['100.127.255.255', 'shared'],
  ['169.254.1.1', 'link-local'],
  ['169.254.169.254', 'metadata'],
  ['100.100.100.200', 'metadata'],
  ['168.63.129.16', 'metadata'],
  ['192.0.0.192', 'metadata'],
  ['192.0.0.1', 'reserved'],
  ['192.0.2.1', 'reserved'],
  ['198.51.100.1', 'reserved'],
  ['203.0.113.1', 'reserved'],
  ['198.18.0.1', 'benchmark'],
  ['198.19.255.255', 'benchmark'],
  ['224.0.0.1', 'multicast'],
  ['239.255.255.255', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.255', 'broadcast'],
  ['2606:4700:4700::1111', 'public'],
  ['2a00:1450:4001::1', 'public'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['fe80::1', 'link-local'],
  ['febf::1', 'link-local'],
  ['fec0::1', 'private'],
  ['fc00::1', 'private'],
  ['fdff::1', 'private'],
  ['ff02::1', 'multicast'],
  ['fd00:ec2::254', 'metadata'],
  ['fd20:ce::254', 'metadata'],
  ['2001:db8::1', 'reserved'],
  ['3fff::1', 'reserved'],
  ['100::1', 'reserved'],
  ['5f00::1', 'reserved'],
  ['4000::1', 'reserved'],
  ['2001:2::1', 'benchmark'],
  ['::ffff:127.0.0.1', 'loopback'],
  ['::ffff:7f00:1', 'loopback'],
  ['::ffff:10.0.0.1', 'private'],
  ['::ffff:a9fe:a9fe', 'metadata'],
  ['::ffff:8.8.8.8', 'public'],
  ['64:ff9b::7f00:1', 'loopback'],
  ['64:ff9b::10.0.0.1', 'private'],
  ['64:ff9b::808:808', 'public'],
  ['64:ff9b:1::1', 'tunnel'],
  ['::127.0.0.1', 'tunnel'],
  ['::a00:1', 'tunnel'],
  ['::ffff:0:127.0.0.1', 'tunnel'],
  ['::ffff:0:8.8.8.8', 'tunnel'],
  ['2002:7f00:1::1', 'tunnel'],
  ['2002:808:808::1', 'tunnel'],
  ['2001::1', 'tunnel'],
  ['2001:0:4136:e378:8000:63bf:3fff:fdd2', 'tunnel'],
  ['::1%lo', 'invalid'],
  ['fe80::1%eth0', 'invalid'],
  ['::ffff:1.2.3.4%x.allowed.com', 'invalid'],
  ['127.1', 'invalid'],
  ['2130706433', 'invalid'],
  ['0x7f.1', 'invalid'],
  ['0177.0.0.1', 'invalid'],
  ['example.com', 'invalid'],
  ['', 'invalid'],
] as const)('%s is %s', (address, expected) => {
  expect(classify(address)).toBe(expected)
})

test('every address of this host is refused, in every spelling', () => {
  const policy = publicOnly(['203.0.114.7', '2606:4700::7', 'fe80::1%eth0'])
  for (const spelling of [
    '203.0.114.7',
    '::ffff:203.0.114.7',
    '::ffff:cb00:7207',
    '64:ff9b::cb00:7207',
    '2606:4700::7',
    '2606:4700:0:0:0:0:0:7',
    '2606:4700::0007',
  ])
    expect(policy(spelling)).toBe('own')
  expect(policy('203.0.114.8')).toBe('public')
})

test('an IPv4 address judged inside IPv6 is judged as it is outside', () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      expect(classify(`::ffff:${address}`)).toBe(classify(address))
      expect(classify(`64:ff9b::${address}`)).toBe(classify(address))
      expect(classify(`::${address}`)).not.toBe('public')
    }),
    { numRuns: 2_000 },
  )
})

test('IPv6 outside 2000::/3 is public only where it carries a public IPv4 address', () => {
  fc.assert(
    fc.property(fc.ipV6(), (address) => {
      const first = Number.parseInt(address.split(':')[0] || '0', 16)
      if (classify(address) === 'public' && first !== 0 && first !== 0x64) expect(first >> 13).toBe(1)
    }),
    { numRuns: 2_000 },
  )
})
