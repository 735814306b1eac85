/** Who starts when: those clients wait for first, as many at once as there are processors, and mail waits for the rest. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { InspectReport } from './inspect.ts'
import { createControl } from './control.ts'
import { createKernel } from './kernel.ts'
import { startInline } from './placement-inline.ts'
import { startProcess } from './placement-process.ts'
import { startThread } from './placement-thread.ts'
import { startInTurns } from './start-order.ts'
import { actor as probe } from './testing/probe/index.ts'

afterEach(() => void vi.useRealTimers())

const one = () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { start: vi.fn<() => Promise<void>>(() => promise), end: resolve }
}

describe('turns', () => {
  test('as many at once as it says, in order, the next when one has ended', async () => {
    const all = [one(), one(), one()] as const
    const ended = startInTurns(
      all.map(({ start }) => start),
      { width: 2, patienceMs: 60_000 },
    )
    await vi.waitFor(() => expect(all[1].start).toHaveBeenCalled())
    expect(all[2].start).not.toHaveBeenCalled()
    all[1].end()
    await vi.waitFor(() => expect(all[2].start).toHaveBeenCalled())
    all[0].end()
    all[2].end()
    await ended
  })

  test('one that hangs as it starts keeps the others waiting for a while only', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const [hangs, next] = [one(), one()]
    void startInTurns([hangs.start, next.start], { width: 1, patienceMs: 3_000 })
    await vi.advanceTimersByTimeAsync(2_999)
    expect(next.start).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    vi.useRealTimers()
    await vi.waitFor(() => expect(next.start).toHaveBeenCalled())
  })
})

function kernelOf(kinds: readonly string[]) {
  const kernel = createKernel({
    entries: kinds.map((kind) => ({
      manifest: { ...probe.manifest, kind, placement: 'inline', grants: [] },
      protocol: probe.protocol,
      entry: '',
      load: async () => probe,
    })),
    placements: { inline: startInline, thread: startThread, process: startProcess },
    log: () => {},
  })
  kernel.addNative(createControl(kernel, () => {}))
  const from = kernel.endpoint(
    'test',
    ['kernel', ...kinds].map((target) => ({ name: target, target, limits: {}, reason: 'test' })),
  )
  const states = async () =>
    ((await from.request('kernel', 'inspect', {})).body as InspectReport).actors.map(({ id, state }) => `${id} ${state}`)
  const echo = async (kind: string) => (await from.request(kind, 'echo', { text: kind })).body as { count: number }
  return { kernel, states, echo }
}

test('whoever is named serves while the others have not begun, which is said, and mail to them is answered once they are up', async () => {
  const { kernel, states, echo } = kernelOf(['a', 'b', 'c'])
  const startOthers = await kernel.start(['c'])
  expect([(await echo('c')).count, await states()]).toEqual([1, ['a starting', 'b starting', 'c running']])
  const asked = echo('a')
  await startOthers()
  expect([(await asked).count, await states()]).toEqual([1, ['a running', 'b running', 'c running']])
  await kernel.stop()
})

test('stopped before their turn: they never run, whoever waits for them is told, and stopping ends', async () => {
  const { kernel, echo } = kernelOf(['a', 'b'])
  const startOthers = await kernel.start(['b'])
  const asked = echo('a').catch((error: { code: string }) => error.code)
  await kernel.stop()
  await startOthers()
  expect([await asked, [...kernel.actors.keys()]]).toEqual(['actor-down', []])
})
