/**
 * What connected folders in the workspace are compared with: the same QEMU, machine, kernel and programs, and a folder exported
 *
 *   by QEMU's own virtio-9p, with nothing of the product in between;
 *   by a gate in the bench's own process, over the product's port and what carries it in the guest: what is left then is the rest of the product.
 *
 * Programs lie in the folder itself; the console says which is to run.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { closeGate, openGate } from '../actors/fs-gate/gate.ts'
import { NinepConnections } from '../actors/fs-gate/ninep-connections.ts'
import { findImage, type Image } from '../actors/vm-supervisor/image.ts'
import { writeCpio } from '../actors/vm-supervisor/image-cpio.ts'
import { scratchBytes } from '../actors/vm-supervisor/limits.ts'
import { FilesLink } from '../actors/vm-supervisor/link-files.ts'
import { tagOf } from '../actors/vm-supervisor/ninep.ts'
import { maxFrame } from '../guest/frames.ts'
import { headersOf } from '../guest/agent/ninep-bridge.ts'
import { channelName, filesPort, ninepMessageSize, silentTag } from '../guest/wire.ts'
import { checkout, imagePlace } from '../setup/places.js'
import { fds, startMachine } from './bare-machine.ts'

/** Pages of mapped files and nothing else, as in the product; and none. */
export type CacheMode = 'mmap,directio' | 'none'
export type Export = { by: 'qemu'; cache: CacheMode } | { by: 'gate' }
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

const carrier = ['pump', 'fuse', 'known', 'nodes', 'content'].map((part) => `files-${part}.pl`)
const pump = `perl /run/files-pump.pl /dev/\${port##*/} ${[maxFrame, ninepMessageSize, silentTag].join(' ')}`

const common = `version=9p2000.L,msize=${ninepMessageSize}`
const mounts = {
  qemu: (cache: CacheMode) => `$b mount -t 9p -o trans=virtio,${common},cache=${cache} ${tag} /lower/mnt`,
  // As the agent does it (guest/agent/ninep-bridge.ts). Nothing comes from the agent's side, which stays open.
  gate: `
$b mount -t tmpfs run /lower/run
$b mkfifo /lower/run/orders /lower/run/agent /lower/run/said
$b cp /files-*.pl /lower/run/
for port in /sys/class/virtio-ports/*; do
  read -r name < "$port/name"
  [ "$name" != ${filesPort} ] || $b chroot /lower /bin/sh -c "exec ${pump} < /run/orders > /run/said 3<> /run/agent" &
done
exec 5<> /lower/run/orders 6<> /lower/run/said
echo "open 1 1 ${Buffer.from('/lower/mnt').toString('hex')} rw ${headersOf(channelName(tag, tag, 1)).join(' ')}" >&5
read -r made <&6`,
}

const init = (exported: Export) => `#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for wanted in virtio_pci virtio_blk virtio_console squashfs fuse 9pnet_virtio 9p; do
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
${exported.by === 'qemu' ? mounts.qemu(exported.cache) : mounts.gate}
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
export async function startPeerFolder(exported: Export, accelerator: string): Promise<PeerFolder> {
  const image = await findImage({ imageDir: imagePlace(process.env), nodeBinary: process.execPath })
  if (!image) throw new Error('The workspace image is not there; `npm start -- setup` builds it.')
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-bench-'))
  const folder = join(dir, 'work')
  await mkdir(join(folder, '.bench'), { recursive: true })
  const machine = await boot(image, dir, folder, exported, accelerator)
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

async function boot(image: Image, dir: string, folder: string, exported: Export, accelerator: string): Promise<Machine> {
  const initrd = join(dir, 'initrd.img')
  const scratch = join(dir, 'disk.raw')
  const own = writeCpio([
    { path: 'init', type: 'file', mode: 0o755, data: Buffer.from(init(exported)) },
    ...(await Promise.all(
      carrier.map(
        async (path) => ({ path, type: 'file', mode: 0o644, data: await readFile(join(checkout, 'guest', 'agent', path)) }) as const,
      ),
    )),
  ])
  await writeFile(initrd, Buffer.concat([await readFile(image.initrd), own]))
  await writeFile(scratch, '')
  await truncate(scratch, scratchBytes)
  const byQemu = ['-fsdev', `local,id=${tag},path=${folder},security_model=none`, '-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`]
  const child = startMachine(image, initrd, scratch, accelerator, exported.by === 'qemu' ? byQemu : [])
  const ports = child.stdio as unknown as Record<number, Duplex>
  const console = ports[fds.console] as Duplex
  if (exported.by === 'gate') serve(ports[fds.files] as Duplex, folder, join(dir, 'store'), child)
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

/** What the product does with the port, less the way to another process and back. */
function serve(port: Duplex, folder: string, store: string, child: ChildProcess): void {
  const gate = openGate(folder, tag, 'rw', store)
  const connections = new NinepConnections(gate)
  const ask = async (conn: string, frame: Uint8Array, before: readonly Uint8Array[]): Promise<Uint8Array> => {
    const answer = connections.answer({ conn, uid: 0, frame, before, ahead: tagOf(frame) !== silentTag }, {}, tag)
    if ('code' in answer) throw answer
    return answer
  }
  void new FilesLink(port, tag, () => ({ ask, close: (conn) => connections.close(conn, tag) }))
  child.once('close', () => {
    connections.closeAll()
    closeGate(gate)
  })
}
