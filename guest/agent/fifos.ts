/**
 * Real pipes for command output. Node's own are socket pairs, on which a script's `> /dev/stderr` fails; so commands write into
 * FIFOs, taken from a pool because making one takes a process.
 */
import { chown, mkdir, rm } from 'node:fs/promises'
import { closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { runTool } from './tools.ts'

const dir = '/run/bulkhead/fifos'
/** Made at a time; a command takes two. */
const batch = 16

const free: string[] = []
let made = 0

/** Call once before `openPipe`; makes the first ones. */
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

/**
 * A pipe whose `writer` (a file descriptor, to be closed by the caller once it is handed on) belongs to `uid`. It goes back to
 * the pool when the last writer is gone.
 */
export async function openPipe(uid: number): Promise<{ reader: Socket; writer: number }> {
  while (free.length === 0) await makeFifos()
  const path = free.pop() as string
  // Reopening /dev/stdout asks for rights on the FIFO itself.
  await chown(path, uid, 0)
  const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, constants.O_WRONLY)
  const reader = new Socket({ fd: readEnd, readable: true, writable: false })
  reader.on('error', () => {})
  reader.once('close', () => free.push(path))
  return { reader, writer }
}

export function closeWriter(writer: number): void {
  closeSync(writer)
}
