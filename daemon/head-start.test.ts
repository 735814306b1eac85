/** A process that was started before the kernel: taken over once, by the start it was begun for. */
import { expect, test, vi } from 'vitest'
import { manifest } from '../actors/gateway/manifest.ts'
import type { Port, PortEvents, ProcessSpec, StartSpec } from '../kernel/placement.ts'
import { startEarly } from './head-start.ts'

const spec = (params: Record<string, unknown>): StartSpec => ({
  id: 'gateway',
  entry: { manifest, protocol: {}, entry: '', load: () => Promise.reject(new Error('not here')) },
  params,
  permissions: {},
  fds: {},
})

function events() {
  const heard: string[] = []
  const own: PortEvents = {
    frame: (frame) => heard.push(`frame ${JSON.stringify(frame)}`),
    exit: (reason) => heard.push(`exit ${reason}`),
    log: (line) => heard.push(`log ${line}`),
  }
  return { heard, own }
}

async function early() {
  const begun: PortEvents[] = []
  const begin = vi.fn<(_: ProcessSpec, its: PortEvents) => Promise<Port>>(async (_, its) => {
    begun.push(its)
    return { pid: begun.length } as Port
  })
  const params = { page: null }
  const start = await startEarly(spec(params), begin)
  return { start, begun, begin, params }
}

test('what it said before the kernel was there is told once the kernel has its port, in order, and what it says later follows', async () => {
  const { start, begun, begin, params } = await early()
  begun[0]?.frame(1)
  begun[0]?.log('x')
  const { heard, own } = events()
  const port = await start(spec(params), own)
  begun[0]?.frame(2)
  expect([port.pid, begin.mock.calls.length, heard]).toEqual([1, 1, []])
  await vi.waitFor(() => expect(heard).toEqual(['frame 1', 'log x', 'frame 2']))
  begun[0]?.exit('done', true)
  expect(heard.at(-1)).toBe('exit done')
})

test('only once: its next life is a process of its own', async () => {
  const { start, begin, params } = await early()
  await start(spec(params), events().own)
  expect([(await start(spec(params), events().own)).pid, begin.mock.calls.length]).toEqual([2, 2])
})

test('other parameters, or another actor: not the one that has begun', async () => {
  const { start, params } = await early()
  expect((await start(spec({ page: null }), events().own)).pid).toBe(2)
  expect((await start({ ...spec(params), id: 'policy' }, events().own)).pid).toBe(3)
})
