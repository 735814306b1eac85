/** Tunnels end to end on loopback, which stands for the hosts' addresses; only these tests hand in another resolver and guard. */
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type Fault, isFault } from '../../kernel/index.ts'
import { createPolicyHolder } from './access.ts'
import { createAuthority } from './authority.ts'
import { createDecisionLog } from './decision-log.ts'
import type { Web } from './dial.ts'
import { limits } from './limits.ts'
import { relay } from './relay.ts'
import { accessTo, inputsWith } from './testing/access.ts'
import { clientHello } from './testing/client-hello.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

const web: Web = {
  resolve: async (name) => [{ address: name === 'private.example' ? '10.0.0.1' : '127.0.0.1', family: 4 }],
  addressPolicy: () => (address) => (address === '127.0.0.1' ? 'public' : 'private'),
}

/** A host that does with each connection what it is told. */
async function host(serve: (socket: Socket) => void): Promise<{ port: number; connections: () => number }> {
  let connections = 0
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    connections += 1
    socket.on('error', () => undefined)
    closing.push(() => socket.destroy())
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => server.close())
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

const hosts = ['a.example', 'private.example']
async function open(port: number, options: { to?: string | null; allow?: string[]; signal?: AbortSignal } = {}) {
  const [near, far] = duplexPair({ allowHalfOpen: true })
  closing.push(() => near.destroy())
  near.on('error', () => undefined)
  // The pair does not tell its other side of a destroyed one, as sockets do.
  near.on('close', () => far.destroy())
  const to = options.to === null ? null : { host: options.to ?? 'a.example', port }
  const access = await accessTo(options.allow ?? hosts)
  let opened = false
  const ended = relay(far, to, { web, access, signal: options.signal ?? new AbortController().signal, opened: () => (opened = true) })
  return { near, ended, opened: () => opened }
}
async function everything(stream: Duplex): Promise<string> {
  let text = ''
  stream.on('data', (chunk) => (text += String(chunk)))
  if (!stream.readableEnded) await once(stream, 'end')
  return text
}
const fails = async (ended: Promise<Fault | null>): Promise<Fault> => (await ended) ?? { code: 'none', message: '', remedy: '' }

describe('a tunnel', () => {
  test('carries both ways, and each half ends by itself', async () => {
    const { port } = await host((socket) => {
      let got = ''
      socket.on('data', (bytes) => (got += String(bytes)))
      socket.on('end', () => socket.end(`heard ${got}`))
    })
    const { near, ended } = await open(port)
    near.end('hello')
    expect(await everything(near)).toBe('heard hello')
    expect(await ended).toBeNull()
  })

  test('the host may speak first, and end first', async () => {
    const got: string[] = []
    const { port } = await host((socket) => {
      socket.on('data', (bytes) => got.push(String(bytes)))
      socket.end('220 ready\r\n')
    })
    const { near, ended } = await open(port)
    expect(await everything(near)).toBe('220 ready\r\n')
    near.end('late but heard')
    expect(await ended).toBeNull()
    await expect.poll(() => got.join('')).toBe('late but heard')
  })

  test('what nobody reads waits at its sender', async () => {
    let sent = 0
    const { port } = await host((socket) => {
      const piece = Buffer.alloc(64 * 1024)
      const more = (): void => {
        while (sent < 200 * 1024 * 1024) {
          sent += piece.length
          if (!socket.write(piece)) return void socket.once('drain', more)
        }
      }
      more()
    })
    const { near } = await open(port)
    await once(near, 'readable')
    let before = -1
    // Two looks with the same result after the buffers of both sockets are full.
    await expect
      .poll(
        () => {
          const same = sent === before
          before = sent
          return same
        },
        { interval: 100, timeout: 20_000 },
      )
      .toBe(true)
    expect(sent).toBeLessThan(64 * 1024 * 1024)
    near.destroy()
  })

  test('many at once', async () => {
    const { port, connections } = await host((socket) => void socket.pipe(socket))
    const tunnels = await Promise.all(Array.from({ length: 300 }, () => open(port)))
    const texts = tunnels.map(async ({ near }, at) => {
      near.end(`tunnel ${at}`)
      return everything(near)
    })
    expect(await Promise.all(texts)).toEqual(tunnels.map((_, at) => `tunnel ${at}`))
    expect((await Promise.all(tunnels.map(({ ended }) => ended))).every((fault) => fault === null)).toBe(true)
    expect(connections()).toBe(300)
  })
})

