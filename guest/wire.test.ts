import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Decoded, encodeFrame, FrameDecoder, maxFrame, maxPayload } from './frames.ts'
import {
  channelName,
  type GuestMessage,
  type HostMessage,
  isFolderName,
  parseChannelName,
  parseFilesMessage,
  parseGuestMessage,
  parseHostMessage,
} from './wire.ts'

const session = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,20}$/)
const folder = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter(isFolderName)
const count = fc.nat(1_000_000)
const path = fc
  .string()
  .filter((text) => !text.includes('\0'))
  .map((text) => `/${text}`)

const terminalSize = fc.record({ cols: fc.integer({ min: 1, max: 65_535 }), rows: fc.integer({ min: 1, max: 65_535 }) })

const hostMessage: fc.Arbitrary<HostMessage> = fc.oneof(
  fc.record({ t: fc.constant('hello' as const), epoch: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/) }),
  fc.record({ t: fc.constant('wake' as const), ms: count, seed: fc.stringMatching(/^[0-9a-f]{128}$/) }, { requiredKeys: ['t', 'ms'] }),
  fc.constant({ t: 'warm' as const }),
  fc.record({
    t: fc.constant('session' as const),
    session,
    uid: fc.integer({ min: 20_000, max: 59_999 }),
    folders: fc.uniqueArray(fc.record({ name: folder, mode: fc.constantFrom('ro' as const, 'rw' as const), generation: fc.nat() }), {
      selector: (one) => one.name,
      maxLength: 8,
    }),
  }),
  fc.record({ t: fc.constant('unsession' as const), session }),
  fc.record(
    {
      t: fc.constant('exec' as const),
      id: count,
      session,
      cwd: path,
      timeoutMs: count,
      stdin: fc.boolean(),
      tty: terminalSize,
      env: fc.dictionary(
        fc.stringMatching(/^[a-z_][a-z0-9_]{0,20}$/),
        fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
        { maxKeys: 5 },
      ),
      keep: fc.boolean(),
      umask: fc.integer({ min: 0, max: 0o777 }),
      trace: fc.constant('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    },
    { requiredKeys: ['t', 'id', 'session', 'timeoutMs'] },
  ),
  fc.record({ t: fc.constant('stdin' as const), id: count, end: fc.boolean() }, { requiredKeys: ['t', 'id'] }),
  terminalSize.map((one) => ({ t: 'resize' as const, id: 3, ...one })),
  fc.record({ t: fc.constant('signal' as const), id: count, signal: fc.constantFrom('SIGINT' as const, 'SIGKILL' as const) }),
  fc.record({ t: fc.constant('credit' as const), id: count, bytes: count }),
  fc.record({ t: fc.constant('ping' as const), n: count, ms: count }),
  fc.constant({ t: 'shutdown' as const }),
)

const guestMessage: fc.Arbitrary<GuestMessage> = fc.oneof(
  fc.record({
    t: fc.constant('ready' as const),
    protocol: count,
    epoch: fc.constant('e-1'),
    agent: fc.string(),
    kernel: fc.string(),
    bootMs: count,
    stages: fc.dictionary(fc.stringMatching(/^[a-z]{1,10}$/), count, { maxKeys: 10, noNullPrototype: true }),
  }),
  fc.record({ t: fc.constantFrom('sessioned' as const, 'unsessioned' as const), session }),
  fc.record(
    {
      t: fc.constant('failed' as const),
      re: fc.constant('exec' as const),
      session,
      id: count,
      code: fc.constant('failed' as const),
      message: fc.string(),
    },
    { requiredKeys: ['t', 're', 'code', 'message'] },
  ),
  fc.record({ t: fc.constant('started' as const), id: count, pid: count }),
  fc.record({ t: fc.constant('out' as const), id: count, stream: fc.constantFrom('stdout' as const, 'stderr' as const) }),
  fc.record({
    t: fc.constant('exit' as const),
    id: count,
    code: fc.option(fc.integer({ min: 0, max: 255 })),
    signal: fc.option(fc.constant('SIGKILL')),
    timedOut: fc.boolean(),
    oom: fc.boolean(),
    durationMs: count,
    piped: count,
    cwd: path,
  }),
  fc.record({ t: fc.constant('took' as const), id: count, bytes: count }),
  fc.record({ t: fc.constant('kept' as const), id: count, path }),
  fc.record({ t: fc.constant('pong' as const), n: count, busy: fc.boolean() }),
  fc.constant({ t: 'awake' as const }),
  fc.record({ t: fc.constant('warmed' as const), problem: fc.string() }),
)

function frames(decoded: Decoded[]): { header: unknown; payload: number[] }[] {
  return decoded.map((one) => {
    if (!one.ok) throw new Error(one.reason)
    return { header: one.frame.header, payload: [...one.frame.payload] }
  })
}

describe('frames', () => {
  test('come out as they went in, however the stream is cut', () => {
    const sent = fc.array(fc.tuple(fc.oneof(hostMessage, guestMessage), fc.uint8Array({ maxLength: 300 })), { maxLength: 8 })
    fc.assert(
      fc.property(sent, fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), (messages, cuts) => {
        const stream = Buffer.concat(messages.map(([message, payload]) => encodeFrame(message, payload)))
        const decoder = new FrameDecoder()
        const decoded: Decoded[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] ?? 1
          decoded.push(...decoder.push(new Uint8Array(stream.subarray(at, at + size))))
          at += size
        }
        expect(frames(decoded)).toEqual(
          messages.map(([message, payload]) => ({ header: JSON.parse(JSON.stringify(message)), payload: [...payload] })),
        )
      }),
    )
  })

  test('sizes are refused before the bytes arrive, and the decoder stays shut until reset', () => {
    for (const [rest, header] of [
      [maxFrame + 1, 10],
      [0xffffffff, 10],
      [0, 0],
      [5, 4],
      [10, 0],
      [10, 9],
      [2 + 2 + maxPayload + 1, 2],
    ] as const) {
      const sizes = new Uint8Array(6)
      new DataView(sizes.buffer).setUint32(0, rest)
      new DataView(sizes.buffer).setUint16(4, header)
      const decoder = new FrameDecoder()
      expect(decoder.push(sizes)).toMatchObject([{ ok: false, fatal: true }])
      expect(decoder.push(encodeFrame({ t: 'ping', n: 1, ms: 0 }))).toEqual([])
      decoder.reset()
      expect(decoder.push(encodeFrame({ t: 'ping', n: 1, ms: 0 }))).toMatchObject([{ ok: true }])
    }
  })

  test('it says how much of a frame is missing', () => {
    const frame = encodeFrame({ t: 'ping', n: 1, ms: 0 }, new Uint8Array(100))
    const decoder = new FrameDecoder()
    expect(decoder.missing).toBe(0)
    decoder.push(frame.slice(0, 3))
    expect(decoder.missing).toBe(3)
    decoder.push(frame.slice(3, 20))
    expect(decoder.missing).toBe(frame.length - 20)
    decoder.push(frame.slice(20))
    expect(decoder.missing).toBe(0)
  })

  test('the largest frame passes, a larger one cannot be written', () => {
    const payload = new Uint8Array(maxPayload).fill(7)
    expect(new FrameDecoder().push(encodeFrame({ c: 's/f#1', op: 'msg' }, payload))).toMatchObject([{ ok: true }])
    expect(() => encodeFrame({ t: 'ping', n: 1, ms: 0 }, new Uint8Array(maxPayload + 1))).toThrow(RangeError)
    expect(() => encodeFrame({ t: 'log', level: 'info', message: 'x'.repeat(70_000) })).toThrow(RangeError)
  })

  test('a header that is no JSON is dropped alone', () => {
    const bad = new Uint8Array(6 + 3)
    new DataView(bad.buffer).setUint32(0, 5)
    new DataView(bad.buffer).setUint16(4, 3)
    bad.set([0xff, 0x7b, 0x22], 6)
    const decoded = new FrameDecoder().push(Buffer.concat([bad, encodeFrame({ t: 'ping', n: 2, ms: 0 })]))
    expect(decoded).toMatchObject([
      { ok: false, fatal: false },
      { ok: true, frame: { header: { t: 'ping', n: 2, ms: 0 } } },
    ])
  })

  test('no bytes make it throw or hold more than a frame', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
        const decoder = new FrameDecoder()
        for (const chunk of chunks) decoder.push(chunk)
      }),
    )
  })
})

