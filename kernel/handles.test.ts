/** Accepted sockets on their way to an actor: whatever becomes of the message or the actor, whoever connected is served or hung up on. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ActorEntry } from './placement.ts'
import { actor as probe } from './testing/probe/index.ts'
import { startTestKernel, type TestKernel } from './testing/test-kernel.ts'

const manifest = { ...probe.manifest, grants: [], handles: true }
const entry: ActorEntry = {
  manifest,
  protocol: probe.protocol,
  entry: new URL('./testing/probe/index.ts', import.meta.url).href,
  load: async () => probe,
}
let server: Server
let running: TestKernel

beforeEach(async () => {
  // A reset is known to TCP only.
  server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(async () => {
  server.close()
  await running.stop()
})

type Connected = { client: Socket; accepted: Socket; closed: Promise<unknown> }

async function connected(): Promise<Connected> {
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  client.on('error', () => {}).resume()
  const closed = once(client, 'close')
  return { client, accepted: (await accepted)[0], closed }
}

const start = async (): Promise<void> => void (running = await startTestKernel({ actors: [entry], placement: 'process' }))
const port = () => running.kernel.actors.get('probe')?.port

test('who resets the connection before its message has arrived ends nothing but it', async () => {
  await start()
  for (let conn = 1; conn <= 20; conn++) {
    const { client, accepted } = await connected()
    port()?.sendHandle(conn, accepted)
    await running.test.request('probe', 'echo', { text: 'the socket is there' })
    client.resetAndDestroy()
    await running.test.request('probe', 'echo', { text: 'so is the reset' })
  }
  expect((await running.test.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ count: 41 })
})

test('those on their way to an actor that ends are hung up on', async () => {
  await start()
  const pid = port()?.pid ?? 0
  process.kill(pid, 'SIGSTOP')
  // One is on its way, and the rest wait until it has arrived.
  const all: Connected[] = []
  while (all.length < 5) all.push(await connected())
  for (const [conn, { accepted }] of all.entries()) port()?.sendHandle(conn, accepted)
  process.kill(pid, 'SIGKILL')
  await Promise.all(all.map(({ closed }) => closed))
  expect((await running.test.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ count: 1 })
})

test('one that comes with a message that is refused is hung up on', async () => {
  await start()
  const { accepted, closed } = await connected()
  running.test.send('probe', 'no such kind', {}, { conn: 1, socket: accepted })
  await closed
  expect(running.kernel.deadLetters.counts).toMatchObject({ malformed: 1 })
})

test('one whose message waits for an actor that comes no more is hung up on', async () => {
  await start()
  process.kill(port()?.pid ?? 0, 'SIGSTOP')
  const { accepted, closed } = await connected()
  // More than may be on their way at once stand before it.
  const before = Array.from({ length: 100 }, () => running.test.request('probe', 'echo', { text: 'before' }).catch(() => null))
  running.test.send('probe', 'echo', { text: 'with a socket' }, { conn: 1, socket: accepted })
  const stopped = running.kernel.stopInstance('probe')
  process.kill(port()?.pid ?? 0, 'SIGKILL')
  await Promise.all([closed, stopped, ...before])
  expect(running.kernel.deadLetters.recent.map(({ kind, error: { code } }) => [kind, code])).toContainEqual(['echo', 'actor-down'])
})
