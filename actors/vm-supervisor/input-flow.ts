/** A command's input on its way to the guest, never more under way than its process has room for. Pure but for what it is given to send by. */
import { inputPiece, inputWindow } from '../../guest/wire.ts'
import type { Fault } from '../../kernel/index.ts'

type Waiter = { at: number; resolve: () => void; reject: (error: Fault) => void }

export class InputFlow {
  readonly #send: (bytes: Uint8Array, end: boolean) => void
  readonly #queue: { bytes: Uint8Array; end: boolean }[] = []
  readonly #waiters: Waiter[] = []
  #given = 0
  #sent = 0
  #taken = 0
  #ended: Fault | null = null

  constructor(send: (bytes: Uint8Array, end: boolean) => void) {
    this.#send = send
  }

  /** Resolves when the command has taken all of it, and rejects when it ended before. `end`: there will be no more. */
  write(bytes: Uint8Array, end: boolean): Promise<void> {
    if (this.#ended) return Promise.reject(this.#ended)
    this.#given += bytes.length
    for (let at = 0; at < bytes.length; at += inputPiece) this.#queue.push({ bytes: bytes.subarray(at, at + inputPiece), end: false })
    if (end) this.#queue.push({ bytes: new Uint8Array(0), end })
    const done = new Promise<void>((resolve, reject) => this.#waiters.push({ at: this.#given, resolve, reject }))
    this.#pump()
    return done
  }

  /** What the guest claims to have taken; never believed beyond what it was sent. */
  took(bytes: number): void {
    this.#taken = Math.min(this.#sent, this.#taken + bytes)
    this.#pump()
  }

  /** The command is over. */
  finish(error: Fault): void {
    this.#ended = error
    this.#queue.length = 0
    for (const { reject } of this.#waiters.splice(0)) reject(error)
  }

  #pump(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#sent + next.bytes.length - this.#taken > inputWindow) break
      this.#queue.shift()
      this.#sent += next.bytes.length
      this.#send(next.bytes, next.end)
    }
    while (this.#waiters[0] !== undefined && this.#waiters[0].at <= this.#taken && !this.#queue.some(({ end }) => end))
      this.#waiters.shift()?.resolve()
  }
}
