/** What the supervisor relies on, of each hypervisor: held to fakes that speak the real one's control protocol, as processes of their own. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Driver, LaunchSpec, RunningVm } from './driver.ts'
import { hypervDriver } from './driver-hyperv.ts'
import { qemuDriver } from './driver-qemu.ts'
import { driversOf } from './drivers.ts'
import { vfkitDriver } from './driver-vfkit.ts'
import { prepareScratch } from './snapshots.ts'

type Kind = { name: string; program: string; fake: string; saves: boolean; make(home: string, path: string): Driver }

const kinds: readonly Kind[] = [
  { name: 'qemu', program: `qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`, fake: 'qemu', saves: true, make: qemuDriver },
  { name: 'vfkit', program: 'vfkit', fake: 'vfkit', saves: false, make: vfkitDriver },
  {
    name: 'hyperv',
    program: 'powershell.exe',
    fake: 'powershell',
    saves: false,
    make: (home, path) => hypervDriver(home, path, `${path}/`),
  },
]

type Stage = { driver: Driver; home: string; path: string; told: string[]; spec(begin?: LaunchSpec['begin']): Promise<LaunchSpec> }

/** A home, an image, and the fake as the only program there is. */
async function stage({ program, fake, make }: Kind): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), 'bh-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))
  const [path, home, imageDir] = [join(dir, 'bin'), join(dir, 'home'), join(dir, 'image')]
  for (const folder of [path, home, imageDir]) await mkdir(folder)
  for (const name of ['vmlinuz', 'root.squashfs', 'boot.vhdx']) await writeFile(join(imageDir, name), name)
  const url = new URL(`fakes/${fake}.ts`, import.meta.url).href
  // A program that is found by its name, whatever it is written in.
  await writeFile(join(path, `${program}.mjs`), `import '${url}'\n`)
  await writeFile(join(path, program), `#!/bin/sh\nexec '${process.execPath}' '${join(path, `${program}.mjs`)}' "$@"\n`)
  await chmod(join(path, program), 0o755)
  const driver = make(home, path)
  const told: string[] = []
  return {
    driver,
    told,
    home,
    path,
    async spec(begin = { how: 'boot' }) {
      const look = await driver.find()
      if (!look.ok) throw new Error(look.error.cause)
      const scratchDir = join(dir, 's')
      await prepareScratch(scratchDir)
      const accelerator = ({ qemu: 'tcg', vfkit: 'vz', powershell: 'hyperv' } as const)[fake as 'qemu' | 'vfkit' | 'powershell']
      return {
        hypervisor: look.hypervisor,
        accelerator,
        cpus: 1,
        memoryMiB: 512,
        imageDir,
        initrd: join(imageDir, 'vmlinuz'),
        scratchDir,
        begin,
        on: { full: () => told.push('full'), connected: () => told.push('connected') },
      }
    },
  }
}

async function running(kind: Kind, begin?: LaunchSpec['begin']): Promise<Stage & { vm: RunningVm; given: LaunchSpec }> {
  const staged = await stage(kind)
  const given = await staged.spec(begin)
  const vm = await staged.driver.launch(given)
  onTestFinished(async () => {
    vm.kill()
    await vm.exited
  })
  return { ...staged, vm, given }
}

/** Resolves when the stream has said that much, with all it said. */
function hears(stream: Readable, wanted: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    stream.on('data', (bytes: Buffer | string) => {
      said += bytes.toString()
      if (said.includes(wanted)) resolve(said)
    })
    stream.on('close', () => reject(new Error(`it ended with ${said}`)))
  })
}

/** What is written before the guest is there may be lost: said until it answers, as the supervisor greets. */
async function converse(vm: RunningVm, port: 'control' | 'files' | 'output' | 'connections', text: string): Promise<void> {
  const answer = hears(vm[port], text)
  const again = setInterval(() => vm[port].write(text), 20)
  await answer.finally(() => clearInterval(again))
}

