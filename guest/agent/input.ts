/** A command's input: what its process has not taken waits here, bounded by what the sender may have under way. */
import type { Writable } from 'node:stream'
import { inputWindow } from '../wire.ts'

export class Input {
  readonly #to: Writable
  readonly #took: (bytes: number) => void
  readonly #end: () => void
  #waiting = 0

  /** `took`: hears of all that was taken, or of what nobody will take any more. `end`: what to do once there is no more input. */
  constructor(to: Writable, took: (bytes: number) => void, end: () => void) {
    this.#to = to
    this.#took = took
    this.#end = end
    to.on('error', () => {})
  }

  write(bytes: Uint8Array, end: boolean): void {
    if (bytes.length > 0) {
      const { length } = bytes
      if (this.#to.destroyed || this.#to.writableEnded || this.#waiting + length > inputWindow) this.#took(length)
      else {
        this.#waiting += length
        this.#to.write(bytes, () => {
          this.#waiting -= length
          this.#took(length)
        })
      }
    }
    if (end && !this.#to.writableEnded) this.#end()
  }
}
