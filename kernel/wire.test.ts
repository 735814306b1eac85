import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { framesPerWrite, maxDepth, maxFrameBytes } from './limits.ts'
import { createDecoder, createSender, encodeFrame, findImproper, WireError } from './wire.ts'

// The sign of a zero does not travel.
const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number))
const leaf = fc.oneof(fc.string(), fc.boolean(), fc.constant(null), fc.integer(), double)
const key = fc.string().filter((name) => !['__proto__', '__proto_', 'constructor', 'prototype'].includes(name))
const value = fc.letrec((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(key, tie('tree'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).tree

function collect(chunks: readonly Buffer[]): unknown[] {
  const frames: unknown[] = []
  const decode = createDecoder((frame) => frames.push(frame))
  for (const chunk of chunks) decode(chunk)
  return frames
}

describe('frames', () => {
  test('what is encoded is decoded, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 5 }), fc.array(fc.nat({ max: 40 }), { minLength: 1 }), (values, cuts) => {
        const bytes = Buffer.concat(values.map(encodeFrame))
        const chunks: Buffer[] = []
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const length = Math.max(1, cuts[i % cuts.length] as number)
          chunks.push(bytes.subarray(at, at + length))
          at += length
        }
        expect(collect(chunks)).toEqual(values)
      }),
    )
  })

  test('bytes travel as bytes', () => {
    const [frame] = collect([encodeFrame({ bytes: new Uint8Array([0, 255]) })]) as [{ bytes: Uint8Array }]
    expect([...frame.bytes]).toEqual([0, 255])
  })

  test.each([
    ['length 0', Buffer.from([0, 0, 0, 0])],
    ['length over the limit', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['not msgpack', Buffer.from([0, 0, 0, 2, 0xc1, 0xc1])],
    ['trailing bytes', Buffer.from([0, 0, 0, 2, 0x01, 0x01])],
    ['a date', Buffer.concat([Buffer.from([0, 0, 0, 6]), Buffer.from([0xd6, 0xff, 0, 0, 0, 1])])],
  ])('%s is refused', (_name, bytes) => {
    expect(() => collect([bytes])).toThrow(WireError)
  })

  test('nesting beyond the limit is refused, at any depth', () => {
    for (const depth of [maxDepth + 1, 100_000]) {
      const payload = Buffer.alloc(depth + 1, 0x91)
      payload[depth] = 0xc0
      const head = Buffer.alloc(4)
      head.writeUInt32BE(payload.length)
      expect(() => collect([head, payload])).toThrow(WireError)
    }
  })

  test('prototype keys are refused', () => {
    for (const name of ['__proto__', 'constructor', 'prototype'])
      expect(findImproper(JSON.parse(`{"a":{"${name}":1}}`))).toContain('cannot travel')
    expect(() => collect([encodeFrame(JSON.parse('{"__proto__":{"x":1}}'))])).toThrow(WireError)
  })

  test('any bytes either decode to plain values or throw WireError, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (payload) => {
        const head = Buffer.alloc(4)
        head.writeUInt32BE(payload.length)
        try {
          for (const frame of collect([head, Buffer.from(payload)])) expect(findImproper(frame)).toBeNull()
        } catch (error) {
          expect(error).toBeInstanceOf(WireError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('frames of one turn leave together at its end, those of a long one in parts, all in order', async () => {
    const writes: Buffer[] = []
    const send = createSender((bytes) => void writes.push(bytes))
    const turn = async (count: number): Promise<number> => {
      writes.length = 0
      for (let n = 0; n < count; n++) send(n)
      const before = writes.length
      await new Promise((resolve) => setImmediate(resolve))
      expect(collect(writes)).toEqual(Array.from({ length: count }, (_, n) => n))
      return before
    }
    expect([await turn(3), writes.length]).toEqual([0, 1])
    expect([await turn(framesPerWrite * 2 + 1), writes.length]).toEqual([2, 3])
    expect([await turn(framesPerWrite), writes.length]).toEqual([1, 1])
  })

  test('a frame over the limit is refused before it is sent', () => {
    expect(() => encodeFrame(new Uint8Array(maxFrameBytes))).toThrow(WireError)
  })
})
