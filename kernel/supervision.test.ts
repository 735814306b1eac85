import { expect, test } from 'vitest'
import { backoffMs, defaultIntensity, defaultPeriodMs } from './limits.ts'
import { decideRestart } from './supervision.ts'

const otp = { intensity: defaultIntensity, periodMs: defaultPeriodMs }

test('the first crash restarts at once; a second within the period backs off, and never gives up', () => {
  expect(decideRestart(otp, [1000], 0.5)).toEqual({ delayMs: 0, degraded: false })
  expect(decideRestart(otp, [1000, 2000], 0.5)).toEqual({ delayMs: 250, degraded: true })
  expect(decideRestart(otp, [1000, 2000, 2500, 3000], 0.5)).toEqual({ delayMs: 1000, degraded: true })
  const many = Array.from({ length: 200 }, (_, n) => 1000 + n)
  expect(decideRestart(otp, many, 0.5)).toEqual({ delayMs: backoffMs.last, degraded: true })
})

test('crashes further apart than the period count as single ones', () => {
  expect(decideRestart(otp, [1000, 7000], 0)).toEqual({ delayMs: 0, degraded: false })
})

test('jitter stays within a quarter either way', () => {
  expect(decideRestart(otp, [1, 2], 0)).toMatchObject({ delayMs: 188 })
  expect(decideRestart(otp, [1, 2], 1)).toMatchObject({ delayMs: 313 })
})

test('an intensity of its own is kept to, and one of none is degraded at the first crash', () => {
  expect(decideRestart({ intensity: 3, periodMs: 1000 }, [1, 2, 3], 0)).toEqual({ delayMs: 0, degraded: false })
  expect(decideRestart({ intensity: 0, periodMs: 1000 }, [1], 0.5)).toEqual({ delayMs: 250, degraded: true })
})
