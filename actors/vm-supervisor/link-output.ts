/** The host's end of the output port: what commands write, and the credit they get for more. What is no frame, or none of these, ends the link. */
import type { Duplex } from 'node:stream'
import { encodeFrame } from '../../guest/frames.ts'
import { parseOutputMessage, type Stream } from '../../guest/wire.ts'
import { FlowingFrames } from './flowing-frames.ts'
import { Echoes } from './link-echoes.ts'

export class OutputLink {
  readonly #stream: Duplex
  readonly #frames = new FlowingFrames()
  readonly #echoes = new Echoes<number>('output')
  #take: (id: number, stream: Stream, bytes: Uint8Array) => void = () => {}
  #received: () => void = () => {}
  #next = 1
  #ended = false

  /** `onBroken`: the other end is gone. `onNonsense`: nothing that comes after it can be understood. */
  constructor(stream: Duplex, onBroken: () => void, onNonsense: (reason: string) => void) {
    this.#stream = stream
    stream.on('data', (bytes: Uint8Array) => {
      this.#received()
      for (const piece of this.#frames.push(bytes)) {
        const message = piece.ok ? parseOutputMessage(piece.header) : null
        if (piece.ok && message?.t === 'out') this.#take(message.id, message.stream, piece.payload)
        else if (message?.t === 'echo') this.#echoes.came(message.id)
        else if (!piece.ok && piece.fatal) onNonsense(piece.reason)
      }
    })
    for (const event of ['error', 'end', 'close']) {
      stream.on(event, () => {
        if (!this.#ended) onBroken()
      })
    }
  }

  /** Who takes what comes from now on; `received` hears of any byte. */
  deliver(take: (id: number, stream: Stream, bytes: Uint8Array) => void, received: () => void): void {
    this.#take = take
    this.#received = received
  }

  credit(id: number, bytes: number): void {
    if (!this.#ended) this.#stream.write(encodeFrame({ t: 'credit', id, bytes }))
  }

  /** Resolves when the guest has answered over this port. Rejects when the link ends first. */
  echo(): Promise<void> {
    const id = this.#next++
    return this.#echoes.expect(id, () => this.#stream.write(encodeFrame({ t: 'echo', id })))
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#echoes.end()
    this.#stream.destroy()
  }
}
