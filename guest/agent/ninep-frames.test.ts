import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ninepMessageSize } from '../wire.ts'
import { NinepFrames } from './ninep-frames.ts'

function message(body: Uint8Array): Buffer {
  const whole = Buffer.alloc(7 + body.length)
  whole.writeUInt32LE(whole.length)
  whole.set(body, 7)
  return whole
}

test('messages come out whole, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (bodies, cuts) => {
        const sent = bodies.map(message)
        const stream = Buffer.concat(sent)
        const frames = new NinepFrames()
        const received: Uint8Array[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] ?? 1
          received.push(...frames.push(stream.subarray(at, at + size)))
          at += size
        }
        expect(received.map((one) => Buffer.from(one).toString('hex'))).toEqual(sent.map((one) => one.toString('hex')))
      },
    ),
  )
})

test('impossible sizes are refused at once', () => {
  for (const size of [0, 6, ninepMessageSize + 1, 0xffff_ffff]) {
    const start = Buffer.alloc(4)
    start.writeUInt32LE(size)
    expect(() => new NinepFrames().push(start)).toThrow(RangeError)
  }
})