describe('messages', () => {
  test('parsers keep what the types say', () => {
    fc.assert(
      fc.property(hostMessage, (message) => {
        expect(parseHostMessage(JSON.parse(JSON.stringify(message)))).toEqual(message)
      }),
    )
    fc.assert(
      fc.property(guestMessage, (message) => {
        expect(parseGuestMessage(JSON.parse(JSON.stringify(message)))).toEqual(message)
      }),
    )
  })

  test('anything else is null, never a throw', () => {
    fc.assert(
      fc.property(fc.anything(), fc.constantFrom('session', 'exec', 'exit', 'ready', 'failed', 'out', 'signal'), (value, t) => {
        for (const parse of [parseHostMessage, parseGuestMessage, parseFilesMessage]) {
          parse(value)
          expect(parse({ t, session: value, id: value, folders: value, stages: value, c: value })).toBeNull()
        }
      }),
    )
  })

  test('hostile fields are refused', () => {
    const right = { t: 'session', session: 's-1', uid: 20_000, folders: [{ name: 'a', mode: 'rw', generation: 3 }] }
    expect(parseHostMessage(right)).not.toBeNull()
    for (const wrong of [
      { uid: 0 },
      { uid: 19_999 },
      { uid: 60_000 },
      { uid: 20_000.5 },
      { session: '../x' },
      { session: '' },
      { folders: [{ name: '..', mode: 'rw', generation: 3 }] },
      { folders: [{ name: 'a/b', mode: 'rw', generation: 3 }] },
      { folders: [{ name: 'a', mode: 'rwx', generation: 3 }] },
      {
        folders: [
          { name: 'a', mode: 'ro', generation: 3 },
          { name: 'a', mode: 'rw', generation: 3 },
        ],
      },
    ])
      expect(parseHostMessage({ ...right, ...wrong })).toBeNull()
    expect(parseHostMessage(JSON.parse('{"t":"ping","n":1,"ms":0,"__proto__":{"x":1}}'))).toEqual({ t: 'ping', n: 1, ms: 0 })
    expect(
      parseGuestMessage({ t: 'exit', id: 1, code: 256, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/', piped: 0 }),
    ).toBeNull()
  })

  test('channel names carry any folder name', () => {
    fc.assert(
      fc.property(session, folder, fc.nat(999), (s, f, n) => {
        expect(parseChannelName(channelName(s, f, n))).toEqual({ session: s, folder: f, n })
      }),
    )
    expect(parseChannelName('s/../x#1')).toBeNull()
    expect(parseChannelName('s/x')).toBeNull()
  })
})
