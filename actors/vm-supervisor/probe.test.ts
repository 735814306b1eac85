import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect, it, onTestFinished, vi } from 'vitest'
import { qemuDriver } from './driver-qemu.ts'
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

it.runIf(process.platform === 'linux').each([
  [
    'opens and then never runs a guest',
    `printf 'Probing EDD' >&3; exec sleep 1000`,
    'tcg',
    /^kvm does not run the kernel here: .* after 11 bytes/,
  ],
  ['cannot be opened', 'echo "failed to initialize kvm: Permission denied" >&2; exit 1', 'tcg', /Permission denied/],
  ['runs a kernel', `printf 'VFS: Unable to mount root fs on' >&3; exec sleep 1000`, 'kvm', /ran the kernel/],
])('a device that %s: the driver chooses once, and asks QEMU no more', async (_, does, accelerator, why) => {
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-probe-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const [path, home, imageDir] = [join(dir, 'bin'), join(dir, 'home'), join(dir, 'image')]
  for (const folder of [path, home, imageDir]) await mkdir(folder)
  const program = join(path, `qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`)
  const script = ['#!/bin/sh', '[ "$1" = --version ] && echo QEMU emulator version 7 && exit', `PATH=/bin; echo "$*" >> ${dir}/tried`, does]
  await writeFile(program, `${script.join('\n')}\n`, { mode: 0o755 })
  const choose = async () => {
    // As after a restart.
    const driver = qemuDriver(home, path)
    const look = await driver.find()
    if (!look.ok) throw new Error(look.error.cause)
    return driver.accelerate({ hypervisor: look.hypervisor, imageDir, avoidHardware: false, signal: new AbortController().signal })
  }
  expect(await choose()).toEqual({ accelerator, why: expect.stringMatching(why), cached: false })
  expect(await choose()).toEqual({ accelerator, why: expect.stringMatching(why), cached: true })
  expect((await readFile(join(dir, 'tried'), 'utf8')).match(/-accel kvm/g)).toHaveLength(1)
})
