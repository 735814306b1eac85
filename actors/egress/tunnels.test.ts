import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { limits } from './limits.ts'
import { accessTo } from './testing/access.ts'
import { createAuthority } from './authority.ts'
import { createTunnels, type TunnelPart } from './tunnels.ts'

let server: net.Server
let port: number
beforeAll(async () => {
  server = net.createServer({ allowHalfOpen: true }, (socket) => void socket.on('error', () => undefined).pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterAll(() => server.close())

const web = { resolve: async () => [{ address: '127.0.0.1', family: 4 as const }], addressPolicy: () => () => 'public' as const }
const never = new AbortController().signal

test('bytes in, bytes out, in order, with an end each way', async () => {
  const tunnels = createTunnels(web, createAuthority())
  const parts: TunnelPart[] = []
  const ended = tunnels.open('vm s-1 1', { host: 'a.example', port }, accessTo(['a.example']), never, async (part) => void parts.push(part))
  await tunnels.feed('vm s-1 1', Buffer.from('one '))
  await tunnels.feed('vm s-1 1', Buffer.from('two'))
  await tunnels.feed('vm s-1 1', null)
  expect(await ended).toBeNull()
  expect([parts[0]?.type, parts.at(-1)?.type]).toEqual(['open', 'end'])
  expect(Buffer.concat(parts.flatMap((part) => (part.type === 'data' ? [part.bytes] : []))).toString()).toBe('one two')
})

test('one who sends waits while nobody takes what comes back', async () => {
  const tunnels = createTunnels(web, createAuthority())
  const abort = new AbortController()
  let take: () => void = () => {}
  const taken = new Promise<void>((resolve) => (take = resolve))
  const ended = tunnels.open('vm s-1 1', { host: 'a.example', port }, accessTo(['a.example']), abort.signal, () => taken)
  let fed = 0
  const feeding = (async () => {
    for (; fed < 400; fed += 1) await tunnels.feed('vm s-1 1', Buffer.alloc(limits.partBytes))
  })()
  let before = -1
  await expect
    .poll(
      () => {
        const same = fed === before
        before = fed
        return same
      },
      { interval: 100, timeout: 20_000 },
    )
    .toBe(true)
  expect(fed).toBeLessThan(400)
  take()
  await feeding
  abort.abort()
  await ended
})

test('bounded by session, one tunnel a number, no host that is none, nothing for tunnels that are over', async () => {
  const tunnels = createTunnels(web, createAuthority())
  const access = accessTo(['a.example'])
  const abort = new AbortController()
  const open = (id: string, host = 'a.example') => tunnels.open(id, { host, port }, access, abort.signal, async () => undefined)
  const kept = Array.from({ length: limits.sessionTunnels }, (_, at) => open(`vm s-1 ${at}`))
  expect(await open('vm s-1 x')).toMatchObject({ code: 'overloaded' })
  expect(await open('vm s-1 1')).toMatchObject({ code: 'malformed' })
  // However many of one session dawdle, another has its own.
  const other = Promise.withResolvers<void>()
  const kin = tunnels.open('vm s-2 0', { host: 'a.example', port }, access, abort.signal, async (part) => {
    if (part.type === 'open') other.resolve()
  })
  await other.promise
  expect(await open('vm s-2 1', 'evil\0.a.example')).toMatchObject({ code: 'bad-url', rule: 'host-form' })
  abort.abort()
  await Promise.all([...kept, kin])
  await tunnels.feed('vm s-1 1', Buffer.from('late'))
})

test('bytes that come at once, before policy has answered, are not lost', async () => {
  const tunnels = createTunnels(web, createAuthority())
  let answer: () => void = () => {}
  const asked = new Promise<void>((resolve) => (answer = resolve))
  const parts: { type: string; bytes?: Uint8Array }[] = []
  const access = asked.then(() => accessTo(['a.example']))
  const ended = tunnels.open(
    'vm s-1 1',
    { host: 'a.example', port },
    access,
    AbortSignal.timeout(10_000),
    async (part) => void parts.push(part),
  )
  await tunnels.feed('vm s-1 1', Buffer.from('early'))
  await tunnels.feed('vm s-1 1', null)
  answer()
  expect(await ended).toBeNull()
  expect(Buffer.concat(parts.flatMap(({ bytes }) => (bytes ? [bytes] : []))).toString()).toBe('early')
})
