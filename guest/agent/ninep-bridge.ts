/**
 * The agent's hold on the process at the files port (`files-pump.pl`): the guest's 9P clients connect to sockets it makes, and each of their
 * messages goes to the host and each answer comes back without the agent. What a message may do is decided on the host. Without it there are no folders: its end is the agent's.
 */
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { encodeFrame, FrameDecoder, maxFrame } from '../frames.ts'
import { channelName, type FilesMessage, filesPort, ninepMessageSize, parseFilesMessage, silentTag } from '../wire.ts'
import { type Carrier, startCarrier } from './carrier.ts'

/** Where the sockets are; only root may enter. Each slot sees its own folder of it, at `insideDir`. */
export const socketsDir = '/run/bulkhead/9p'
export const insideDir = '/run/9p'

/** Smallest 9P message: its size, type and tag. */
const smallestMessage = 7

/** One mount's connection. `socket`: its path inside the session, good for one client. */
export type Channel = { socket: string; close(): void }

export class NinepBridge {
  readonly #carrier: Carrier
  readonly #frames: Duplex
  readonly #made = new Map<number, () => void>()
  #next = 1

  /** `onEnd`: the process is no more, or what it says makes no sense. */
  constructor(onEnd: (why: string) => void) {
    const limits = [maxFrame, ninepMessageSize, smallestMessage, silentTag].map(String)
    this.#carrier = startCarrier({
      script: 'files-pump.pl',
      args: [`/dev/virtio-ports/${filesPort}`, ...limits],
      streams: ['pipe'],
      what: 'the folders’ carrier',
      hear: (words) => this.#hear(words),
      end: onEnd,
    })
    this.#frames = this.#carrier.child.stdio[3] as Duplex
    const decoder = new FrameDecoder()
    this.#frames.on('error', () => {})
    this.#frames.on('data', (bytes: Buffer) => {
      for (const decoded of decoder.push(bytes)) {
        if (decoded.ok) this.#fromHost(decoded.frame.header, decoded.frame.payload)
        else if (decoded.fatal) onEnd(decoded.reason)
      }
    })
  }

  /** Queues a frame. What bounds the queue is the sender's business (credit). */
  send(message: FilesMessage, payload?: Uint8Array): void {
    this.#frames.write(encodeFrame(message, payload))
  }

  /** Makes a socket in `dir` for one client, the session's folder mount. */
  async open(session: string, folder: string, dir: string): Promise<Channel> {
    const n = this.#next++
    const c = channelName(session, folder, n)
    await new Promise<void>((resolve) => {
      this.#made.set(n, resolve)
      // As the host spells them.
      this.#carrier.order('open', n, join(dir, `${n}`), headerOf({ c, op: 'msg' }), headerOf({ c, op: 'close' }))
    })
    return { socket: join(insideDir, `${n}`), close: () => this.#carrier.order('drop', n) }
  }

  #fromHost(header: unknown, payload: Uint8Array): void {
    const message = parseFilesMessage(header)
    // Of a connection that has ended meanwhile, the rest comes here.
    if (message?.op === 'echo') this.send(message, payload)
  }

  #hear([, n]: readonly (string | undefined)[]): void {
    const made = this.#made.get(Number(n))
    this.#made.delete(Number(n))
    made?.()
  }
}

function headerOf(message: FilesMessage): string {
  return Buffer.from(JSON.stringify(message)).toString('hex')
}
