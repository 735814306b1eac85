/**
 * The floor under a start from the saved memory: the same QEMU, command line, memory and disk with nothing of the product around it, from the start of
 * its process until the guest's agent has answered.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { findImage, type Image } from '../actors/vm-supervisor/image.ts'
import { maxCpus } from '../actors/vm-supervisor/limits.ts'
import { type Architecture, bootArgs, controlDevice, qemuAccelerator } from '../actors/vm-supervisor/qemu-args.ts'
import { QmpClient } from '../actors/vm-supervisor/qmp.ts'
import { diskFile, memoryFile } from '../actors/vm-supervisor/snapshots.ts'
import { encodeFrame, FrameDecoder } from '../guest/frames.ts'
import { parseGuestMessage } from '../guest/wire.ts'
import { imagePlace } from '../setup/places.js'
import { fds } from './bare-machine.ts'

/** Long enough for a busy machine; ends a start that hangs, ms. */
const hangMs = 60_000
const epoch = 'bench'

/** ms. Rejects when no memory is saved. */
export async function restoreBare(accelerator: string, memoryMiB: number): Promise<number> {
  const image = await findImage({ imageDir: imagePlace(process.env), nodeBinary: process.execPath })
  if (!image) throw new Error('The workspace image is not there; `npm start -- setup` builds it.')
  const saved = await lastUsed(image)
  const memory = openSync(join(saved, memoryFile), 'r')
  const begun = performance.now()
  try {
    return (await answered(startSaved(image, saved, memory, accelerator, memoryMiB))) - begun
  } finally {
    closeSync(memory)
  }
}

/** The folder of the memory that was saved or used last. */
async function lastUsed({ dir }: Image): Promise<string> {
  const folder = join(dir, 'snapshots')
  const used: { path: string; at: number }[] = []
  for (const name of (await readdir(folder)).filter((one) => !one.startsWith('.')))
    used.push({ path: join(folder, name), at: (await stat(join(folder, name, 'manifest.json'))).mtimeMs })
  const [last] = used.toSorted((a, b) => b.at - a.at)
  if (last === undefined) throw new Error('No memory is saved.')
  return last.path
}

function startSaved({ kernel, initrd, root }: Image, saved: string, memory: number, accelerator: string, memoryMiB: number) {
  const arch: Architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const args = bootArgs({
    accelerator: qemuAccelerator(accelerator),
    arch,
    cpus: Math.min(maxCpus, availableParallelism()),
    memoryMiB,
    kernel,
    initrd,
    root,
    scratch: { path: join(saved, diskFile), temporary: true },
    saving: false,
    append: [],
    fds: { ...fds, incoming: 9 },
    sandbox: process.platform === 'linux',
  })
  const pipes = Object.keys(fds).map(() => 'pipe' as const)
  return spawn(`qemu-system-${arch}`, args, { stdio: ['ignore', 'ignore', 'pipe', ...pipes, memory] })
}

/** When the agent's answer was here. Ends the machine. */
function answered(child: ReturnType<typeof startSaved>): Promise<number> {
  const pipes: readonly unknown[] = child.stdio
  const control = pipes[fds.control] as Duplex
  const hello = (): void => void control.write(encodeFrame({ t: 'hello', epoch }))
  // What is sent before the port is there may be lost.
  const qmp = new QmpClient(pipes[fds.qmp] as Duplex, ({ event, data }) => {
    if (event === 'VSERPORT_CHANGE' && data['id'] === controlDevice && data['open'] === true) hello()
  })
  qmp.ready.catch(() => {})
  let stderr = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    stderr += bytes.toString()
  })
  for (const stream of pipes.slice(3) as readonly Duplex[]) stream?.on('error', () => {})
  return new Promise<number>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`No answer within ${hangMs} ms. ${stderr}`)), hangMs)
    const frames = new FrameDecoder()
    control.on('data', (bytes: Buffer) => {
      for (const decoded of frames.push(bytes)) {
        const message = decoded.ok ? parseGuestMessage(decoded.frame.header) : null
        if (message?.t === 'ready' && message.epoch === epoch) resolve(performance.now())
      }
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(late)
      reject(new Error(`QEMU ended (${code ?? signal}): ${stderr.trim()}`))
    })
  }).finally(() => child.kill('SIGKILL'))
}
