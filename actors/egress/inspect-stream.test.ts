import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createBodyReader } from './http-body.ts'
import { readHead } from './http-head.ts'
import { createInspector } from './inspect-stream.ts'
import { clientHello } from './testing/client-hello.ts'
import { readHello } from './tls-hello.ts'

const https = { host: 'a.example', port: 443 }
const http = { host: 'a.example', port: 80 }

/** What goes on, or the rule that refuses. */
function send(target: { host: string; port: number }, ...pieces: (string | Uint8Array)[]): string {
  const inspector = createInspector(target)
  let out = ''
  for (const piece of [...pieces.map((text) => Buffer.from(text as string)), null]) {
    const result = piece === null ? inspector.end() : inspector.push(piece)
    if ('refuse' in result) return `refused: ${result.refuse.rule}`
    if ('open' in result) return 'to be opened'
    out += Buffer.concat(result.forward).toString('latin1')
  }
  return out
}
const one = (bytes: Buffer) => Array.from(bytes, (byte) => Uint8Array.of(byte))

describe('TLS', () => {
  const named = clientHello({ names: ['a.example'] })
  test.each([
    ['whole', [named]],
    ['byte by byte', one(named)],
    ['over many records', [clientHello({ names: ['a.example'], perRecord: 7 })]],
    ['any minor version of the record', [clientHello({ names: ['a.example'], recordMinor: 4 })]],
    ['in capitals with a dot at the end', [clientHello({ names: ['A.EXAMPLE.'] })]],
    ['with other extensions', [clientHello({ names: ['a.example'], extra: [[0x10, Buffer.from([0, 3, 2, 104, 50])]] })]],
    ['with data after it', [clientHello({ names: ['a.example'], trailing: Buffer.from([0x14, 3, 3, 0, 1, 1]) })]],
  ])('for the host passes as it is: %s', (_name, pieces) => {
    expect(send(https, ...pieces)).toBe(Buffer.concat(pieces).toString('latin1'))
  })
  test.each([
    ['another name', clientHello({ names: ['b.example'] }), 'tls-name'],
    ['a longer name', clientHello({ names: ['a.example.evil.test'] }), 'tls-name'],
    ['a name with NUL', clientHello({ names: ['evil.test\0.a.example'] }), 'tls-name'],
    ['no name', clientHello(), 'tls-no-name'],
    ['an empty list of names', clientHello({ names: [] }), 'tls-form'],
    ['two names', clientHello({ names: ['a.example', 'b.example'] }), 'tls-form'],
    ['the extension twice', clientHello({ names: ['a.example'], extra: [[0, Buffer.from([0, 4, 0, 0, 1, 98])]] }), 'tls-form'],
    ['a name that is no host name', clientHello({ names: ['a.example'], nameType: 1 }), 'tls-form'],
    ['an encrypted hello', clientHello({ names: ['a.example'], extra: [[0xfe0d, Buffer.alloc(60)]] }), 'tls-encrypted-hello'],
    ['its forerunner', clientHello({ names: ['a.example'], extra: [[0xffce, Buffer.alloc(9)]] }), 'tls-encrypted-hello'],
    ['a server hello', Buffer.from([0x16, 3, 1, 0, 4, 2, 0, 0, 0]), 'tls-form'],
    ['a record of no length', Buffer.from([0x16, 3, 1, 0, 0]), 'tls-form'],
    ['an alert', Buffer.from([0x15, 3, 1, 0, 2, 1, 0]), 'opaque-bytes'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a.example:443\r\n\r\n'), 'opaque-bytes'],
    ['SSH', Buffer.from('SSH-2.0-x\r\n'), 'opaque-bytes'],
    ['half a hello', named.subarray(0, 40), 'opaque-bytes'],
  ])('$0 is refused', (_name, bytes, rule) => {
    expect(send(https, bytes)).toBe(`refused: ${rule}`)
    expect(send(https, ...one(bytes))).toBe(`refused: ${rule}`)
  })
  test('to an address needs no name, and takes no other', () => {
    const target = { host: '203.0.113.9', port: 443 }
    expect(send(target, clientHello())).toBe(clientHello().toString('latin1'))
    expect(send(target, clientHello({ names: ['a.example'] }))).toBe('refused: tls-name')
  })
  test('the name is judged on any port, and other bytes pass on other ports', () => {
    expect(send({ host: 'a.example', port: 8443 }, clientHello({ names: ['b.example'] }))).toBe('refused: tls-name')
    expect(send({ host: 'a.example', port: 22 }, 'SSH-2.0-x\r\n')).toBe('SSH-2.0-x\r\n')
    expect(send({ host: 'a.example', port: 25 }, 'EHLO me\r\n')).toBe('EHLO me\r\n')
    expect(send({ host: 'a.example', port: 6379 }, Uint8Array.of(0x16, 3))).toBe('\x16\x03')
  })

  test("Node's own hello is understood", async () => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client = tls.connect({ port, host: '127.0.0.1', servername: 'a.example', ALPNProtocols: ['h2', 'http/1.1'] })
    client.on('error', () => undefined)
    const [socket] = (await once(server, 'connection')) as [net.Socket]
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    client.destroy()
    socket.destroy()
    server.close()
    expect(readHello(bytes)).toEqual({ state: 'hello', name: 'a.example', encrypted: false })
  })
  test('no bytes make the reader fail or find a name that is not there', () => {
    const base = clientHello({ names: ['a.example'] })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }), fc.nat(base.length), (changes, cut) => {
        const bytes = Buffer.from(base)
        for (const [at, value] of changes) bytes[at] = value
        const hello = readHello(bytes.subarray(0, cut))
        if (hello.state === 'hello' && hello.name !== null) expect(bytes.toString('latin1')).toContain(hello.name)
      }),
      { numRuns: 3_000 },
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void readHello(bytes)))
  })
})

