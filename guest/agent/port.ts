/**
 * One virtio-serial port as a stream of frames, both ways, in order.
 *
 * The port is a character device Node can only read and write through its thread pool, so a read waits there. A read returns at
 * most 4 KiB, however much is waiting; when a frame's length is known the rest is therefore fetched with one vectored read,
 * which the kernel serves piece by piece and which cannot wait for more than is sure to come.
 */
import { constants, open, readv, write } from 'node:fs'
import { promisify } from 'node:util'
import { FrameDecoder, encodeFrame } from '../frames.ts'
import type { GuestMessage } from '../wire.ts'

const openFile = promisify(open)

/** What one read of the device returns at most. */
const page = 4096
const pagesPerRead = 128
/** Frames joined into one write. */
const writeSize = 256 * 1024
/** How often a port nobody is connected to is looked at, ms. */
const idleMs = 100
/** After losing the frame borders, input is dropped until it has been quiet for this long, ms. */
const quietMs = 200

export type PortEvents = {
  frame(header: unknown, payload: Uint8Array): void
  /** The host went away, or the stream cannot be read any more; what follows is a new beginning. */
  lost(reason: string): void
}

export class Port {
  readonly #path: string
  #fd = -1
  #pending: Uint8Array[] = []
  #writing = false

  constructor(path: string) {
    this.#path = path
  }

  /** Opens the port and reads it until the process ends. Rejects if it cannot be opened. */
  async listen(events: PortEvents): Promise<void> {
    this.#fd = await openFile(this.#path, constants.O_RDWR)
    void this.#read(events)
    void this.#write()
  }

  /** Queues a frame. What bounds the queue is the sender's business (credit). */
  send(message: GuestMessage, payload?: Uint8Array): void {
    this.#pending.push(encodeFrame(message, payload))
    if (!this.#writing) void this.#write()
  }

  async #read(events: PortEvents): Promise<void> {
    const decoder = new FrameDecoder()
    let connected = true
    /** When the last byte to be dropped came; null while frames are read. */
    let dropped: number | null = null
    for (;;) {
      const bytes = await this.#readSome(decoder.missing)
      if (bytes === null) {
        if (connected) events.lost('host disconnected')
        connected = false
        dropped = null
        decoder.reset()
        await pause(idleMs)
        continue
      }
      connected = true
      if (dropped !== null) {
        const quiet = performance.now() - dropped
        dropped = performance.now()
        if (quiet < quietMs) continue
        dropped = null
        decoder.reset()
      }
      for (const decoded of decoder.push(bytes)) {
        if (decoded.ok) events.frame(decoded.frame.header, decoded.frame.payload)
        else if (decoded.fatal) {
          dropped = performance.now()
          setTimeout(() => events.lost(decoded.reason), 2 * quietMs)
        }
      }
    }
  }

  /** What is there, at least a byte; null if the host is not connected. */
  async #readSome(missing: number): Promise<Uint8Array | null> {
    const want = missing > 0 ? Math.min(missing, page * pagesPerRead) : page
    const whole = new Uint8Array(want)
    const parts: Uint8Array[] = []
    for (let at = 0; at < want; at += page) parts.push(whole.subarray(at, Math.min(at + page, want)))
    const count = await new Promise<number>((resolve) => {
      readv(this.#fd, parts, null, (error, read) => resolve(error === null ? read : 0))
    })
    return count === 0 ? null : whole.subarray(0, count)
  }

  async #write(): Promise<void> {
    if (this.#writing || this.#fd < 0) return
    this.#writing = true
    while (this.#pending.length > 0) {
      let size = 0
      let count = 0
      for (const frame of this.#pending) {
        if (count > 0 && size + frame.length > writeSize) break
        size += frame.length
        count++
      }
      const frames = this.#pending.splice(0, count)
      await this.#writeAll(frames.length === 1 && frames[0] !== undefined ? frames[0] : Buffer.concat(frames, size))
    }
    this.#writing = false
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    let at = 0
    while (at < bytes.length) {
      const written = await new Promise<number>((resolve) => {
        write(this.#fd, bytes, at, bytes.length - at, null, (error, count) => resolve(error === null ? count : 0))
      })
      if (written === 0) await pause(idleMs)
      at += written
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
