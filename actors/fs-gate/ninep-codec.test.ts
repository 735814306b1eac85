import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Answer, CodecError, decodeRequest, encodeRequest, errorAnswer, noTag, tagOf } from './ninep-codec.ts'

test('what is encoded is decoded', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 40 })
  const u32 = fc.nat(0xffff_ffff)
  fc.assert(
    fc.property(
      fc.nat(0xffff),
      u32,
      u32,
      fc.array(name, { maxLength: 16 }),
      fc.uint8Array({ maxLength: 300 }),
      fc.bigInt(0n, 2n ** 64n - 1n),
      (tag, fid, newfid, names, data, offset) => {
        expect(decodeRequest(encodeRequest('walk', tag, { fid, newfid, names }))).toEqual({
          tag,
          name: 'walk',
          body: { fid, newfid, names },
        })
        const write = decodeRequest(encodeRequest('write', tag, { fid, offset, data: Buffer.from(data) }))
        expect(write).toEqual({ tag, name: 'write', body: { fid, offset, data: Buffer.from(data) } })
        expect(tagOf(encodeRequest('fsync', tag, { fid }))).toBe(tag)
      },
    ),
  )
})

test('any bytes are a message or a CodecError', () => {
  const some = fc.oneof(fc.uint8Array({ maxLength: 120 }), framed(fc.uint8Array({ maxLength: 120 })))
  fc.assert(
    fc.property(some, (bytes) => decodesOrRefuses(bytes)),
    { numRuns: 5_000 },
  )
})

test('so are damaged messages', () => {
  const base = encodeRequest('lcreate', 7, { fid: 1, name: 'file', flags: 0o100, mode: 0o644, gid: 0 })
  for (let size = 0; size < base.length; size += 1) expect(() => decodeRequest(base.subarray(0, size))).toThrow(CodecError)
  fc.assert(
    fc.property(fc.nat(base.length - 1), fc.nat(255), (index, byte) => {
      const damaged = Buffer.from(base)
      damaged[index] = byte
      decodesOrRefuses(damaged)
    }),
  )
})

test('tags of frames too short to have one', () => {
  expect(tagOf(Buffer.alloc(6))).toBe(noTag)
  expect(tagOf(errorAnswer(0x1234, 5))).toBe(0x1234)
})

test('an answer cut short says its size', () => {
  const frame = new Answer('read', 3, 100).u32(0).cut(5)
  expect(frame.length).toBe(7 + 4 + 5)
  expect(frame.readUInt32LE(0)).toBe(frame.length)
})

/** Right size, any type, any body. */
function framed(body: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const types = [8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 100, 102, 104, 108, 110, 116, 118, 120, 122]
  return fc.tuple(fc.constantFrom(...types), body).map(([type, bytes]) => {
    const frame = Buffer.concat([Buffer.alloc(7), bytes])
    frame.writeUInt32LE(frame.length, 0)
    frame[4] = type
    return frame
  })
}

function decodesOrRefuses(bytes: Uint8Array): void {
  try {
    expect(decodeRequest(bytes).name).toBeTypeOf('string')
  } catch (error) {
    expect(error).toBeInstanceOf(CodecError)
  }
}