const get = (lines: string[], body = '') => `${['GET /x?y HTTP/1.1', ...lines, '', ''].join('\r\n')}${body}`

describe('HTTP', () => {
  test('one request passes, written anew, and nothing after it', () => {
    const request = get(['Host: A.example', 'Accept: */*', 'Connection: keep-alive', 'Proxy-Authorization: Basic x', 'X-Odd:  v '])
    const written = 'GET /x?y HTTP/1.1\r\nhost: A.example\r\naccept: */*\r\nx-odd: v\r\nconnection: close\r\n\r\n'
    expect(send(http, request)).toBe(written)
    expect(send(http, ...one(Buffer.from(request)))).toBe(written)
    expect(send(http, request + get(['Host: evil.test']))).toBe(written)
    expect(send(http, request, get(['Host: evil.test']))).toBe(written)
  })
  test.each([
    ['Host: a.example:80', http],
    ['Host: a.example.', http],
    ['Host: a.example:8080', { host: 'a.example', port: 8080 }],
    ['Host: [2001:db8::1]', { host: '[2001:db8::1]', port: 80 }],
  ])('%s is for the host', (line, target) => {
    expect(send(target, get([line]))).toContain('GET /x?y')
  })
  test('an absolute target is for the host as well, and goes on without it', () => {
    expect(send(http, 'GET http://a.example/p HTTP/1.1\r\nHost: a.example\r\n\r\n')).toMatch(/^GET \/p HTTP/)
    expect(send(http, 'GET http://b.example/p HTTP/1.1\r\nHost: a.example\r\n\r\n')).toBe('refused: http-host')
  })
  test.each([
    ['another Host', get(['Host: b.example']), 'http-host'],
    ['another port', get(['Host: a.example:81']), 'http-host'],
    ['two Hosts', get(['Host: a.example', 'Host: a.example']), 'http-form'],
    ['no Host', get(['Accept: x']), 'http-form'],
    ['a Host with user', get(['Host: x@a.example']), 'http-form'],
    ['a folded field', get(['Host: a.example', 'X: a', ' b']), 'http-form'],
    ['a blank before the colon', get(['Host : a.example']), 'http-form'],
    ['a bare line feed', 'GET / HTTP/1.1\nHost: a.example\r\n\r\n', 'http-form'],
    ['a bare carriage return', get(['Host: a.example', 'X: a\rHost: b']), 'http-form'],
    ['a NUL', get(['Host: a.example', 'X: \0']), 'http-form'],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n', 'http-form'],
    ['CONNECT', 'CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n', 'http-form'],
    ['TE and CL', get(['Host: a.example', 'Transfer-Encoding: chunked', 'Content-Length: 3']), 'http-form'],
    ['two CL', get(['Host: a.example', 'Content-Length: 3', 'Content-Length: 4'], 'abcd'), 'http-form'],
    ['a CL that is no number', get(['Host: a.example', 'Content-Length: +3'], 'abc'), 'http-form'],
    ['a list of CL', get(['Host: a.example', 'Content-Length: 3, 3'], 'abc'), 'http-form'],
    ['TE that ends in more than chunked', get(['Host: a.example', 'Transfer-Encoding: chunked, identity']), 'http-form'],
    ['TE disguised', get(['Host: a.example', 'Transfer-Encoding: xchunked']), 'http-form'],
    ['TE in HTTP/1.0', 'POST / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n', 'http-form'],
    ['WebSocket', get(['Host: a.example', 'Connection: upgrade', 'Upgrade: websocket']), 'http-form'],
    ['h2c', get(['Host: a.example', 'Upgrade: h2c']), 'http-form'],
    ['HTTP/2 by prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http-form'],
    ['an overlong head', get([`X: ${'x'.repeat(40_000)}`, 'Host: a.example']), 'http-form'],
    ['too many fields', get([...Array.from({ length: 200 }, () => 'X: y'), 'Host: a.example']), 'http-form'],
    ['TLS on port 80 for another', clientHello({ names: ['b.example'] }).toString('latin1'), 'tls-name'],
    ['something else', 'hello there\r\n', 'opaque-bytes'],
    ['half a head', 'GET / HTTP/1.1\r\nHost', 'opaque-bytes'],
  ])('$0 is refused', (_name, text, rule) => {
    expect(send(http, Buffer.from(text, 'latin1'))).toBe(`refused: ${rule}`)
    expect(send(http, ...one(Buffer.from(text, 'latin1')))).toBe(`refused: ${rule}`)
  })

  const post = (lines: string[], body: string) => `${['POST / HTTP/1.1', 'Host: a.example', ...lines, '', ''].join('\r\n')}${body}`
  test.each([
    ['by length', ['Content-Length: 5'], '12345', 'SMUGGLED'],
    ['of no length', ['Content-Length: 0'], '', 'SMUGGLED'],
    ['in chunks', ['Transfer-Encoding: chunked'], '3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n', 'SMUGGLED'],
    ['in chunks with trailers', ['Transfer-Encoding: chunked'], '1\r\nx\r\n0\r\nT: v\r\n\r\n', 'GET / HTTP/1.1\r\n'],
  ])('a body $0 passes to its end and no further', (_name, lines, body, more) => {
    const text = Buffer.from(post(lines, body) + more)
    for (const sent of [send(http, text), send(http, ...one(text))]) expect(sent.split('\r\n\r\n').slice(1).join('\r\n\r\n')).toBe(body)
  })
  test.each([
    '3;ext=1\r\nabc\r\n',
    '0x3\r\nabc\r\n',
    '3\nabc\r\n',
    '3\r\nabcd\r\n',
    '\r\n',
    '-1\r\n',
    '123456789\r\n',
    '3 \r\nabc\r\n',
    '0\r\nX\n\r\n',
  ])('broken chunks %j are refused', (body) => {
    expect(send(http, post(['Transfer-Encoding: chunked'], body))).toBe('refused: http-form')
  })
  test('what passes has one Host, one framing, and no bare line ends, whatever was sent', () => {
    const pieces = fc.constantFrom(
      'GET ',
      '/ ',
      'HTTP/1.1',
      '\r\n',
      '\n',
      '\r',
      'Host: a.example',
      'Host: b',
      'Content-Length: 3',
      'Transfer-Encoding: chunked',
      ' ',
      ':',
      'abc',
      'X: y',
      '\r\n\r\n',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 3 })), { maxLength: 14 }), (parts) => {
        const sent = send(http, Buffer.from(`GET / HTTP/1.1\r\nHost: a.example\r\n${parts.join('')}\r\n\r\n`, 'latin1'))
        if (sent.startsWith('refused')) return
        const head = sent.slice(0, sent.indexOf('\r\n\r\n') + 4)
        expect(head.match(/^host: a\.example$/gim)).toHaveLength(1)
        expect(head.replaceAll('\r\n', '')).not.toMatch(/[\r\n\0]/)
        expect(/^content-length:/im.test(head) && /^transfer-encoding:/im.test(head)).toBe(false)
        expect(readHead(Buffer.from(head, 'latin1')).state).toBe('head')
      }),
      { numRuns: 2_000 },
    )
  })
  test('a body ends at the same byte however it is split', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 9 })),
        fc.string({ maxLength: 9 }),
        fc.array(fc.integer({ min: 1, max: 5 })),
        (chunks, more, sizes) => {
          const encoded = chunks.filter((chunk) => chunk !== '').map((chunk) => Buffer.from(chunk))
          const body = Buffer.concat([
            ...encoded.flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
            Buffer.from('0\r\n\r\n'),
          ])
          const bytes = Buffer.concat([body, Buffer.from(more)])
          const reader = createBodyReader({ kind: 'chunked' })
          let [at, taken, turn] = [0, 0, 0]
          while (at < bytes.length) {
            const piece = bytes.subarray(at, at + (sizes[turn % Math.max(1, sizes.length)] ?? bytes.length))
            taken += reader.take(piece) ?? Number.NaN
            at += piece.length
            turn += 1
          }
          expect([taken, reader.over()]).toEqual([body.length, true])
        },
      ),
    )
  })
})
