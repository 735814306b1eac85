import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { duplexPair, PassThrough } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import type { EffectContext } from '../../kernel/index.ts'
import type { Driver, Hypervisor, LaunchSpec, RunningVm } from './driver.ts'
import { LiveVm } from './live-vm.ts'
import { takeBallast } from './room.ts'

type Launched = { on: LaunchSpec['on']; raised: string[]; ballast: () => boolean; standsStill(): void; pauses: () => number }

/** A VM on a disk of which nothing is free; `early` is called before anybody has it. */
async function launch(early: (on: LaunchSpec['on']) => void = () => {}): Promise<Launched> {
  const home = mkdtempSync(join(tmpdir(), 'bulkhead-live-'))
  await takeBallast(home)
  const raised: string[] = []
  const still = Promise.withResolvers<void>()
  const exited = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }>()
  const spawned = Promise.withResolvers<LaunchSpec['on']>()
  let pauses = 0
  const [control, files, output, connections] = Array.from({ length: 4 }, () => duplexPair()[0])
  const vm = {
    pid: 7,
    control,
    files,
    output,
    connections,
    console: new PassThrough(),
    agentGone: new Promise<void>(() => {}),
    progress: async () => 0,
    pause: () => {
      pauses++
      return still.promise
    },
    kill: () => exited.resolve({ code: null, signal: 'SIGKILL', stderr: '' }),
    exited: exited.promise,
  } as unknown as RunningVm
  const driver = {
    launch: async ({ on }: LaunchSpec) => {
      early(on)
      spawned.resolve(on)
      return vm
    },
  } as unknown as Driver
  const context = { log: () => {}, raise: ({ type }: { type: string }) => void raised.push(type) } as unknown as EffectContext
  const abort = new AbortController()
  const spec = {
    hypervisor: {} as Hypervisor,
    accelerator: 'tcg',
    cpus: 1,
    memoryMiB: 1,
    imageDir: home,
    initrd: home,
    // What cannot be looked at counts as full.
    scratchDir: join(home, 'missing'),
    home,
    begin: { how: 'boot' },
  } as const
  const held = Promise.withResolvers<void>()
  const ended = LiveVm.run(driver, spec, '1', context, abort.signal, (live) => live && held.resolve(), () => null) // biome-ignore format: one call
  onTestFinished(async () => {
    abort.abort()
    await ended
    rmSync(home, { recursive: true, force: true })
  })
  const on = await spawned.promise
  await held.promise
  return { on, raised, ballast: () => existsSync(join(home, 'ballast')), standsStill: still.resolve, pauses: () => pauses }
}

test('the ballast is kept until a VM without room has written what it had under way', async () => {
  const vm = await launch()
  vm.on.full()
  vm.on.full()
  await expect.poll(vm.pauses).toBe(1)
  expect(vm.ballast()).toBe(true)
  expect(vm.raised).not.toContain('vm.full')
  vm.standsStill()
  await expect.poll(() => vm.raised.filter((type) => type === 'vm.full')).toHaveLength(1)
  expect(vm.ballast()).toBe(false)
})

test('a VM that found no room before anybody had it is told of as well', async () => {
  const vm = await launch((on) => on.full())
  vm.standsStill()
  await expect.poll(() => vm.raised).toContain('vm.full')
  expect(vm.ballast()).toBe(false)
})
