import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Endpoint } from '../kernel/kernel.ts'
import type { Hop } from '../kernel/trace.ts'
import { createHops } from './hops.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const hop = (n: number) => ({ kind: `k-${n}` }) as Hop

function connected() {
  const sent: unknown[] = []
  let want: (on: boolean) => void = () => {}
  const endpoint = {
    send: (_slot: string, _kind: string, body: unknown) => void sent.push(body),
    request(_slot: string, _kind: string, _body: unknown, { onPart }: { onPart(part: unknown): void }) {
      want = (on) => onPart({ on })
      return new Promise(() => {})
    },
  }
  const hops = createHops()
  hops.connect(endpoint as unknown as Endpoint)
  return { hops, sent, want }
}

test('hops travel together, and nothing wakes the daemon while there are none', () => {
  const { hops, sent, want } = connected()
  expect(vi.getTimerCount()).toBe(0)
  hops.add(hop(1))
  expect(vi.getTimerCount()).toBe(0)
  want(true)
  hops.add(hop(2))
  hops.add(hop(3))
  expect(vi.getTimerCount()).toBe(1)
  vi.runAllTimers()
  expect(sent).toEqual([{ hops: [hop(2), hop(3)], dropped: 0 }])
  expect(vi.getTimerCount()).toBe(0)
  hops.add(hop(4))
  vi.runAllTimers()
  expect(sent).toHaveLength(2)
})

test('more than fit are counted, and after the end nothing is sent', () => {
  const { hops, sent, want } = connected()
  want(true)
  for (let n = 0; n < 1_030; n++) hops.add(hop(n))
  vi.runAllTimers()
  expect(sent).toMatchObject([{ dropped: 6 }])
  hops.add(hop(0))
  hops.close()
  hops.add(hop(1))
  vi.runAllTimers()
  expect(sent).toHaveLength(1)
})