describe.each(kinds)('$name', (kind) => {
  test('is found by what it says of itself, and its absence explained', async () => {
    const { driver, home } = await stage(kind)
    expect(await driver.find()).toMatchObject({ ok: true, hypervisor: { version: expect.stringMatching(/\d/) } })
    const nowhere = await kind.make(home, '/nonexistent').find()
    expect(nowhere).toMatchObject({
      ok: false,
      error: { code: 'workspace-unavailable', cause: expect.stringContaining('/nonexistent'), remedy: expect.stringMatching(/\w/) },
    })
  })

  test('carries bytes both ways on both ports and what the guest prints, tells its progress, stands still when paused', async () => {
    const { vm } = await running(kind)
    const printed = hears(vm.console, 'bulkhead: agent')
    expect(vm.pid).toBeGreaterThan(0)
    const ports = ['control', 'files', 'output', 'connections'] as const
    await Promise.all(ports.map((port) => converse(vm, port, `to ${port}`)))
    await printed
    // More than any buffer on the way, in order and whole.
    const long = Array.from({ length: 20_000 }, (_, at) => `${at};`).join('')
    const answer = hears(vm.files, long)
    vm.files.write(long)
    await answer
    const before = await vm.progress()
    expect(before).toBeGreaterThan(0)
    await vm.pause()
    let heard = ''
    vm.control.on('data', (bytes: Buffer) => {
      heard += bytes.toString()
    })
    vm.control.write('asleep?')
    // A round trip to the hypervisor later it has not answered.
    expect(await vm.progress()).toBeGreaterThanOrEqual(before)
    expect(heard).not.toContain('asleep?')
    await vm.resume()
    await expect.poll(() => heard).toContain('asleep?')
    vm.control.write('bye')
    await vm.agentGone
  })

  test('ends when asked', async () => {
    const { vm } = await running(kind)
    await vm.progress()
    await vm.quit()
    expect(await vm.exited).toMatchObject({ signal: null })
    await expect(vm.progress(), 'and makes no more progress').rejects.toThrow()
  })

  test('ends at once when killed, once', async () => {
    const { vm } = await running(kind)
    vm.kill()
    vm.kill()
    expect(await vm.exited).toMatchObject({ code: null, signal: 'SIGKILL' })
  })

  test('explains a start that fails', async () => {
    const { driver, spec } = await stage(kind)
    const given = { ...(await spec()), imageDir: '/missing' }
    const failed = await driver.launch(given).then(
      (vm) => vm.exited.then(({ stderr }) => stderr),
      (error: Error) => error.message,
    )
    expect(failed).toMatch(/missing|vhdx|no such file/i)
  })

  test('a machine that outlived its supervisor is ended by the next', async () => {
    const { home, path, vm } = await running(kind)
    expect(await kind.make(home, path).reap()).toBe(1)
    await vm.exited
    expect(await kind.make(home, path).reap()).toBe(0)
  })

  test('saves its memory under a key of all it depends on, or says that it saves none', async () => {
    const { driver, vm, given } = await running(kind, { how: kind.saves ? 'boot-and-save' : 'boot' })
    const key = driver.snapshotKey(given)
    if (!kind.saves) {
      expect(key).toBeNull()
      await expect(vm.save()).rejects.toThrow(/no memory|not supported/)
      return
    }
    await converse(vm, 'control', 'warm')
    await vm.save()
    const others: Readonly<Record<string, Partial<LaunchSpec>>> = {
      'more memory': { memoryMiB: 1024 },
      'another image, and so another kernel': { imageDir: '/i/other' },
      'another agent': { initrd: '/i/other.img' },
      'another accelerator, and so another processor': { accelerator: 'kvm', cpus: 2 },
      'another version of it': { hypervisor: { ...given.hypervisor, version: 'QEMU emulator version 99' } },
    }
    for (const [what, other] of Object.entries(others)) expect(driver.snapshotKey({ ...given, ...other }), what).not.toBe(key)
    expect(driver.snapshotKey({ ...given })).toBe(key)
    const restored = { ...given, begin: { how: 'restore', snapshot: given.scratchDir } } as const
    vm.kill()
    await vm.exited
    const again = await driver.launch(restored)
    await converse(again, 'control', 'restored')
    again.kill()
    await again.exited
  })
})

test('one place chooses, and says which of them nobody has run', () => {
  const names = (platform: string) => driversOf(platform).map(({ name, unverified }) => ({ name, unverified }))
  expect(names('linux')).toEqual([{ name: 'qemu', unverified: false }])
  expect(names('darwin')).toEqual([
    { name: 'vfkit', unverified: true },
    { name: 'qemu', unverified: true },
  ])
  expect(names('win32')).toEqual([{ name: 'hyperv', unverified: true }])
})
