/** What comes from a command's terminal, on its way to the host: in order, never more than the host has given credit for. */
import type { Readable } from 'node:stream'
import { leftoverQuietMs, terminalPiece } from './limits.ts'

export class TerminalOutput {
  readonly #send: (bytes: Uint8Array) => void
  readonly #from: Readable
  readonly #held: Uint8Array[] = []
  #credit: number
  #lastData = performance.now()
  #ended = false
  #onEnd: () => void = () => {}
  #discarding = false

  constructor(credit: number, from: Readable, send: (bytes: Uint8Array) => void) {
    this.#credit = credit
    this.#from = from
    this.#send = send
    from.on('data', (chunk: Uint8Array) => {
      if (this.#discarding) return
      this.#lastData = performance.now()
      this.#held.push(chunk)
      this.#flush()
    })
    from.once('close', () => {
      this.#ended = true
      this.#flush()
    })
  }

  give(bytes: number): void {
    this.#credit += bytes
    this.#flush()
  }

  /** Resolves when all was sent and nobody can write any more; or when nothing has come for a while and `leftBehind` says somebody could. */
  async finish(leftBehind: () => boolean): Promise<void> {
    const ended = new Promise<'ended'>((resolve) => {
      this.#onEnd = () => resolve('ended')
      this.#flush()
    })
    for (;;) {
      const moment = new Promise((resolve) => setTimeout(resolve, leftoverQuietMs / 3))
      if ((await Promise.race([ended, moment])) === 'ended') return
      const quiet = this.#held.length === 0 && performance.now() - this.#lastData > leftoverQuietMs
      if (quiet && leftBehind()) return
    }
  }

  /** From now on reads and drops, so that writers left behind neither wait nor break. */
  discard(): void {
    this.#discarding = true
    this.#held.length = 0
    this.#from.resume()
  }

  #flush(): void {
    while (this.#held.length > 0 && this.#credit > 0) {
      const chunk = this.#held.shift() as Uint8Array
      const size = Math.min(chunk.length, this.#credit, terminalPiece)
      this.#credit -= size
      if (size < chunk.length) this.#held.unshift(chunk.subarray(size))
      this.#send(chunk.subarray(0, size))
    }
    // At most one chunk waits here; the rest stays in the terminal, where it holds back the writer.
    if (this.#held.length > 0) this.#from.pause()
    else this.#from.resume()
    if (this.#ended && this.#held.length === 0) this.#onEnd()
  }
}
