import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { whileHeard } from './while-heard.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const silentMs = 1_000

it('a guest that is heard of gets the time it takes', async () => {
  let heard = 0
  const { promise, resolve } = Promise.withResolvers<string>()
  const answer = whileHeard(promise, { received: () => heard, silentMs })
  for (let at = 0; at < 1_000; at++) {
    heard += 1
    await vi.advanceTimersByTimeAsync(silentMs)
  }
  resolve('late')
  expect(await answer).toBe('late')
  expect(vi.getTimerCount()).toBe(0)
})

it('one that falls silent does not, nor one that talks and never answers; what fails does so at once', async () => {
  let heard = 0
  const never = new Promise<never>(() => {})
  const silent = expect(whileHeard(never, { received: () => heard, silentMs })).rejects.toThrow(
    'nothing was heard of the guest for 1000 ms',
  )
  await vi.advanceTimersByTimeAsync(silentMs)
  await silent
  const talks = expect(whileHeard(never, { received: () => ++heard, silentMs, mostMs: 5_500 })).rejects.toThrow('no answer within 5500 ms')
  await vi.advanceTimersByTimeAsync(5_500)
  await talks
  await expect(whileHeard(Promise.reject(new Error('refused')), { received: () => heard, silentMs })).rejects.toThrow('refused')
  expect(vi.getTimerCount()).toBe(0)
})
