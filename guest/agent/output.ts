/** A command's output on its way to the host: both streams, in order, never more than the host has given credit for. */
import type { Readable } from 'node:stream'
import type { Stream } from '../wire.ts'
import type { KeptOutput } from './kept-output.ts'
import { outputPiece } from './limits.ts'

type Source = { name: Stream; readable: Readable; held: Uint8Array[]; ended: boolean }

export class Output {
  readonly #send: (stream: Stream, bytes: Uint8Array) => void
  readonly #sources: Source[] = []
  readonly #kept: KeptOutput | null
  #credit: number
  #lastData = performance.now()
  #finish: (() => void) | null = null
  #discarding = false

  /** `kept`: gets all of it too. */
  constructor(credit: number, send: (stream: Stream, bytes: Uint8Array) => void, kept: KeptOutput | null = null) {
    this.#credit = credit
    this.#send = send
    this.#kept = kept
    if (kept !== null) kept.onDrain = () => this.#flush()
  }

  read(name: Stream, readable: Readable): void {
    const source: Source = { name, readable, held: [], ended: false }
    this.#sources.push(source)
    readable.on('data', (chunk: Uint8Array) => {
      if (this.#discarding) return
      this.#lastData = performance.now()
      source.held.push(chunk)
      this.#kept?.add(chunk)
      this.#flush()
    })
    readable.once('close', () => {
      source.ended = true
      this.#flush()
    })
  }

  give(bytes: number): void {
    this.#credit += bytes
    this.#flush()
  }

  /** Resolves when all that was written is sent and no writer is left. */
  ended(): Promise<void> {
    return new Promise((resolve) => {
      this.#finish = resolve
      this.#flush()
    })
  }

  /** How long nothing has come, ms; 0 while something still waits for credit. */
  quietFor(): number {
    return this.#sources.some((source) => source.held.length > 0) ? 0 : performance.now() - this.#lastData
  }

  /** From now on reads and drops, so that writers left behind neither wait nor break. */
  discard(): void {
    this.#discarding = true
    for (const source of this.#sources) {
      source.held = []
      source.readable.resume()
    }
  }

  #flush(): void {
    for (const source of this.#sources) {
      while (source.held.length > 0 && this.#credit > 0) {
        const chunk = source.held.shift() as Uint8Array
        const size = Math.min(chunk.length, this.#credit, outputPiece)
        this.#credit -= size
        if (size < chunk.length) source.held.unshift(chunk.subarray(size))
        this.#send(source.name, chunk.subarray(0, size))
      }
      // At most one chunk waits here; the rest stays in the pipe, where it holds back the writer.
      if (source.held.length > 0 || this.#kept?.behind) source.readable.pause()
      else source.readable.resume()
    }
    if (this.#finish !== null && this.#sources.every((source) => source.ended && source.held.length === 0)) this.#finish()
  }
}
