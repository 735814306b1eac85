/** When the kernel looks at what a process holds: often while anything stirs it, now and then at rest, and whatever it is, in the end. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { memoryLookMs, memoryRestMs, walledEvery } from './limits.ts'
import { watchMemory } from './memory.ts'

let over: number
let maxMiB: number
let stops: (() => void)[]
beforeEach(() => {
  vi.useFakeTimers()
  over = 0
  maxMiB = Number.POSITIVE_INFINITY
  stops = []
})
afterEach(() => {
  for (const stop of stops) stop()
  vi.useRealTimers()
})

/** This very process, which holds more than a MiB and, as far as anybody is told, is at rest. */
function watched(walled: boolean): { stir(): void } {
  const { stir, stop } = watchMemory({
    pid: () => process.pid,
    get maxMiB() {
      return maxMiB
    },
    walled,
    over: () => over++,
  })
  stops.push(stop)
  // What it held before was nothing, so that the first look sees it grow.
  vi.advanceTimersByTime(3 * memoryLookMs)
  return { stir }
}

const linux = process.platform === 'linux'

test.runIf(linux)('at rest behind no wall of the system it is looked at each second', () => {
  watched(false)
  maxMiB = 1
  vi.advanceTimersByTime(memoryRestMs)
  expect(over).toBe(1)
})

test.runIf(linux)(
  'at rest behind a wall it is looked at each ten seconds, and nothing wakes the kernel more often than each second',
  () => {
    watched(true)
    expect(vi.getTimerCount()).toBe(1)
    // Right after a look.
    vi.advanceTimersByTime(memoryRestMs)
    maxMiB = 1
    vi.advanceTimersByTime((walledEvery - 3) * memoryRestMs)
    expect(over).toBe(0)
    vi.advanceTimersByTime(3 * memoryRestMs)
    expect(over).toBe(1)
  },
)

test.runIf(linux)('once something stirs it, it is looked at within half a second', () => {
  const { stir } = watched(true)
  maxMiB = 1
  stir()
  vi.advanceTimersByTime(memoryLookMs)
  expect(over).toBe(1)
})

test.runIf(linux)('one that is over is told of once', () => {
  const { stir } = watched(false)
  maxMiB = 1
  vi.advanceTimersByTime(memoryRestMs)
  stir()
  vi.advanceTimersByTime(walledEvery * memoryRestMs)
  expect(over).toBe(1)
  expect(vi.getTimerCount()).toBe(0)
})