describe('refused', () => {
  test('a host that is not allowed: nothing is dialled', async () => {
    const { port, connections } = await host(() => undefined)
    const { near, ended, opened } = await open(port, { to: 'b.example' })
    near.write('secret')
    expect(await fails(ended)).toMatchObject({ code: 'egress-denied', rule: 'hosts: not listed' })
    expect([near.readableEnded || near.destroyed || true, opened(), connections()]).toEqual([true, false, 0])
  })
  test('an allowed name that leads inside', async () => {
    expect(await fails((await open(443, { to: 'private.example' })).ended)).toMatchObject({ code: 'private-address' })
  })
  test('a host that does not answer', async () => {
    const { port } = await host(() => undefined)
    closing.splice(0).forEach((close) => close())
    expect(await fails((await open(port)).ended)).toMatchObject({ code: 'fetch-failed' })
  })
  test('TLS for another server: none of it reaches the host', async () => {
    let heard = 0
    const { port } = await host((socket) => socket.on('data', (bytes) => (heard += bytes.length)))
    const { near, ended } = await open(port)
    near.write(clientHello({ names: ['other.example'] }))
    expect(await fails(ended)).toMatchObject({ code: 'egress-denied', rule: 'tls-name' })
    expect(heard).toBe(0)
  })
  test('over plain HTTP, in words', async () => {
    const { near, ended } = await open(80, { to: 'b.example' })
    const text = everything(near)
    near.end('GET / HTTP/1.1\r\nHost: b.example\r\n\r\n')
    expect(await text).toMatch(
      /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*x-bulkhead-rule: hosts: not listed\r\n[\s\S]*b\.example:80 is not among/,
    )
    await ended
  })
})

describe('cut', () => {
  test('by a policy that no longer allows the host: not one byte more', async () => {
    let heard = ''
    let socket: Socket | undefined
    const { port } = await host((arrived) => {
      socket = arrived
      arrived.on('data', (bytes) => (heard += String(bytes)))
    })
    const [near, far] = duplexPair({ allowHalfOpen: true })
    near.on('error', () => undefined)
    const holder = createPolicyHolder(() => Promise.reject(new Error('not asked')), createDecisionLog())
    holder.apply(inputsWith({}))
    const access = await holder.access({ session: 's-1', hosts }, 'tunnel')
    const ended = relay(far, { host: 'a.example', port }, { web, access, signal: new AbortController().signal })
    near.write('before ')
    await expect.poll(() => heard).toBe('before ')
    holder.apply(inputsWith({ member: { mode: 'list', allow: [], deny: ['a.example'] } }))
    near.write('after')
    expect(await fails(ended)).toMatchObject({ code: 'egress-denied', rule: 'deny a.example (egress rules)' })
    await expect.poll(() => socket?.destroyed).toBe(true)
    expect(heard).toBe('before ')
  })
  test('by its client, by its host, and by who asked for it', async () => {
    const sockets: Socket[] = []
    const { port } = await host((socket) => void sockets.push(socket))
    const abort = new AbortController()
    const [first, second, third] = [await open(port), await open(port), await open(port, { signal: abort.signal })]
    await expect.poll(() => sockets.length).toBe(3)
    first?.near.destroy()
    sockets[1]?.resetAndDestroy()
    abort.abort()
    for (const { ended } of [first, second, third]) {
      const why = await ended
      expect(why === null || isFault(why)).toBe(true)
    }
    // Each side of each is gone.
    await expect.poll(() => sockets.every(({ destroyed, readableEnded }) => destroyed || readableEnded)).toBe(true)
  })
})

describe('a client that dawdles', () => {
  afterEach(() => void vi.useRealTimers())
  // Only this process's own timers: sockets go on as they do.
  const hurried = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })

  test('over what it says to a proxy is ended in time, however often it says a little', async () => {
    hurried()
    const { near, ended } = await open(1, { to: null })
    const pieces = Array.from('CONNECT a.example:44')
    for (const letter of pieces) {
      near.write(letter)
      vi.advanceTimersByTime(limits.tunnelFirstMs / pieces.length - 1)
    }
    expect(near.destroyed).toBe(false)
    vi.advanceTimersByTime(pieces.length)
    expect(await fails(ended)).toMatchObject({ code: 'cancelled' })
  })

  test('over what has to be read before anything goes on is ended in time, and the host heard nothing', async () => {
    let heard = 0
    const { port } = await host((socket) => void socket.on('data', (bytes) => (heard += bytes.length)))
    const [near, far] = duplexPair({ allowHalfOpen: true })
    closing.push(() => near.destroy())
    near.on('error', () => undefined)
    const access = await accessTo(['a.example'], {
      member: { mode: 'list', allow: [], deny: [], requests: [{ host: 'a.example', methods: ['GET'], path: '/**' }] },
    })
    hurried()
    const stands = Promise.withResolvers<void>()
    const options = { web, access, signal: new AbortController().signal, authority: createAuthority(), opened: () => stands.resolve() }
    const ended = relay(far, { host: 'a.example', port }, options)
    await stands.promise
    const hello = clientHello({ names: ['a.example'] })
    const pieces = Array.from(hello.subarray(0, 20), (byte) => Buffer.from([byte]))
    for (const piece of pieces) {
      near.write(piece)
      vi.advanceTimersByTime(limits.tunnelFirstMs / pieces.length - 1)
    }
    vi.advanceTimersByTime(pieces.length)
    expect(await fails(ended)).toMatchObject({ code: 'fetch-failed', rule: 'first-bytes' })
    expect(heard).toBe(0)
  })
})

