/**
 * Frames between the kernel and a process actor: u32 big-endian length, then msgpack. Size is checked before anything is buffered,
 * depth and plainness right after decoding, meaning by zod schemas in the router. No records, no eval, no class instances.
 */
import { Packr, Unpackr } from 'msgpackr/index-no-eval'
import { fault } from './errors.ts'
import { framesPerWrite, maxDepth, maxFrameBytes } from './limits.ts'
import type { Fault } from './types.ts'

const options = { useRecords: false, mapsAsObjects: true, int64AsType: 'number' } as const
const packr = new Packr(options)
const unpackr = new Unpackr(options)

export class WireError extends Error {}

/** What is wrong when what is sent within does not fit into a frame, or null. */
export function unsendable(send: () => void): Fault | null {
  try {
    send()
    return null
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    return fault('malformed', 'This does not fit into one message.', { cause: error.message })
  }
}

/** One frame with its length prefix. Throws `WireError` when it is too large. */
export function encodeFrame(value: unknown): Buffer {
  const payload = packr.pack(value)
  if (payload.length > maxFrameBytes) throw new WireError(`frame of ${payload.length} bytes exceeds ${maxFrameBytes}`)
  const frame = Buffer.allocUnsafe(4 + payload.length)
  frame.writeUInt32BE(payload.length, 0)
  payload.copy(frame, 4)
  return frame
}

/**
 * Frames sent within one turn of the event loop leave together: a system call costs more than a small frame. A turn with many sends some before
 * it ends, so that who gets them works meanwhile.
 */
export function createSender(write: (bytes: Buffer) => void): (value: unknown) => void {
  let waiting: Buffer[] = []
  let later = false
  const flush = (): void => {
    const frames = waiting
    waiting = []
    if (frames.length > 0) write(frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames))
  }
  const flushLater = (): void => {
    later = false
    flush()
  }
  return (value) => {
    // After the callback that runs now and all that its promises lead to.
    if (!later) {
      later = true
      process.nextTick(flushLater)
    }
    if (waiting.push(encodeFrame(value)) >= framesPerWrite) flush()
  }
}

/** Bytes of a plain value on the wire. */
export function sizeOf(value: unknown): number {
  return packr.pack(value).length
}

/**
 * Collects chunks and hands out decoded frames in order. Throws `WireError` on the first bad one; the stream is then unusable.
 * @param trusted what comes in was checked by whoever sent it: the kernel, towards its actors
 */
export function createDecoder(onFrame: (value: unknown) => void, { trusted = false } = {}): (chunk: Buffer) => void {
  let chunks: Buffer[] = []
  let held = 0
  let wanted: number | null = null
  const take = (count: number): Buffer => {
    const all = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
    held -= count
    chunks = held > 0 ? [all.subarray(count)] : []
    return all.subarray(0, count)
  }
  return (chunk) => {
    chunks.push(chunk)
    held += chunk.length
    for (;;) {
      if (wanted === null) {
        if (held < 4) return
        wanted = take(4).readUInt32BE(0)
        if (wanted === 0 || wanted > maxFrameBytes) throw new WireError(`frame length ${wanted} is not between 1 and ${maxFrameBytes}`)
      }
      if (held < wanted) return
      const payload = take(wanted)
      wanted = null
      onFrame(decode(payload, trusted))
    }
  }
}

function decode(payload: Buffer, trusted: boolean): unknown {
  let value: unknown
  try {
    value = unpackr.unpack(payload)
  } catch (error) {
    throw new WireError(`undecodable frame: ${error instanceof Error ? error.message : String(error)}`)
  }
  const problem = trusted ? null : findImproper(value, 0)
  if (problem) throw new WireError(problem)
  return value
}

/** Why a value may not travel, or null: only plain objects, arrays, strings, finite numbers, booleans, null and bytes do. */
export function findImproper(value: unknown, depth = 0): string | null {
  if (value === null || value === undefined) return null
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return null
    case 'number':
      return Number.isFinite(value) ? null : 'a number is not finite'
    case 'object':
      break
    default:
      return `a ${typeof value} cannot travel`
  }
  if (depth >= maxDepth) return `nested deeper than ${maxDepth} (does the message contain cycles?)`
  if (value instanceof Uint8Array) return null
  if (Array.isArray(value)) {
    for (const item of value) {
      const problem = findImproper(item, depth + 1)
      if (problem) return problem
    }
    return null
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return `a ${value.constructor?.name ?? 'foreign'} instance cannot travel`
  // Not `Object.entries`, which makes lists: this looks at everything that travels. What is inherited comes from the prototypes above.
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key]
    if (key === '__proto__' || key === '__proto_' || key === 'constructor' || key === 'prototype') return `the key ${key} cannot travel`
    const problem = findImproper(item, depth + 1)
    if (problem) return problem
  }
  return null
}
