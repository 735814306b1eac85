/** The guest's connections on the host's side, with egress and the guest played by the test. */
import { duplexPair } from 'node:stream'
import * as Effect from 'effect/Effect'
import { expect, test } from 'vitest'
import { netPiece, netWindow, netWindowIn, type NetMessage } from '../../guest/agent/net-wire.ts'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import { type EffectContext, type Fault, fault } from '../../kernel/index.ts'
import { maxRepliesQueued } from './limits.ts'
import { NetLink } from './link-net.ts'

type Asked = {
  to: unknown
  kind: string
  body: { tunnel: number; to?: unknown; bytes?: Uint8Array | null }
  part(body: unknown): Promise<void>
  settle(error?: Fault): void
  cancelled: boolean
}

/** What was written on either side has been read on the other. */
const turn = async () => {
  for (let at = 0; at < 4; at++) await new Promise((resolve) => setImmediate(resolve))
}

function world(networks: Record<string, string> = { 's-1': 'net-1', 's-2': 'net-2' }) {
  const asked: Asked[] = []
  const sent: (NetMessage & { size?: number })[] = []
  const refused: string[] = []
  const request = ((to: unknown, kind: string, body: Asked['body'], options: { onPart?: (part: unknown) => Promise<void> } = {}) =>
    Effect.callback<{ body: unknown; caps: readonly number[] }, Fault>((resume) => {
      const one: Asked = {
        to,
        kind,
        body,
        cancelled: false,
        part: async (part) => options.onPart?.(part),
        settle: (error) => resume(error ? Effect.fail(error) : Effect.succeed({ body: {}, caps: [] })),
      }
      asked.push(one)
      return Effect.sync(() => void (one.cancelled = true))
    })) as unknown as EffectContext['request']
  const [stream, guest] = duplexPair()
  const decoder = new FrameDecoder()
  guest.on('data', (bytes: Uint8Array) => {
    for (const decoded of decoder.push(bytes)) {
      if (!decoded.ok) throw new Error(decoded.reason)
      const { header, payload } = decoded.frame
      sent.push(payload.length > 0 ? { ...(header as NetMessage), size: payload.length } : (header as NetMessage))
    }
  })
  guest.on('error', () => {})
  const wrong: string[] = []
  const link = new NetLink(stream, (session) => networks[session] ?? null, { request } as unknown as EffectContext, {
    refused: (session, to, error) => refused.push(`${session} ${to} ${error.code}`),
    nonsense: (reason) => wrong.push(reason),
  })
  /** Resolves once the host has looked at it. */
  const from = async (message: object, payload: Uint8Array = new Uint8Array()) => {
    guest.write(encodeFrame(message as NetMessage, payload))
    await turn()
  }
  return { link, guest, asked, sent, refused, wrong, from, turn }
}
const open = (n: number, session = 's-1') => ({ n, net: 'open', session, to: { host: 'a.example', port: 443 } })

test("each connection goes by its session's capability; a session without one is refused at once", async () => {
  const it = world()
  await it.from(open(1))
  await it.from(open(2, 's-2'))
  await it.from(open(3, 's-3'))
  expect(it.asked.map(({ to, kind }) => [to, kind])).toEqual([
    ['net-1', 'connect'],
    ['net-2', 'connect'],
  ])
  expect(it.asked[0]?.body.tunnel).not.toBe(it.asked[1]?.body.tunnel)
  expect(it.sent).toEqual([{ n: 3, net: 'reset' }])
})

test('bytes go in order both ways, and credit comes back as they are taken', async () => {
  const it = world()
  await it.from(open(1))
  await it.from({ n: 1, net: 'data' }, Buffer.from('one'))
  await it.from({ n: 1, net: 'end' })
  expect(it.asked.slice(1).map(({ kind, body }) => [kind, body.bytes && String(body.bytes)])).toEqual([
    ['tunnel-data', 'one'],
    ['tunnel-data', null],
  ])
  it.asked[1]?.settle()
  await it.turn()
  expect(it.sent).toEqual([{ n: 1, net: 'credit', bytes: 3 }])
  await it.asked[0]?.part({ type: 'data', bytes: Buffer.from('two') })
  await it.asked[0]?.part({ type: 'end' })
  await it.turn()
  expect(it.sent.slice(1)).toEqual([
    { n: 1, net: 'data', size: 3 },
    { n: 1, net: 'end' },
  ])
  it.asked[0]?.settle()
  await it.turn()
  expect(it.sent).toHaveLength(3)
})

