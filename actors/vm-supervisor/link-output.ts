/** The host's end of the output port: what commands write, and the credit they get for more. What is no frame, or none of these, ends the link. */
import type { Duplex } from 'node:stream'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import { parseOutputMessage, type Stream } from '../../guest/wire.ts'

export class OutputLink {
  readonly #stream: Duplex
  readonly #decoder = new FrameDecoder()
  readonly #echoes = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  #take: (id: number, stream: Stream, bytes: Uint8Array) => void = () => {}
  #received: () => void = () => {}
  #next = 1
  #ended = false

  /** `onBroken`: the other end is gone. `onNonsense`: nothing that comes after it can be understood. */
  constructor(stream: Duplex, onBroken: () => void, onNonsense: (reason: string) => void) {
    this.#stream = stream
    stream.on('data', (bytes: Uint8Array) => {
      this.#received()
      for (const decoded of this.#decoder.push(bytes)) {
        const message = decoded.ok ? parseOutputMessage(decoded.frame.header) : null
        if (decoded.ok && message?.t === 'out') this.#take(message.id, message.stream, decoded.frame.payload)
        else if (message?.t === 'echo') {
          this.#echoes.get(message.id)?.resolve()
          this.#echoes.delete(message.id)
        } else if (!decoded.ok && decoded.fatal) onNonsense(decoded.reason)
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
    if (this.#ended) return Promise.reject(new Error('the output port is closed'))
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#echoes.set(id, { resolve, reject })
      this.#stream.write(encodeFrame({ t: 'echo', id }))
    })
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    for (const { reject } of this.#echoes.values()) reject(new Error('the output port closed'))
    this.#echoes.clear()
    this.#stream.destroy()
  }
}
