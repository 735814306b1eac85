/** Cuts a 9P byte stream into messages: `size[4] type[1] tag[2] …`, little-endian, the size including itself. */
import { ninepMessageSize } from '../wire.ts'

const smallest = 7

export class NinepFrames {
  #chunks: Uint8Array[] = []
  #held = 0

  /** Whole messages, each with its size field. Throws a RangeError if a size is impossible: the stream is lost then. */
  push(bytes: Uint8Array): Uint8Array[] {
    this.#chunks.push(bytes)
    this.#held += bytes.length
    const messages: Uint8Array[] = []
    while (this.#held >= 4) {
      const size = this.#size()
      if (size < smallest || size > ninepMessageSize) throw new RangeError(`9P message of ${size} bytes`)
      if (this.#held < size) break
      const whole = this.#chunks.length === 1 && this.#chunks[0] !== undefined ? this.#chunks[0] : Buffer.concat(this.#chunks, this.#held)
      messages.push(whole.subarray(0, size))
      this.#chunks = whole.length > size ? [whole.subarray(size)] : []
      this.#held -= size
    }
    return messages
  }

  #size(): number {
    let size = 0
    let at = 0
    for (const chunk of this.#chunks) {
      for (let i = 0; i < chunk.length && at < 4; i++) size += (chunk[i] ?? 0) * 2 ** (8 * at++)
      if (at === 4) break
    }
    return size
  }
}
