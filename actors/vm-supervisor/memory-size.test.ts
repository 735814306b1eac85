import { expect, test } from 'vitest'
import { memoryMiB, memoryStepMiB } from './limits.ts'
import { chosenMemory } from './memory-size.ts'

const mebibyte = 1024 ** 2
const given = (freeMiB: number): number => chosenMemory(null, freeMiB * mebibyte)

test('a quarter of what the host has free, in whole steps, between what a guest needs and what it uses', () => {
  expect([0, 300, 2_048, 3_071, 3_072, 4_095, 4_096, 23_000].map(given)).toEqual([512, 512, 512, 512, 768, 768, 1_024, 1_024])
})

test('more free is never less given, and small changes of what is free change nothing', () => {
  for (let free = 0; free < 8_192; free += 64) {
    expect(given(free + 64)).toBeGreaterThanOrEqual(given(free))
    expect(given(free) % memoryStepMiB).toBe(0)
    const step = memoryStepMiB * memoryMiB.freeShare
    expect(given(Math.floor(free / step) * step + step - 1)).toBe(given(Math.floor(free / step) * step))
  }
})

test('who asks for some gets it, but for less than a kernel and its agent start in', () => {
  expect([2_048, 768.4, 100].map((asked) => chosenMemory(asked, 0))).toEqual([2_048, 768, 256])
})
