/** What an actor that was taken over may send: refused, counted, the actor ended and started anew, and nobody else notices. */
import { afterEach, expect, test } from 'vitest'
import { Packr } from 'msgpackr/index-no-eval'
import { z } from 'zod'
import { maxDepth, maxFrameBytes } from './limits.ts'
import { actor as hostile } from './testing/hostile/index.ts'
import { actor as probe } from './testing/probe/index.ts'
import { startTestKernel, type TestKernel } from './testing/test-kernel.ts'
import type { Fault } from './types.ts'
import { encodeFrame } from './wire.ts'

let running: TestKernel | null = null
afterEach(async () => {
  await running?.stop()
  running = null
})

const packr = new Packr({ useRecords: false, mapsAsObjects: true })
/** Framed without the checks of `encodeFrame`. */
function framed(value: unknown, length?: number): Buffer {
  const payload = packr.pack(value)
  const head = Buffer.alloc(4)
  head.writeUInt32BE(length ?? payload.length)
  return Buffer.concat([head, payload])
}
const step = (...out: unknown[]): Buffer => encodeFrame({ t: 'step', out })
const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)])

async function start(): Promise<TestKernel> {
  const echo = { body: z.strictObject({ text: z.string() }), reply: z.unknown() }
  const url = (name: string) => new URL(`./testing/${name}/index.ts`, import.meta.url).href
  running = await startTestKernel({
    actors: [
      { manifest: hostile.manifest, protocol: hostile.protocol, entry: url('hostile'), load: async () => hostile },
      {
        manifest: { ...probe.manifest, placement: 'inline', grants: [] },
        protocol: probe.protocol,
        entry: url('probe'),
        load: async () => probe,
      },
    ],
    placement: 'manifest',
    peers: { peer: { protocol: { echo }, script: (_kind, body: { text: string }) => ({ heard: body.text }) } },
    // It writes behind its host's back: its log is not what it did.
    replay: false,
  })
  return running
}

const attack = ({ test: from }: TestKernel, bytes: Buffer, times = 1): Promise<Fault> =>
  from.request('hostile', 'attack', { bytes: new Uint8Array(bytes), times }, { deadlineMs: null }).then(
    () => Promise.reject(new Error('answered')),
    (error: Fault) => error,
  )

const attacks: readonly [string, Buffer][] = [
  ['a length over the limit', framed({ t: 'step', out: [] }, maxFrameBytes + 1)],
  ['a length of nothing', Buffer.from([0, 0, 0, 0])],
  ['bytes that are no frame', framed(null)],
  ['nesting beyond the limit', framed({ t: 'step', out: [{ t: 'send', slot: 'peer', kind: 'echo', body: deep(maxDepth + 1) }] })],
  [
    'prototype keys',
    framed({ t: 'step', out: [{ t: 'send', slot: 'peer', kind: 'echo', body: JSON.parse('{"__proto__":{"x":1}}') as unknown }] }),
  ],
  ['an unknown frame', encodeFrame({ t: 'sudo' })],
  ['an unknown command', step({ t: 'mint', slot: 'peer' })],
  ['a field too many', encodeFrame({ t: 'step', out: [], as: 'kernel' })],
  ['a number that is none', encodeFrame({ t: 'step', out: [{ t: 'reply', request: 1.5, body: {} }] })],
  ['a second start', encodeFrame({ t: 'ready', facts: { net: false } })],
  [
    'a limit of its own making',
    step({ t: 'send', slot: 'peer', kind: 'echo', body: {}, caps: [{ slot: 'peer', limits: { admin: true } }] }),
  ],
]

test('what is no frame of its own ends the actor; it is started anew, and the others do not notice', async () => {
  const it = await start()
  const live = it.kernel.actors.get('hostile')
  for (const [index, [name, bytes]] of attacks.entries()) {
    expect(await attack(it, bytes), name).toMatchObject({ code: 'actor-down' })
    await expect.poll(() => live?.state).toBe('running')
    expect(live?.incarnation, name).toBe(index + 2)
    expect((await it.test.request('probe', 'echo', { text: 'still here' })).body).toMatchObject({ count: index + 1 })
  }
})

test("slots it does not hold and requests that are not its own are refused and counted; nobody's answer is taken", async () => {
  const it = await start()
  const mine = it.test.request('probe', 'never', {}, { deadlineMs: null })
  const settled: string[] = []
  mine.then(
    () => settled.push('answered'),
    (error: Fault) => settled.push(error.code),
  )
  const open = attack(
    it,
    step(
      { t: 'send', slot: 1_000_000, kind: 'echo', body: { text: 'x' } },
      { t: 'send', slot: 'kernel', kind: 'shutdown', body: {} },
      { t: 'send', slot: 'peer', kind: 'slow', body: {} },
      { t: 'send', slot: 'peer', kind: 'constructor', body: {} },
      { t: 'send', slot: 'peer', kind: 'echo', body: { text: 1 } },
      { t: 'send', slot: 'peer', kind: 'echo', body: { text: 'x' }, caps: [{ slot: 'kernel' }] },
      // The first request of the test's own kernel is someone else's.
      { t: 'reply', request: 1, body: {} },
      { t: 'part', request: 1, body: {} },
      { t: 'refuse', request: 1, error: { code: 'denied', message: '', remedy: '' } },
      { t: 'charge', request: 1, quota: 'tokens', amount: 5 },
      { t: 'cancel', ref: 1 },
      { t: 'credit', ref: 1, n: 1_000_000 },
    ),
  )
  await expect.poll(() => it.kernel.deadLetters.counts).toEqual({ 'no-capability': 7, attenuated: 2, malformed: 1 })
  expect(settled).toEqual([])
  await it.kernel.stopInstance('hostile')
  expect((await open).code).toBe('actor-down')
})

test('flooding is answered by refusals once what it floods is full, and costs the others no message', async () => {
  const it = await start()
  const flood = step(...Array.from({ length: 500 }, () => ({ t: 'send', slot: 'nothing', kind: 'echo', body: { text: 'x' } })))
  const open = attack(it, flood, 40)
  const echoes: unknown[] = []
  for (let n = 0; n < 20; n++) echoes.push((await it.test.request('probe', 'echo', { text: 'x' })).body)
  expect(echoes).toHaveLength(20)
  await expect.poll(() => it.kernel.deadLetters.counts['no-capability']).toBe(20_000)
  // Counted for ever, remembered only lately.
  expect(it.kernel.deadLetters.recent.length).toBeLessThan(100)
  await it.kernel.stopInstance('hostile')
  await open
})
