/** Reading regular files through their handles, in steps that give way to other requests. */
import { createHash, hash } from 'node:crypto'
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { fault } from '../../kernel/index.ts'
import { openHeld, type Scope } from './handles.ts'
import { limits } from './limits.ts'
import type { Found } from './walk.ts'

/** Throws `not-a-file` for folders and special files: those are never opened. */
export function requireFile(found: Found): void {
  const { stat } = found
  if (stat.isFile()) return
  const what = stat.isDirectory()
    ? 'a folder'
    : stat.isFIFO()
      ? 'a named pipe'
      : stat.isSocket()
        ? 'a socket'
        : stat.isSymbolicLink()
          ? 'a symbolic link'
          : 'a device'
  throw fault('not-a-file', `${found.parts.join('/') || 'The path'} is ${what}.`, { rule: 'regular files only' })
}

/** Opens a found regular file for reading. Throws `not-a-file`, `too-large`. */
export function openFile(found: Found, scope: Scope, maxBytes: number): number {
  requireFile(found)
  if (found.stat.size > maxBytes) throw tooLarge(found, maxBytes)
  return scope.own(openHeld(found.fd))
}

function tooLarge(found: Found, maxBytes: number) {
  return fault('too-large', `${found.parts.join('/')} has ${found.stat.size} bytes.`, {
    rule: `at most ${maxBytes} bytes`,
    remedy: 'Use a program in the workspace on it.',
  })
}

/** The content in pieces of one chunk. A file that grows meanwhile is read up to `maxBytes` and one chunk. Rejects when aborted. */
export async function* pieces(fd: number, maxBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  let position = 0
  const { size } = fs.fstatSync(fd)
  while (position <= maxBytes) {
    signal.throwIfAborted()
    // One more than is expected, so that the end is seen with the last piece; a large buffer for each small file costs more than reading it.
    const buffer = Buffer.allocUnsafe(Math.min(limits.chunkBytes, Math.max(size - position, 0) + 1))
    const got = fs.readSync(fd, buffer, 0, buffer.length, position)
    if (got === 0) return
    position += got
    yield buffer.subarray(0, got)
    if (got < buffer.length) return
    await setImmediate()
  }
}

/** A small file's bytes in one read; null: it is none, or it grew meanwhile. `size`: as it was when it was found. */
export function smallFile(fd: number, size: number): Buffer<ArrayBuffer> | null {
  if (size >= limits.atOnceBytes) return null
  const buffer = Buffer.allocUnsafe(size + 1)
  const got = fs.readSync(fd, buffer, 0, buffer.length, 0)
  return got > size ? null : buffer.subarray(0, got)
}

/** The whole content and its SHA-256 in hex. */
export async function wholeFile(
  fd: number,
  maxBytes: number,
  signal: AbortSignal,
): Promise<{ bytes: Buffer<ArrayBuffer>; sha256: string }> {
  const bytes = await wholeBytes(fd, maxBytes, signal)
  return { bytes, sha256: sha256Of(bytes) }
}

/** The whole content. `size`: as it was when it was found. */
export async function wholeBytes(
  fd: number,
  maxBytes: number,
  signal: AbortSignal,
  size: number = fs.fstatSync(fd).size,
): Promise<Buffer<ArrayBuffer>> {
  const small = smallFile(fd, size)
  if (small && small.length <= maxBytes) return small
  const all: Buffer[] = []
  for await (const piece of pieces(fd, maxBytes, signal)) all.push(piece)
  return Buffer.concat(all)
}

/** The same in one step, for the moment between checking and renaming that must not be interrupted. */
export function hashNow(fd: number): string {
  const { size } = fs.fstatSync(fd)
  const small = smallFile(fd, size)
  if (small) return sha256Of(small)
  const whole = createHash('sha256')
  const buffer = Buffer.allocUnsafe(Math.min(limits.chunkBytes, size + 1))
  for (let position = 0; ; ) {
    const got = fs.readSync(fd, buffer, 0, buffer.length, position)
    if (got === 0) return whole.digest('hex')
    whole.update(buffer.subarray(0, got))
    position += got
  }
}

/** Whether an open file holds just these bytes. */
export function holds(fd: number, bytes: Uint8Array): boolean {
  const buffer = Buffer.allocUnsafe(Math.min(limits.chunkBytes, bytes.length + 1))
  for (let position = 0; ; ) {
    const got = fs.readSync(fd, buffer, 0, buffer.length, position)
    if (got === 0) return position === bytes.length
    if (buffer.compare(bytes, position, Math.min(position + got, bytes.length), 0, got) !== 0) return false
    position += got
  }
}

export function sha256Of(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex')
}
