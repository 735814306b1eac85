/** A stream to a guest that connects when it is up: until then what is written is lost, as it is on a serial port nobody opened. */
import { createServer, type Server, type Socket } from 'node:net'
import { Duplex, type Readable, type Writable } from 'node:stream'

export class LateStream extends Duplex {
  #from: Readable | null = null
  #to: Writable | null = null
  #attached!: () => void
  /** Resolves when the other side is there. */
  readonly attached = new Promise<void>((resolve) => {
    this.#attached = resolve
  })

  attach(socket: Duplex): void {
    this.attachPair(socket, socket)
  }

  attachPair(from: Readable, to: Writable): void {
    this.#from = from
    this.#to = to
    from.on('data', (bytes: Buffer) => {
      if (!this.push(bytes)) from.pause()
    })
    // The other side went, in whatever way: the end of the stream says so.
    from.on('error', () => {})
    to.on('error', () => {})
    from.on('close', () => this.destroy())
    from.on('end', () => this.push(null))
    this.#attached()
  }

  override _read(): void {
    this.#from?.resume()
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    if (this.#to === null || this.#to.destroyed) done()
    else this.#to.write(bytes, () => done())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#from?.destroy()
    this.#to?.destroy()
    done(error)
  }
}

/** The first connection to a socket at `path`, and no other: whoever comes second is refused. */
export async function firstConnection(path: string): Promise<LateStream> {
  const stream = new LateStream()
  const server: Server = createServer((socket: Socket) => {
    server.close()
    stream.attach(socket)
  })
  server.maxConnections = 1
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  stream.once('close', () => server.close())
  return stream
}
