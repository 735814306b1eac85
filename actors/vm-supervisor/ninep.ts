/** The little of 9P2000.L the link itself must know: where one message's tag is, and how to say no. The gates speak the rest. */
import type { Fault } from '../../kernel/index.ts'

const rlerror = 7
const tflush = 108
const headerBytes = 7

/** Linux error numbers a refused message is answered with. */
const EIO = 5
const EACCES = 13

/** Size field, type and tag must be there and the size must be right; null for anything else. */
export function tagOf(frame: Uint8Array): number | null {
  if (frame.length < headerBytes) return null
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  if (view.getUint32(0, true) !== frame.length) return null
  return view.getUint16(5, true)
}

/** The same for an answer, which other whole messages may follow: those the client is likely to ask for next (`Gate.ask`). */
export function tagOfAnswer(answer: Uint8Array): number | null {
  let tag: number | null = null
  for (let at = 0; at < answer.length; ) {
    if (answer.length - at < headerBytes) return null
    const size = new DataView(answer.buffer, answer.byteOffset + at, 4).getUint32(0, true)
    const own = tagOf(answer.subarray(at, at + size))
    if (own === null) return null
    tag ??= own
    at += size
  }
  return tag
}

/** A `Tflush` of a message that nobody sent. */
export function harmlessFrame(): Uint8Array {
  return Uint8Array.of(9, 0, 0, 0, tflush, 0, 0, 0, 0)
}

/** An `Rlerror` message for that tag. */
export function errorFrame(tag: number, errno: number): Uint8Array {
  const frame = new Uint8Array(headerBytes + 4)
  const view = new DataView(frame.buffer)
  view.setUint32(0, frame.length, true)
  view.setUint8(4, rlerror)
  view.setUint16(5, tag, true)
  view.setUint32(7, errno, true)
  return frame
}

const permission = new Set(['no-capability', 'revoked', 'attenuated', 'expired', 'denied', 'outside-folder', 'symlink-escape', 'read-only'])

/** What a program in the guest sees of a refusal: "permission denied" for a lack of rights, "input/output error" for the rest. */
export function errnoOf(error: Fault): number {
  return permission.has(error.code) ? EACCES : EIO
}
