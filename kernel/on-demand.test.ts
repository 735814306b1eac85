/** Actors that run only while there is something for them to do. */
import { afterEach, describe, expect, test } from 'vitest'
import type { InspectReport } from './inspect.ts'
import type { ActorEntry } from './placement.ts'
import { actor as probe } from './testing/probe/index.ts'
import { startTestKernel, type TestKernel } from './testing/test-kernel.ts'
import type { Fault, Placement } from './types.ts'

const entry = (more: Partial<ActorEntry['manifest']> = {}): ActorEntry => ({
  manifest: { ...probe.manifest, idleMs: 60_000, restart: { strategy: 'temporary' }, ...more },
  protocol: probe.protocol,
  entry: new URL('./testing/probe/index.ts', import.meta.url).href,
  load: async () => probe,
})
let running: TestKernel | null = null

async function start(placement: Placement, more: Partial<ActorEntry['manifest']> = {}) {
  running = await startTestKernel({ actors: [entry(more)], placement })
  const { kernel, test: from } = running
  const inspect = async () => (await from.request('kernel', 'inspect', {})).body as InspectReport
  return {
    kernel,
    echo: async () => (await from.request('probe', 'echo', { text: 'x' })).body as { count: number },
    ask: (kind: string, deadlineMs?: number, signal?: AbortSignal) =>
      from.request('probe', kind, {}, { ...(deadlineMs === undefined ? {} : { deadlineMs }), ...(signal ? { signal } : {}) }).then(
        () => null,
        (error: Fault) => error.code,
      ),
    lives: async () => (await inspect()).kinds.find(({ kind }) => kind === 'probe')?.running,
  }
}

afterEach(async () => {
  await running?.stop()
  running = null
})

describe.each(['inline', 'process'] as const)('%s placement', (placement) => {
  test('it is started by its first message, and serves the next ones in the same life', async () => {
    const { echo, lives } = await start(placement)
    expect(await lives()).toBe(0)
    expect((await echo()).count).toBe(1)
    expect([await lives(), (await echo()).count]).toEqual([1, 2])
  })

  test('with nothing to do it is stopped, and started by what comes later', async () => {
    const { echo, lives } = await start(placement, { idleMs: 1 })
    await echo()
    await expect.poll(lives).toBe(0)
    expect((await echo()).count).toBe(1)
  })

  test('what comes while it is being stopped is for its next life', async () => {
    const { kernel, echo, lives } = await start(placement)
    await echo()
    const stopped = kernel.supervisor.stop('probe')
    const [first, second] = await Promise.all([echo(), echo()])
    await stopped
    expect([first.count, second.count, await lives()]).toEqual([1, 2, 1])
  })

  test('one that lets a request run out of time is ended: it may hang', async () => {
    const { ask, echo } = await start(placement)
    expect([(await echo()).count, (await echo()).count]).toEqual([1, 2])
    expect(await ask('never', 30)).toBe('deadline')
    await expect.poll(async () => (await echo()).count).toBe(1)
  })

  test('one whose last request is given up ends: what nobody waits for might keep it busy', async () => {
    const { ask, echo, lives } = await start(placement)
    await echo()
    const abort = new AbortController()
    const asked = ask('never', undefined, abort.signal)
    // It has come when a later one is answered.
    expect((await echo()).count).toBe(3)
    abort.abort()
    expect(await asked).toBe('cancelled')
    await expect.poll(lives).toBe(0)
    expect((await echo()).count).toBe(1)
  })

  test('a request that is given up ends nobody else’s', async () => {
    const { ask, echo, lives } = await start(placement)
    const abort = new AbortController()
    const other = ask('never', 60_000)
    const asked = ask('never', undefined, abort.signal)
    expect((await echo()).count).toBe(3)
    abort.abort()
    expect([await asked, await lives()]).toEqual(['cancelled', 1])
    // In its first life still.
    expect((await echo()).count).toBeGreaterThan(3)
    await running?.stop()
    expect(await other).toBe('actor-down')
  })
})

test('one that hangs is ended when nobody waits for it any more', async () => {
  const { ask, echo, lives } = await start('process')
  await echo()
  const abort = new AbortController()
  const asked = ask('spin', undefined, abort.signal)
  // By the kernel's next answer it has been handed over.
  expect(await lives()).toBe(1)
  abort.abort()
  expect(await asked).toBe('cancelled')
  await expect.poll(lives).toBe(0)
  expect((await echo()).count).toBe(1)
})

test('one that cannot start is not tried again and again', async () => {
  const broken: ActorEntry = { ...entry(), load: () => Promise.reject(new Error('broken')) }
  running = await startTestKernel({ actors: [broken] })
  const refused = running.test.request('probe', 'echo', { text: 'x' })
  await expect(refused).rejects.toMatchObject({ code: 'actor-down', cause: expect.stringContaining('broken') as string })
})

test('while everything stops nothing is started', async () => {
  const { kernel, ask } = await start('inline')
  await kernel.stop()
  expect(await ask('throws')).toBe('actor-down')
  running = null
})