test('the host waits for a guest that does not read', async () => {
  const it = world()
  await it.from(open(1))
  const piece = Buffer.alloc(netPiece)
  for (let at = 0; at < netWindowIn; at += netPiece) await it.asked[0]?.part({ type: 'data', bytes: piece })
  let sent = false
  const waiting = it.asked[0]?.part({ type: 'data', bytes: piece }).then(() => (sent = true))
  await it.turn()
  expect(sent).toBe(false)
  await it.from({ n: 1, net: 'credit', bytes: netPiece })
  await waiting
  expect(sent).toBe(true)
})

test('a guest that sends beyond its credit, or more in a piece than agreed, loses the connection', async () => {
  const it = world()
  await it.from(open(1))
  for (let at = 0; at <= netWindow; at += netPiece) await it.from({ n: 1, net: 'data' }, Buffer.alloc(netPiece))
  await it.from(open(2))
  await it.from({ n: 2, net: 'data' }, Buffer.alloc(netPiece + 1))
  await it.turn()
  expect(it.sent.filter(({ net }) => net === 'reset').map(({ n }) => n)).toEqual([1, 2])
  expect(it.asked.filter(({ kind }) => kind === 'connect').every(({ cancelled }) => cancelled)).toBe(true)
})

test('what egress refuses resets the connection, and is told', async () => {
  const it = world()
  await it.from(open(1))
  it.asked[0]?.settle(fault('egress-denied', 'x'))
  await it.turn()
  expect(it.sent).toEqual([{ n: 1, net: 'reset' }])
  expect(it.refused).toEqual(['s-1 a.example:443 egress-denied'])
})

test('a reset, and the end of the link, give up what was asked; numbers that are not open mean nothing', async () => {
  const it = world()
  await it.from(open(1))
  await it.from(open(2))
  await it.from(open(2))
  await it.from({ n: 1, net: 'reset' })
  await it.from({ n: 9, net: 'data' }, Buffer.from('x'))
  await it.from({ n: 9, net: 'credit', bytes: 5 })
  it.link.end()
  await it.turn()
  expect(it.asked.map(({ cancelled }) => cancelled)).toEqual([true, true])
})

test('a question whether the port works is answered by its number, and by nothing else', async () => {
  const it = world()
  let answered = false
  const echo = it.link.echo().then(() => (answered = true))
  await it.turn()
  expect(it.sent).toEqual([{ n: 1, net: 'echo' }])
  await it.from({ n: 2, net: 'echo' })
  expect(answered).toBe(false)
  await it.from({ n: 1, net: 'echo' })
  await echo
  const late = it.link.echo()
  it.link.end()
  await expect(late).rejects.toThrow('closed')
  await expect(it.link.echo()).rejects.toThrow('closed')
})

test('what is no frame ends the link and all connections, with the reason', async () => {
  const it = world()
  await it.from(open(1))
  it.guest.write(Buffer.alloc(64, 0xff))
  await it.turn()
  expect([it.wrong.length, it.asked.map(({ cancelled }) => cancelled)]).toEqual([1, [true]])
})

test('a guest that asks and does not listen is not listened to; once it does, nothing was lost', async () => {
  const it = world()
  it.guest.pause()
  const each = encodeFrame(open(1, 's-3') as NetMessage)
  const reply = encodeFrame({ n: 1, net: 'reset' }).length
  const count = Math.ceil((12 * maxRepliesQueued) / reply)
  let written = 0
  const flood = (): void => {
    while (written++ < count) if (!it.guest.write(each)) return void it.guest.once('drain', flood)
  }
  flood()
  // As long as anything moves.
  for (let before = -1; before !== written; await it.turn()) before = written
  expect(written).toBeLessThan(count)
  expect(written * reply).toBeGreaterThan(maxRepliesQueued)
  it.guest.resume()
  await expect.poll(() => it.sent.length).toBe(count)
})
