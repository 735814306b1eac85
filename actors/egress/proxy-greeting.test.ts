/** SOCKS5, CONNECT and plain proxy requests, by chance: no bytes make the reader fail, and what it reads is what was said, however it is split. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalHost, parseAuthority } from './host-grammar.ts'
import { createGreeter, type Greeting } from './proxy-greeting.ts'

type Read = { state: string; target?: { host: string; port: number }; rest?: string; answered: string }

/** Fed in pieces: the last state, and all that was answered on the way. */
function read(...pieces: readonly Uint8Array[]): Read {
  const greeter = createGreeter()
  let answered = ''
  let rest = ''
  let last: Greeting = { state: 'more' }
  for (const piece of pieces) {
    // What comes after a target is its own.
    if (last.state === 'target') {
      rest += Buffer.from(piece).toString('latin1')
      continue
    }
    if (last.state === 'bad') continue
    last = greeter.push(piece)
    const said = last.state === 'target' ? last.opened : last.answer
    answered += Buffer.from(said ?? []).toString('latin1')
    if (last.state === 'target') rest = Buffer.from(last.rest).toString('latin1')
  }
  return last.state === 'target' ? { state: last.state, target: last.target, rest, answered } : { state: last.state, answered }
}
const one = (bytes: Uint8Array): Uint8Array[] => Array.from(bytes, (byte) => Uint8Array.of(byte))

const port = fc.integer({ min: 0, max: 65_535 })
const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => ({ kind: 1, bytes, text: bytes.join('.') })),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => {
    const words = Array.from({ length: 8 }, (_, at) =>
      Buffer.from(bytes)
        .readUInt16BE(2 * at)
        .toString(16),
    )
    return { kind: 4, bytes, text: `[${words.join(':')}]` }
  }),
  fc
    .oneof(fc.domain(), fc.string({ unit: 'binary-ascii', maxLength: 40 }), fc.constantFrom('evil.test\0.a.example', 'a.example.', '127.1'))
    .map((text) => ({ kind: 3, bytes: Uint8Array.of(text.length, ...Buffer.from(text, 'latin1')), text })),
)

test('SOCKS5: the host and the port that were said, in one spelling, or nothing; the same however it is split', () => {
  fc.assert(
    fc.property(address, port, fc.string({ unit: 'binary-ascii', maxLength: 8 }), ({ kind, bytes, text }, to, more) => {
      const said = Buffer.concat([
        Buffer.from([5, 2, 1, 0, 5, 1, 0, kind]),
        bytes,
        Buffer.from([to >> 8, to & 255]),
        Buffer.from(more, 'latin1'),
      ])
      const host = canonicalHost(text)
      const whole = read(said)
      expect(whole.state).toBe(host.ok && to > 0 ? 'target' : 'bad')
      if (whole.state === 'target') expect([whole.target, whole.rest]).toEqual([{ host: host.ok ? host.value : '', port: to }, more])
      expect(read(...one(said))).toEqual(whole)
    }),
    { numRuns: 3_000 },
  )
})

test('SOCKS5 with any byte changed, and cut anywhere: never another host than its bytes say', () => {
  const base = Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, 9]), Buffer.from('a.example'), Buffer.from([1, 187])])
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 4 }), fc.nat(base.length), (changes, cut) => {
      const bytes = Buffer.from(base)
      for (const [at, value] of changes) bytes[at] = value
      const result = read(bytes.subarray(0, cut))
      expect(read(...one(bytes.subarray(0, cut)))).toEqual(result)
      if (result.target === undefined) return
      expect(canonicalHost(result.target.host)).toEqual({ ok: true, value: result.target.host })
      expect(result.target.port).toBeGreaterThan(0)
    }),
    { numRuns: 3_000 },
  )
})

test('HTTP by chance: a target is a host and a port that were written there; the answer to anything else is one refusal', () => {
  const pieces = fc.constantFrom(
    'CONNECT ',
    'GET ',
    'http://',
    'a.example',
    'b.test:443',
    ':80',
    '@',
    ' HTTP/1.1',
    '\r\n',
    '\n',
    'Host: a.example',
    '\0',
    '%',
    '[::1]',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string({ unit: 'binary-ascii', maxLength: 4 })), { maxLength: 12 }), (parts) => {
      const said = Buffer.from(`${parts.join('')}\r\n\r\n`, 'latin1')
      if (said[0] === 5) return
      const result = read(said)
      if (result.state === 'target' && result.target) {
        expect(canonicalHost(result.target.host)).toEqual({ ok: true, value: result.target.host })
        const written = said
          .toString('latin1')
          .split(/[\s/]+/)
          .map(parseAuthority)
        expect(written.map((word) => word.ok && word.value.host)).toContain(result.target.host)
      } else if (result.state === 'bad') expect(result.answered).toMatch(/^HTTP\/1\.1 400 /)
    }),
    { numRuns: 3_000 },
  )
})

test('no bytes make it fail', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 6 }), (chunks) => void read(...chunks)),
    { numRuns: 3_000 },
  )
})
