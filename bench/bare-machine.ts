/** The machine the product boots, for benches that boot it with nothing of the product around it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import type { Image } from '../actors/vm-supervisor/image.ts'
import { maxCpus, memoryMiB } from '../actors/vm-supervisor/limits.ts'
import { type Architecture, bootArgs, qemuAccelerator } from '../actors/vm-supervisor/qemu-args.ts'

/** Descriptors of the machine, as ours are. */
export const fds = { control: 3, files: 4, qmp: 5, console: 6, output: 7, connections: 8 }

/** @param more arguments of QEMU beside the product's */
export function startMachine(
  { kernel, root }: Pick<Image, 'kernel' | 'root'>,
  initrd: string,
  scratch: string,
  accelerator: string,
  more: readonly string[] = [],
): ChildProcess {
  const arch: Architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const args = bootArgs({
    accelerator: qemuAccelerator(accelerator),
    arch,
    cpus: Math.min(maxCpus, availableParallelism()),
    memoryMiB: memoryMiB.usual,
    kernel,
    initrd,
    root,
    scratch: { path: scratch, temporary: false },
    saving: false,
    append: [],
    fds,
    sandbox: process.platform === 'linux',
  })
  const pipes = Array.from({ length: 6 }, () => 'pipe' as const)
  return spawn(`qemu-system-${arch}`, [...args, ...more], { stdio: ['ignore', 'ignore', 'pipe', ...pipes] })
}
