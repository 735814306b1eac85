import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Names } from './net-names.ts'
import { parseNetMessage } from './net-wire.ts'

function query(name: string, type = 1, more: { id?: number; flags?: number; count?: number; kind?: number } = {}): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')]))
  const head = Buffer.alloc(12)
  head.writeUInt16BE(more.id ?? 7, 0)
  head.writeUInt16BE(more.flags ?? 0x0100, 2)
  head.writeUInt16BE(more.count ?? 1, 4)
  const tail = Buffer.alloc(4)
  tail.writeUInt16BE(type, 0)
  tail.writeUInt16BE(more.kind ?? 1, 2)
  return Buffer.concat([head, ...labels, Buffer.from([0]), tail])
}
/** What the answer says: its code, and the addresses in it. */
function read(answer: Uint8Array | null) {
  if (answer === null) return null
  const bytes = Buffer.from(answer)
  const count = bytes.readUInt16BE(6)
  const at = bytes.length - 16
  return {
    id: bytes.readUInt16BE(0),
    code: bytes.readUInt16BE(2) & 15,
    count,
    address: count === 1 ? [...bytes.subarray(at + 12)].join('.') : null,
  }
}

describe('names', () => {
  test('get an address of their own, which stands for them', () => {
    const names = new Names()
    const first = read(names.answer(query('a.example', 1, { id: 9 })))
    expect(first).toMatchObject({ id: 9, code: 0, count: 1, address: '198.18.0.1' })
    expect(read(names.answer(query('B.Example')))?.address).toBe('198.18.0.2')
    expect(read(names.answer(query('A.EXAMPLE')))?.address).toBe('198.18.0.1')
    expect(names.targetOf('198.18.0.1')).toBe('a.example')
    expect(names.targetOf('::ffff:198.18.0.2')).toBe('b.example')
  })
  test('have no other records, and those that are none do not exist', () => {
    const names = new Names()
    for (const type of [28, 16, 15, 65, 6]) expect(read(names.answer(query('a.example', type)))).toMatchObject({ code: 0, count: 0 })
    for (const name of [
      'host',
      'printer.local',
      '1.0.0.127.in-addr.arpa',
      'x.internal',
      'a b.example',
      '1.2.3.4',
      `${'a'.repeat(63)}.${'b.'.repeat(100)}c`,
    ])
      expect(read(names.answer(query(name)))).toMatchObject({ code: 3, count: 0 })
    expect(read(names.answer(query('localhost')))?.address).toBe('127.0.0.1')
    expect(read(names.answer(query('x.localhost')))?.address).toBe('127.0.0.1')
  })
  test('addresses stand for themselves; one of the range that nobody was given stands for nothing', () => {
    const names = new Names()
    expect(names.targetOf('203.0.113.9')).toBe('203.0.113.9')
    expect(names.targetOf('2001:db8::1')).toBe('[2001:db8::1]')
    expect(names.targetOf('fe80::1%lo')).toBe('[fe80::1]')
    expect([names.targetOf('198.18.0.1'), names.targetOf('198.19.255.255'), names.targetOf('what')]).toEqual([null, null, null])
  })
  test('the oldest makes room when the range is used up, and no address stands for two', () => {
    const names = new Names()
    for (let at = 0; at < 65_001; at += 1) names.addressOf(`n${at}.example`)
    expect(names.targetOf('198.18.0.1')).toBe('n65000.example')
    expect(names.targetOf('198.18.0.2')).toBe('n1.example')
    names.addressOf('n0.example')
    expect(names.targetOf('198.18.0.2')).toBe('n0.example')
  })
  test('what is no query gets no answer, and nothing makes it fail', () => {
    const names = new Names()
    expect(names.answer(query('a.example', 1, { flags: 0x8100 }))).toBeNull()
    expect(names.answer(query('a.example', 1, { flags: 0x2800 }))).toBeNull()
    expect(names.answer(query('a.example', 1, { count: 2 }))).toBeNull()
    expect(names.answer(Buffer.concat([query('a.example'), Buffer.alloc(600)]))).toBeNull()
    expect(names.answer(query('a.example').subarray(0, 20))).toBeNull()
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void names.answer(bytes)))
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(26), fc.nat(255)), { maxLength: 5 }), (changes) => {
        const bytes = query('abc.example')
        for (const [at, value] of changes) bytes[at] = value
        const answer = names.answer(bytes)
        if (answer) expect(answer.length).toBeLessThan(bytes.length + 64)
      }),
    )
  })
})

describe('messages', () => {
  test.each([
    { n: 1, net: 'open', session: 's-1', to: { host: 'a.example', port: 443 } },
    { n: 1, net: 'open', session: 's-1', to: null },
    { n: 0, net: 'data' },
    { n: 2, net: 'credit', bytes: 5 },
  ])('%j is one', (message) => {
    expect(parseNetMessage(message)).toEqual(message)
    expect(parseNetMessage({ ...message, more: 1 })).toEqual(message)
  })
  test.each([
    null,
    [],
    'x',
    {},
    { n: -1, net: 'data' },
    { n: 1.5, net: 'data' },
    { n: 1, net: 'what' },
    { c: 's/f#1', op: 'msg' },
    { n: 1, net: 'credit', bytes: 1e9 },
    { n: 1, net: 'open', session: '../x', to: null },
    { n: 1, net: 'open', session: 's' },
    { n: 1, net: 'open', session: 's', to: { host: '', port: 1 } },
    { n: 1, net: 'open', session: 's', to: { host: 'x'.repeat(300), port: 1 } },
    { n: 1, net: 'open', session: 's', to: { host: 'x', port: 0 } },
    { n: 1, net: 'open', session: 's', to: { host: 'x', port: 70_000 } },
  ])('%j is none', (message) => {
    expect(parseNetMessage(message)).toBeNull()
  })
})
