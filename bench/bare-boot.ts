/**
 * The floor under every start of the workspace: the same QEMU, machine, kernel and root image with nothing of the product in it. It
 * loads the disk driver, mounts the root image, runs the image's shell, and says so on the console.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { findImage, type Image } from '../actors/vm-supervisor/image.ts'
import { writeCpio } from '../actors/vm-supervisor/image-cpio.ts'
import { maxCpus, memoryMiB, scratchBytes } from '../actors/vm-supervisor/limits.ts'
import { type Architecture, bootArgs, qemuAccelerator } from '../actors/vm-supervisor/qemu-args.ts'
import { imagePlace } from '../setup/places.js'

const said = 'bench: userland'

const init = `#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
load() {
  for wanted in "$@"; do
    while read -r module; do
      [ -e "/sys/module/$module" ] || $b insmod "/modules/$module.ko"
    done < "/modules/$wanted.order"
  done
}
load virtio_pci virtio_blk squashfs
until [ -b /dev/vda ]; do $b sleep 0.01; done
$b mkdir /lower
$b mount -t squashfs -o ro /dev/vda /lower
$b chroot /lower /bin/bash -c 'echo "${said}"'
$b sleep 60
`

/** Long enough for emulation on a busy machine; ends a boot that hangs, ms. */
const hangMs = 120_000

export type BareBoot = { sample(accelerator: string): Promise<number>; close(): Promise<void> }

/** Rejects when there is no image; a start of the product builds it. */
export async function prepareBareBoot(): Promise<BareBoot> {
  const image = await findImage({ imageDir: imagePlace(process.env), nodeBinary: process.execPath })
  if (!image) throw new Error('The workspace image is not there; `npm start -- setup` builds it.')
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-bench-'))
  const initrd = join(dir, 'initrd.img')
  const scratch = join(dir, 'disk.raw')
  await writeFile(scratch, '')
  await truncate(scratch, scratchBytes)
  await writeFile(
    initrd,
    Buffer.concat([await readFile(image.initrd), writeCpio([{ path: 'init', type: 'file', mode: 0o755, data: Buffer.from(init) }])]),
  )
  return {
    sample: (accelerator) => bootOnce(image, initrd, scratch, accelerator),
    close: () => rm(dir, { recursive: true, force: true }),
  }
}

/** Milliseconds from the start of QEMU to the first word of a program of the root image. */
function bootOnce({ kernel, root }: Image, initrd: string, scratch: string, accelerator: string): Promise<number> {
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
    fds: { control: 3, files: 4, qmp: 5, console: 6, output: 7 },
    sandbox: process.platform === 'linux',
  })
  const begun = performance.now()
  const child = spawn(`qemu-system-${arch}`, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'] })
  return new Promise<number>((resolve, reject) => {
    let console = ''
    let stderr = ''
    const late = setTimeout(() => reject(new Error(`No userland within ${hangMs} ms. Console: ${console.slice(-500)}`)), hangMs)
    child.stderr?.on('data', (bytes: Buffer) => {
      stderr += bytes.toString()
    })
    const pipes = child.stdio as readonly unknown[]
    ;(pipes[6] as Readable).on('data', (bytes: Buffer) => {
      console += bytes.toString()
      if (console.includes(said)) resolve(performance.now() - begun)
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(late)
      reject(new Error(`QEMU ended (${code ?? signal}): ${stderr.trim()} ${console.slice(-500)}`))
    })
  }).finally(() => child.kill('SIGKILL'))
}
