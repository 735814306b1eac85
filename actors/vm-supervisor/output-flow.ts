/**
 * A command's output on its way to the one who asked, in order, with credit returned as it is consumed: the first part as it comes, and at the
 * end the last of it. Text is decoded as UTF-8 across pieces; a terminal's output stays bytes.
 */
import { creditPiece, type Stream } from '../../guest/wire.ts'
import { outputPartBytes, outputTailBytes } from './limits.ts'

export type FlowOptions = {
  /** Text, unless `onBytes` is there. */
  onText: (stream: Stream, text: string) => Promise<void>
  onBytes?: (bytes: Uint8Array) => Promise<void>
  /** Lets the guest send that much more. */
  credit: (bytes: number) => void
  /** What is passed on as it comes; of the rest only the end, with a note before it. */
  maxBytes: number
  /** Bytes the guest may have under way. */
  window: number
  /** Where all of the output is, as the session sees it; null when it is nowhere else. */
  keptAt: () => string | null
}

export class OutputFlow {
  readonly #options: FlowOptions
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() }
  #pending = 0
  #received = 0
  /** Taken, but not given back yet. */
  #owed = 0
  #passed = 0
  #left = 0
  #tail: { stream: Stream; bytes: Uint8Array }[] = []
  #tailBytes = 0
  #work: Promise<void> = Promise.resolve()

  constructor(options: FlowOptions) {
    this.#options = options
  }

  /** Bytes that came so far. */
  get received(): number {
    return this.#received
  }

  /** False when the guest sent more than its credit: it does not keep to the protocol. */
  push(stream: Stream, bytes: Uint8Array): boolean {
    this.#pending += bytes.length
    this.#received += bytes.length
    if (this.#pending > this.#options.window) return false
    this.#work = this.#work.then(() => this.#pass(stream, bytes)).catch(() => {})
    return true
  }

  /** Resolves when everything was passed on. */
  finish(): Promise<void> {
    this.#work = this.#work
      .then(async () => {
        if (this.#left > this.#tailBytes) await this.#text('stderr', this.#note(this.#left - this.#tailBytes))
        for (const { stream, bytes } of this.#tail) await this.#piece(stream, bytes)
        for (const stream of ['stdout', 'stderr'] as const) await this.#text(stream, this.#decoders[stream].decode())
      })
      .catch(() => {})
    return this.#work
  }

  async #pass(stream: Stream, bytes: Uint8Array): Promise<void> {
    const room = Math.max(0, this.#options.maxBytes - this.#passed)
    const first = bytes.subarray(0, room)
    for (let at = 0; at < first.length; at += outputPartBytes) await this.#piece(stream, first.subarray(at, at + outputPartBytes))
    this.#passed += first.length
    if (first.length < bytes.length) this.#keepEnd(stream, bytes.subarray(room))
    this.#owed += bytes.length
    // Until then the guest has credit left: its window is larger.
    if (this.#owed < creditPiece) return
    this.#pending -= this.#owed
    this.#options.credit(this.#owed)
    this.#owed = 0
  }

  #keepEnd(stream: Stream, bytes: Uint8Array): void {
    this.#left += bytes.length
    this.#tail.push({ stream, bytes })
    this.#tailBytes += bytes.length
    for (let first = this.#tail[0]; first !== undefined && this.#tailBytes - first.bytes.length >= outputTailBytes; first = this.#tail[0]) {
      this.#tail.shift()
      this.#tailBytes -= first.bytes.length
    }
  }

  #note(bytes: number): string {
    const path = this.#options.keptAt()
    return `\n[bulkhead: ${bytes} bytes of output are left out here${path === null ? '' : `; all of it is in ${path} in the workspace`}]\n`
  }

  async #piece(stream: Stream, bytes: Uint8Array): Promise<void> {
    const { onBytes } = this.#options
    if (onBytes) await onBytes(bytes)
    else await this.#text(stream, this.#decoders[stream].decode(bytes, { stream: true }))
  }

  async #text(stream: Stream, text: string): Promise<void> {
    if (text !== '') await this.#options.onText(stream, text)
  }
}
