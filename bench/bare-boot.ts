/**
 * The floors under the workspace: the same QEMU, machine, kernel and root image with nothing of the product around it.
 *
 *   userland   loads the disk driver, mounts the root image, runs the image's shell, which says so on the console
 *   agent      the workspace's own first process and agent, until the agent is there; nobody talks to it
 *   port       what one program writes to a port, and nothing else runs: the most any output can reach
 *   piped      what one program writes to a pipe and another passes on to a port: the most a command's output can, which has one of each
 */
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { findImage, type Image } from '../actors/vm-supervisor/image.ts'
import { packAgent } from '../actors/vm-supervisor/image-agent.ts'
import { writeCpio } from '../actors/vm-supervisor/image-cpio.ts'
import { scratchBytes } from '../actors/vm-supervisor/limits.ts'
import { outputPiece } from '../guest/agent/limits.ts'
import { outputPort } from '../guest/wire.ts'
import { checkout, imagePlace } from '../setup/places.js'
import { fds, startMachine } from './bare-machine.ts'

const said = 'bench: userland'

/** `$then`: what is done once the image's shell has run. */
const init = (then: string): string => `#!/bin/sh
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
${then}
$b sleep 60
`

/** Written by the image's own \`dd\`: the kernel takes at most half of this at once. */
const portBytes = 64 * 1024 * 1024
const fillPort = (write: string): string => `
load virtio_console
$b mount -o bind /dev /lower/dev
for port in /sys/class/virtio-ports/*; do
  read -r name < "$port/name"
  [ "$name" != ${outputPort} ] || PORT="/dev/\${port##*/}" $b chroot /lower /bin/bash -c '${write}'
done`
const source = `dd if=/dev/zero bs=64k count=${portBytes / 65_536} status=none`
const straight = `${source} of="$PORT"`
/** In pieces as large as ours. */
const throughPipe = `${source} | dd of="$PORT" bs=${outputPiece} iflag=fullblock status=none`

/** Long enough for emulation on a busy machine; ends a boot that hangs, ms. */
const hangMs = 120_000

export type BareBoot = {
  /** ms from the start of QEMU to the first word of a program of the root image. */
  userland(accelerator: string): Promise<number>
  /** ms from the start of QEMU to the agent's first word. */
  agent(accelerator: string): Promise<number>
  /** MB a second of one program that writes to a port. */
  port(accelerator: string): Promise<number>
  /** The same of one that writes to a pipe, and another from there to the port. */
  piped(accelerator: string): Promise<number>
  close(): Promise<void>
}

/** Rejects when there is no image; a start of the product builds it. */
export async function prepareBareBoot(): Promise<BareBoot> {
  const image = await findImage({ imageDir: imagePlace(process.env), nodeBinary: process.execPath })
  if (!image) throw new Error('The workspace image is not there; `npm start -- setup` builds it.')
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-bench-'))
  const scratch = join(dir, 'disk.raw')
  const initrdOf = async (name: string, more: Uint8Array): Promise<string> => {
    const path = join(dir, `${name}.img`)
    await writeFile(path, Buffer.concat([await readFile(image.initrd), more]))
    return path
  }
  const withInit = (text: string): Buffer => writeCpio([{ path: 'init', type: 'file', mode: 0o755, data: Buffer.from(text) }])
  const userland = await initrdOf('userland', withInit(init('')))
  const port = await initrdOf('port', withInit(init(fillPort(straight))))
  const piped = await initrdOf('piped', withInit(init(fillPort(throughPipe))))
  const agent = await initrdOf('agent', await packAgent(join(checkout, 'guest')))
  const boot = async <T>(initrd: string, accelerator: string, watch: Watch<T>): Promise<T> => {
    await writeFile(scratch, '')
    await truncate(scratch, scratchBytes)
    return bootOnce(image, initrd, scratch, accelerator, watch)
  }
  return {
    userland: (accelerator) =>
      boot(userland, accelerator, ({ console }, begun, done) => {
        let text = ''
        console.on('data', (bytes: Buffer) => {
          text += bytes.toString()
          if (text.includes(said)) done(performance.now() - begun)
        })
      }),
    agent: (accelerator) =>
      boot(agent, accelerator, ({ control }, begun, done) => void control.once('data', () => done(performance.now() - begun))),
    port: (accelerator) => boot(port, accelerator, throughput),
    piped: (accelerator) => boot(piped, accelerator, throughput),
    close: () => rm(dir, { recursive: true, force: true }),
  }
}

/** What comes out of the machine, when it was started, and what to call with the result. */
type Watch<T> = (streams: Record<'control' | 'console' | 'output', Readable>, begun: number, done: (result: T) => void) => void

/** MB a second on the output port, from the first byte on. */
const throughput: Watch<number> = ({ output }, _, done) => {
  let first = 0
  let received = 0
  output.on('data', (bytes: Buffer) => {
    first ||= performance.now()
    received += bytes.length
    if (received >= portBytes) done(portBytes / 1e6 / ((performance.now() - first) / 1_000))
  })
}

/** Starts the machine and ends it when there is a result. */
function bootOnce<T>(image: Image, initrd: string, scratch: string, accelerator: string, watch: Watch<T>): Promise<T> {
  const begun = performance.now()
  const child = startMachine(image, initrd, scratch, accelerator)
  const pipes = child.stdio as readonly unknown[]
  const streams = { control: pipes[fds.control], console: pipes[fds.console], output: pipes[fds.output] } as Parameters<Watch<T>>[0]
  return new Promise<T>((resolve, reject) => {
    let console = ''
    let stderr = ''
    const late = setTimeout(() => reject(new Error(`Nothing within ${hangMs} ms. Console: ${console.slice(-500)}`)), hangMs)
    child.stderr?.on('data', (bytes: Buffer) => {
      stderr += bytes.toString()
    })
    streams.console.on('data', (bytes: Buffer) => {
      console += bytes.toString()
    })
    for (const stream of Object.values(streams)) stream.on('error', () => {})
    watch(streams, begun, resolve)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(late)
      reject(new Error(`QEMU ended (${code ?? signal}): ${stderr.trim()} ${console.slice(-500)}`))
    })
  }).finally(() => child.kill('SIGKILL'))
}
