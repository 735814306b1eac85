/** A command's output on its way to the one who asked: decoded as UTF-8 across pieces, in order, with credit returned as it is consumed. */
import type { Stream } from '../../guest/wire.ts'
import { outputPartBytes } from './limits.ts'

export type FlowOptions = {
  onText: (stream: Stream, text: string) => Promise<void>
  /** Lets the guest send that much more. */
  credit: (bytes: number) => void
  /** What is passed on; the rest is dropped, with one note. */
  maxBytes: number
  /** Bytes the guest may have under way. */
  window: number
}

export class OutputFlow {
  readonly #options: FlowOptions
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() }
  #pending = 0
  #passed = 0
  #noted = false
  #tail: Promise<void> = Promise.resolve()

  constructor(options: FlowOptions) {
    this.#options = options
  }

  /** False when the guest sent more than its credit: it does not keep to the protocol. */
  push(stream: Stream, bytes: Uint8Array): boolean {
    this.#pending += bytes.length
    if (this.#pending > this.#options.window) return false
    this.#tail = this.#tail.then(() => this.#pass(stream, bytes)).catch(() => {})
    return true
  }

  /** Resolves when everything was passed on. */
  finish(): Promise<void> {
    this.#tail = this.#tail
      .then(async () => {
        for (const stream of ['stdout', 'stderr'] as const) await this.#text(stream, this.#decoders[stream].decode())
      })
      .catch(() => {})
    return this.#tail
  }

  async #pass(stream: Stream, bytes: Uint8Array): Promise<void> {
    const room = Math.max(0, this.#options.maxBytes - this.#passed)
    const kept = bytes.subarray(0, room)
    for (let at = 0; at < kept.length; at += outputPartBytes) {
      await this.#text(stream, this.#decoders[stream].decode(kept.subarray(at, at + outputPartBytes), { stream: true }))
    }
    this.#passed += kept.length
    if (kept.length < bytes.length && !this.#noted) {
      this.#noted = true
      await this.#text('stderr', `\n[bulkhead: output beyond ${this.#options.maxBytes} bytes is dropped]\n`)
    }
    this.#pending -= bytes.length
    this.#options.credit(bytes.length)
  }

  async #text(stream: Stream, text: string): Promise<void> {
    if (text !== '') await this.#options.onText(stream, text)
  }
}
