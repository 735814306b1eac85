import { expect, test } from 'vitest'
import { unheard } from './datagrams.ts'

const snmp = `Ip: Forwarding DefaultTTL
Ip: 2 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 14 3 0 17 0 0 0 0 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
UdpLite: 0 9 0 0 0 0 0 0 0
`
const snmp6 = 'Udp6InDatagrams                 \t0\nUdp6NoPorts                     \t4\nUdpLite6NoPorts                 \t9\n'

test('datagrams to nobody are read from the kernel’s tables, of both kinds of addresses', () => {
  expect(unheard(snmp, snmp6)).toBe(7)
  expect(unheard(snmp, '')).toBe(3)
  expect(unheard('', '')).toBe(0)
})
