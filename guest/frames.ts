/**
 * Frames on a byte stream, the same on both sides:
 *
 *   frame  = u32 BE size of the rest | u16 BE size of the header | header (JSON object, UTF-8) | payload (bytes)
 */
import type { NetMessage } from './agent/net-wire.ts'
import type { FilesMessage, GuestMessage, HostMessage, OutputMessage, OutputOrder } from './wire.ts'

/** Largest payload of one frame. Holds one 9P message of the largest msize, or one burst of output. */
export const maxPayload = 1024 * 1024
/** Largest header; the u16 in front could say no more. */
const maxHeader = 64 * 1024 - 1
/** Largest value of a frame's first field. */
export const maxFrame = 2 + maxHeader + maxPayload

export type Frame = { header: unknown; payload: Uint8Array }

/** What a decoder reports: a frame, or why one was dropped. After `fatal` the stream has no frame borders any more. */
export type Decoded = { ok: true; frame: Frame } | { ok: false; fatal: boolean; reason: string }

const utf8 = new TextEncoder()
/** Made once: making it costs more than a header. */
const utf8Text = new TextDecoder('utf-8', { fatal: true })
const nothing = new Uint8Array(0)

type Message = HostMessage | GuestMessage | FilesMessage | NetMessage | OutputOrder | OutputMessage

/** One frame ready to be written. Throws a RangeError if header or payload is over its limit. */
export function encodeFrame(message: Message, payload: Uint8Array = nothing): Uint8Array {
  return encode(message, payload.length, payload)
}

/** A frame up to its payload, for one that is written without being copied. Throws as `encodeFrame`. */
export function encodeHead(message: Message, payloadLength: number): Uint8Array {
  return encode(message, payloadLength, nothing)
}

function encode(message: Message, length: number, payload: Uint8Array): Uint8Array {
  const header = utf8.encode(JSON.stringify(message))
  if (header.length > maxHeader) throw new RangeError(`frame header of ${header.length} bytes`)
  if (length > maxPayload) throw new RangeError(`frame payload of ${length} bytes`)
  const frame = new Uint8Array(6 + header.length + payload.length)
  const view = new DataView(frame.buffer)
  view.setUint32(0, 2 + header.length + length)
  view.setUint16(4, header.length)
  frame.set(header, 6)
  frame.set(payload, 6 + header.length)
  return frame
}

/**
 * Cuts a byte stream into frames. Sizes are checked as soon as they are readable, so it never holds more than one
 * largest frame plus one pushed chunk. After a fatal error it ignores everything until `reset`.
 */
export class FrameDecoder {
  #chunks: Uint8Array[] = []
  #held = 0
  #broken = false

  /** Payloads may be views of `bytes`: the caller must not reuse that buffer. */
  push(bytes: Uint8Array): Decoded[] {
    const decoded: Decoded[] = []
    if (this.#broken || bytes.length === 0) return decoded
    this.#chunks.push(bytes)
    this.#held += bytes.length
    while (this.#held >= 6) {
      const sizes = this.#front(6)
      const view = new DataView(sizes.buffer, sizes.byteOffset, 6)
      const rest = view.getUint32(0)
      const headerSize = view.getUint16(4)
      const wrong = sizeError(rest, headerSize)
      if (wrong !== null) {
        this.#broken = true
        this.#chunks = []
        this.#held = 0
        decoded.push({ ok: false, fatal: true, reason: wrong })
        break
      }
      if (this.#held < 4 + rest) break
      decoded.push(readFrame(this.#take(4 + rest), headerSize))
    }
    return decoded
  }

  /** Bytes still to come of the frame begun, as far as its sizes are known; 0 between frames. */
  get missing(): number {
    if (this.#held === 0) return 0
    if (this.#held < 6) return 6 - this.#held
    const sizes = this.#front(6)
    return 4 + new DataView(sizes.buffer, sizes.byteOffset, 6).getUint32(0) - this.#held
  }

  /** Forgets half a frame and any fatal error: the stream starts anew. */
  reset(): void {
    this.#chunks = []
    this.#held = 0
    this.#broken = false
  }

  /** The first `size` held bytes in one piece, left in place. */
  #front(size: number): Uint8Array {
    const first = this.#chunks[0]
    if (first !== undefined && first.length >= size) return first
    const whole = this.#join(size)
    return whole.subarray(0, size)
  }

  #take(size: number): Uint8Array {
    const first = this.#chunks[0]
    const whole = first !== undefined && first.length >= size ? first : this.#join(size)
    const left = whole.subarray(size)
    if (left.length > 0) this.#chunks[0] = left
    else this.#chunks.shift()
    this.#held -= size
    return whole.subarray(0, size)
  }

  /** Joins as many leading chunks as `size` needs, each byte copied once per join, and puts the result in front. */
  #join(size: number): Uint8Array {
    let length = 0
    let count = 0
    while (length < size) length += this.#chunks[count++]?.length ?? size
    const whole = Buffer.allocUnsafeSlow(length)
    let at = 0
    for (const chunk of this.#chunks.splice(0, count)) {
      whole.set(chunk, at)
      at += chunk.length
    }
    this.#chunks.unshift(whole)
    return whole
  }
}

/** What is wrong with a frame's sizes, or null. */
export function sizeError(rest: number, headerSize: number): string | null {
  if (rest > maxFrame) return `frame of ${rest} bytes`
  if (headerSize < 2 || rest < 2 + headerSize) return `frame of ${rest} bytes with a header of ${headerSize}`
  if (rest - 2 - headerSize > maxPayload) return `payload of ${rest - 2 - headerSize} bytes`
  return null
}

function readFrame(whole: Uint8Array, headerSize: number): Decoded {
  const header = readHeader(whole.subarray(6, 6 + headerSize))
  if (header === null) return { ok: false, fatal: false, reason: 'header is not JSON' }
  return { ok: true, frame: { header: header.value, payload: whole.subarray(6 + headerSize) } }
}

/** Null when it is no JSON. */
export function readHeader(bytes: Uint8Array): { value: unknown } | null {
  try {
    return { value: JSON.parse(utf8Text.decode(bytes)) }
  } catch {
    return null
  }
}
