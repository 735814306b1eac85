/**
 * What connected folders in the workspace are compared with: the same QEMU, machine, kernel and programs, and a folder exported by QEMU's own
 * virtio-9p, with nothing of the product in between. Programs lie in the folder itself; the console says which is to run.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { findImage, type Image } from '../actors/vm-supervisor/image.ts'
import { writeCpio } from '../actors/vm-supervisor/image-cpio.ts'
import { scratchBytes } from '../actors/vm-supervisor/limits.ts'
import { ninepMessageSize } from '../guest/wire.ts'
import { imagePlace } from '../setup/places.js'
import { fds, startMachine } from './bare-machine.ts'

/** As in the product, and none. */
export type CacheMode = 'mmap,directio' | 'none'
export type PeerFolder = {
  /** The exported folder, on the device. */
  readonly folder: string
  /** Runs a program for `bash` in the folder, and gives what it printed. Rejects when the machine has ended, or after the deadline (ms). */
  run(program: string, deadlineMs: number): Promise<string>
  close(): Promise<void>
}

const tag = 'peer'
const ready = 'bench: ready'
const ended = 'bench: ended'

const init = (cache: CacheMode) => `#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for wanted in virtio_pci virtio_blk squashfs 9pnet_virtio 9p; do
  while read -r module; do
    [ -e "/sys/module/$module" ] || $b insmod "/modules/$module.ko"
  done < "/modules/$wanted.order"
done
until [ -b /dev/vda ]; do $b sleep 0.01; done
$b mkdir /lower
$b mount -t squashfs -o ro /dev/vda /lower
$b mount -t proc proc /lower/proc
$b mount -t devtmpfs dev /lower/dev
$b mount -t tmpfs tmp /lower/tmp
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=${ninepMessageSize},cache=${cache} ${tag} /lower/mnt
$b stty -echo < /dev/console
echo "${ready}"
while read -r number < /dev/console; do
  HOME=/tmp $b chroot /lower /bin/bash -c "cd /mnt && bash /mnt/.bench/$number.sh" 2>&1
  echo "${ended} $number"
done
`

/** A cold start under emulation on a busy machine, ms. */
const startMs = 180_000

/** Starts the machine. Rejects when there is no image, or the kernel has not what it takes. */
export async function startPeerFolder(cache: CacheMode, accelerator: string): Promise<PeerFolder> {
  const image = await findImage({ imageDir: imagePlace(process.env), nodeBinary: process.execPath })
  if (!image) throw new Error('The workspace image is not there; `npm start -- setup` builds it.')
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-bench-'))
  const folder = join(dir, 'work')
  await mkdir(join(folder, '.bench'), { recursive: true })
  const machine = await boot(image, dir, folder, cache, accelerator)
  let programs = 0
  return {
    folder,
    async run(program, deadlineMs) {
      programs += 1
      await writeFile(join(folder, '.bench', `${programs}.sh`), program)
      return machine.say(`${programs}\n`, `${ended} ${programs}`, deadlineMs)
    },
    async close() {
      machine.child.kill('SIGKILL')
      await rm(dir, { recursive: true, force: true })
    },
  }
}

type Machine = { child: ChildProcess; say(line: string, until: string, deadlineMs: number): Promise<string> }

async function boot(image: Image, dir: string, folder: string, cache: CacheMode, accelerator: string): Promise<Machine> {
  const initrd = join(dir, 'initrd.img')
  const scratch = join(dir, 'disk.raw')
  const own = writeCpio([{ path: 'init', type: 'file', mode: 0o755, data: Buffer.from(init(cache)) }])
  await writeFile(initrd, Buffer.concat([await readFile(image.initrd), own]))
  await writeFile(scratch, '')
  await truncate(scratch, scratchBytes)
  const shared = ['-fsdev', `local,id=${tag},path=${folder},security_model=none`, '-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`]
  const child = startMachine(image, initrd, scratch, accelerator, shared)
  const console = (child.stdio as readonly unknown[])[fds.console] as Duplex
  let heard = ''
  let stderr = ''
  child.stderr?.on('data', (bytes: Buffer) => void (stderr += bytes.toString()))
  const say: Machine['say'] = (line, until, deadlineMs) =>
    new Promise<string>((resolve, reject) => {
      const finish = (error: Error | null) => {
        clearTimeout(late)
        console.off('data', hear)
        child.off('close', gone)
        if (error) reject(error)
        else resolve(heard)
      }
      const hear = (bytes: Buffer) => {
        heard += bytes.toString()
        if (heard.includes(until)) finish(null)
      }
      const gone = () => finish(new Error(`QEMU ended: ${stderr.trim()} ${heard.slice(-500)}`))
      const late = setTimeout(() => finish(new Error(`No answer within ${deadlineMs} ms: ${heard.slice(-500)}`)), deadlineMs)
      heard = ''
      console.on('data', hear)
      child.on('close', gone)
      if (line !== '') console.write(line)
    })
  try {
    await say('', ready, startMs)
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
  return { child, say }
}
