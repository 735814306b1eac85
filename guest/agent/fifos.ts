/**
 * Real pipes for command output. Node's own are socket pairs, on which a script's `> /dev/stderr` fails; so commands write into
 * FIFOs, taken from a pool because making one takes a process.
 */
import { chown, mkdir, rm } from 'node:fs/promises'
import { closeSync, constants, openSync } from 'node:fs'
import { join } from 'node:path'
import { runTool } from './tools.ts'

const dir = '/run/bulkhead/fifos'
/** Made at a time; a command takes two. */
const batch = 16

const free: string[] = []
let made = 0

/** `writer`: a descriptor, its owner's to be handed on. `held`: keeps the pipe alive until whoever reads it has opened it. */
export type Fifo = { path: string; writer: number; held: number }

/** Call once before `takeFifo`; makes the first ones. */
export async function prepareFifos(): Promise<void> {
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { mode: 0o700 })
  await makeFifos()
}

async function makeFifos(): Promise<void> {
  const paths = Array.from({ length: batch }, () => join(dir, String(made++)))
  await runTool('mkfifo', ['-m', '600', ...paths])
  free.push(...paths)
}

/** One that belongs to `uid`. It is given back once nobody has it open any more. */
export async function takeFifo(uid: number): Promise<Fifo> {
  while (free.length === 0) await makeFifos()
  const path = free.pop() as string
  // Reopening /dev/stdout asks for rights on the FIFO itself.
  await chown(path, uid, 0)
  // Opened for both, it waits for nobody.
  const held = openSync(path, constants.O_RDWR)
  return { path, held, writer: openSync(path, constants.O_WRONLY) }
}

export function giveBack({ path }: Fifo): void {
  free.push(path)
}

export function close(descriptor: number): void {
  closeSync(descriptor)
}
