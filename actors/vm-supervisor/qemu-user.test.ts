import { expect, test } from 'vitest'
import { qemuUids } from './limits.ts'
import { parseIdMap, userCandidates } from './qemu-user.ts'

const whole = parseIdMap('         0          0 4294967295\n')
const [large, small] = qemuUids as [(typeof qemuUids)[0], (typeof qemuUids)[0]]
const within = (id: number, { first, count }: typeof large) => id >= first && id < first + count

test('each home has ids of its own, always the same', () => {
  const one = userCandidates('/home/ann/.bulkhead', whole)
  expect(new Set(one).size).toBe(one.length)
  expect(one.every((id) => within(id, large))).toBe(true)
  expect(userCandidates('/home/ann/.bulkhead', whole)).toEqual(one)
  expect(userCandidates('/home/bob/.bulkhead', whole)[0]).not.toBe(one[0])
})

test('in a container with few ids they are from those nobody uses; with fewer still there are none', () => {
  const few = userCandidates('/h', parseIdMap('0 100000 65536'))
  expect(few.every((id) => within(id, small))).toBe(true)
  expect(few).not.toEqual([])
  expect(userCandidates('/h', parseIdMap('0 1000 1'))).toEqual([])
  expect(userCandidates('/h', parseIdMap(''))).toEqual([])
})
