/**
 * Frames (`guest/frames.ts`) whose payloads are passed on piece by piece, as they come: to have a long one whole first, each of its bytes would be
 * copied into memory the host has to find. Sizes are checked before anything is kept; only a header ever is.
 */
import { readHeader, sizeError } from '../../guest/frames.ts'

/** A piece of a frame's payload, or all of it; one without has an empty piece. After `fatal` nothing that comes has borders. */
export type Flowing = { ok: true; header: unknown; payload: Uint8Array } | { ok: false; fatal: boolean; reason: string }

const sizesLength = 6
const nothing = new Uint8Array(0)

export class FlowingFrames {
  /** Sizes and header of the frame that begins, as far as they are there; its length is what is wanted next. */
  #head = new Uint8Array(sizesLength)
  #held = 0
  /** Of the frame whose payload comes. */
  #header: { value: unknown } | null = null
  #left = 0
  #broken = false

  /** Payloads are views of `bytes`: the caller must not reuse that buffer. */
  push(bytes: Uint8Array): Flowing[] {
    const flowing: Flowing[] = []
    for (let at = 0; at < bytes.length && !this.#broken; ) {
      const wanted = this.#left > 0 ? this.#left : this.#head.length - this.#held
      const piece = bytes.subarray(at, at + wanted)
      at += piece.length
      if (this.#left > 0) this.#flow(piece, flowing)
      else this.#begin(piece, flowing)
    }
    return flowing
  }

  #flow(payload: Uint8Array, flowing: Flowing[]): void {
    this.#left -= payload.length
    if (this.#header !== null) flowing.push({ ok: true, header: this.#header.value, payload })
  }

  #begin(piece: Uint8Array, flowing: Flowing[]): void {
    this.#head.set(piece, this.#held)
    this.#held += piece.length
    if (this.#held < this.#head.length) return
    const view = new DataView(this.#head.buffer)
    const rest = view.getUint32(0)
    const headerSize = view.getUint16(4)
    if (this.#held === sizesLength) {
      const wrong = sizeError(rest, headerSize)
      if (wrong !== null) {
        this.#broken = true
        return void flowing.push({ ok: false, fatal: true, reason: wrong })
      }
      const head = new Uint8Array(sizesLength + headerSize)
      head.set(this.#head)
      this.#head = head
      return
    }
    this.#header = readHeader(this.#head.subarray(sizesLength))
    this.#left = rest - 2 - headerSize
    this.#head = new Uint8Array(sizesLength)
    this.#held = 0
    if (this.#header === null) flowing.push({ ok: false, fatal: false, reason: 'header is not JSON' })
    else if (this.#left === 0) flowing.push({ ok: true, header: this.#header.value, payload: nothing })
  }
}
