import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect, it, onTestFinished, vi } from 'vitest'
import { acceleratorStallMs } from './limits.ts'
import { keepVerdict, readVerdict, verdictKey, watchBoot } from './probe.ts'

const never = new Promise<string>(() => {})

it('is satisfied only by a kernel that came all the way up', async () => {
  const console = new PassThrough()
  const verdict = watchBoot(console, never, new AbortController().signal)
  console.write('Linux version 6.12\n... VFS: Unable to mount ro')
  console.write('ot fs on unknown-block(0,0)')
  expect(await verdict).toBeNull()
})

it('tells silence after a few bytes, exit, and abort apart', async () => {
  vi.useFakeTimers()
  try {
    const console = new PassThrough()
    const verdict = watchBoot(console, never, new AbortController().signal)
    console.write('Probing EDD')
    await vi.advanceTimersByTimeAsync(acceleratorStallMs + 1)
    expect(await verdict).toMatch(/stopped after 11 bytes/)
  } finally {
    vi.useRealTimers()
  }
  expect(await watchBoot(new PassThrough(), Promise.resolve('assertion failed'), new AbortController().signal)).toBe('assertion failed')
  const abort = new AbortController()
  const interrupted = watchBoot(new PassThrough(), never, abort.signal)
  abort.abort()
  expect(await interrupted).toBe('interrupted')
})

it('keeps a verdict for exactly this host, hypervisor and kernel', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-probe-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const path = join(dir, 'accelerator.json')
  const key = verdictKey('QEMU 7.2', 'image', 'closed')
  expect(await readVerdict(path, key)).toBeNull()
  await keepVerdict(path, { key, accelerator: 'tcg', why: 'w' })
  expect(await readVerdict(path, key)).toEqual({ key, accelerator: 'tcg', why: 'w' })
  expect(await readVerdict(path, verdictKey('QEMU 8', 'image', 'closed'))).toBeNull()
  // Who joins the device's group is not told yesterday's verdict.
  expect(await readVerdict(path, verdictKey('QEMU 7.2', 'image', 'open'))).toBeNull()
})