describe('as a proxy', () => {
  const echo = () => host((socket) => void socket.pipe(socket))
  const socks = (address: Uint8Array, port: number) =>
    Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0]), address, Buffer.from([port >> 8, port & 255])])
  const name = (text: string) => Buffer.concat([Buffer.from([3, text.length]), Buffer.from(text, 'latin1')])

  test('SOCKS5 by name, by IPv4 address, split anywhere', async () => {
    const { port } = await echo()
    for (const pieces of [[socks(name('a.example'), port)], Array.from(socks(name('A.Example.'), port), (byte) => Buffer.from([byte]))]) {
      const { near, ended } = await open(port, { to: null })
      for (const piece of pieces) near.write(piece)
      near.end('hello')
      expect(await everything(near)).toBe('\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00hello')
      expect(await ended).toBeNull()
    }
  })
  test.each([
    ['a name that is not allowed', socks(name('b.example'), 443), 'egress-denied', 2],
    ['a name with NUL', socks(name('evil.test\0.a.example'), 443), 'bad-url', 8],
    ['port 0', socks(name('a.example'), 0), 'bad-url', 8],
    ['an IPv6 address', socks(Buffer.concat([Buffer.from([4]), Buffer.alloc(15), Buffer.from([1])]), 443), 'egress-denied', 2],
    ['BIND', Buffer.from([5, 1, 0, 5, 2, 0, 1, 1, 1, 1, 1, 0, 80]), 'bad-url', 7],
    ['UDP', Buffer.from([5, 1, 0, 5, 3, 0, 1, 1, 1, 1, 1, 0, 80]), 'bad-url', 7],
    ['an address of no kind', Buffer.from([5, 1, 0, 5, 1, 0, 9, 1, 1, 1, 1, 0, 80]), 'bad-url', 8],
  ])('SOCKS5 for %s is refused', async (_what, bytes, code, reply) => {
    const { near, ended } = await open(1, { to: null })
    const text = everything(near)
    near.write(bytes)
    expect((await text).charCodeAt(3)).toBe(reply)
    expect((await fails(ended)).code).toBe(code)
  })
  test('SOCKS5 that wants a password, SOCKS4', async () => {
    for (const bytes of [Buffer.from([5, 1, 2]), Buffer.from([4, 1, 0, 80, 1, 1, 1, 1, 0])]) {
      const { near, ended } = await open(1, { to: null })
      near.resume()
      near.write(bytes)
      expect((await fails(ended)).code).toBe('bad-url')
    }
  })

  test('CONNECT, and a plain request with an absolute target', async () => {
    const { port } = await echo()
    const tunnel = await open(port, { to: null })
    tunnel.near.end(`CONNECT a.example:${port} HTTP/1.1\r\nHost: a.example:${port}\r\n\r\nhello`)
    expect(await everything(tunnel.near)).toBe('HTTP/1.1 200 Connection established\r\n\r\nhello')
    const plain = await open(port, { to: null })
    plain.near.end(`GET http://a.example:${port}/x HTTP/1.1\r\nHost: a.example:${port}\r\nProxy-Connection: keep-alive\r\n\r\n`)
    expect(await everything(plain.near)).toBe(`GET /x HTTP/1.1\r\nhost: a.example:${port}\r\nconnection: close\r\n\r\n`)
  })
  test.each([
    ['CONNECT b.example:443 HTTP/1.1\r\n\r\n', 403],
    ['CONNECT a.example HTTP/1.1\r\n\r\n', 400],
    ['CONNECT a.example:443:1 HTTP/1.1\r\n\r\n', 400],
    ['CONNECT a.example:0 HTTP/1.1\r\n\r\n', 400],
    ['CONNECT evil\r\n\r\nCONNECT a.example:443 HTTP/1.1\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a.example\r\n\r\n', 400],
    ['GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n', 403],
    ['GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n', 400],
    ['\r\n\r\n', 400],
  ])('%j gets %d, in words', async (text, status) => {
    const { near, ended } = await open(1, { to: null })
    const said = everything(near)
    near.write(text)
    expect(await said).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*Bulkhead: `))
    await ended
  })
})
