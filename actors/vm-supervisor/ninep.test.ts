import fc from 'fast-check'
import { expect, it } from 'vitest'
import { fault } from '../../kernel/index.ts'
import { errnoOf, errorFrame, tagOf } from './ninep.ts'

it('builds an Rlerror byte for byte', () => {
  expect([...errorFrame(0x1234, 13)]).toEqual([11, 0, 0, 0, 7, 0x34, 0x12, 13, 0, 0, 0])
})

it('finds the tag of what it builds, also in the middle of a buffer', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 1, max: 133 }),
      fc.integer({ min: 0, max: 9 }),
      (tag, errno, offset) => {
        const buffer = new Uint8Array(32)
        buffer.set(errorFrame(tag, errno), offset)
        expect(tagOf(buffer.subarray(offset, offset + 11))).toBe(tag)
      },
    ),
  )
})

it('finds none where the size is wrong', () => {
  expect(tagOf(new Uint8Array(6))).toBeNull()
  expect(tagOf(new Uint8Array([12, 0, 0, 0, 7, 0, 0, 13, 0, 0, 0]))).toBeNull()
})

it('tells a lack of rights from the rest', () => {
  expect(errnoOf(fault('revoked', ''))).toBe(13)
  expect(errnoOf(fault('actor-down', ''))).toBe(5)
})
