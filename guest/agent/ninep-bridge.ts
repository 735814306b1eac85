/**
 * The agent's hold on the process at the files port (`files-pump.pl`): it mounts connected folders in their sessions and asks the host for what programs
 * do there, without the agent. What a message may do is decided on the host. Without it there are no folders: its end is the agent's.
 */
import type { Duplex } from 'node:stream'
import { getSystemErrorMessage } from 'node:util'
import { encodeFrame, FrameDecoder, maxFrame } from '../frames.ts'
import { channelName, type FilesMessage, filesPort, ninepMessageSize, parseFilesMessage, silentTag } from '../wire.ts'
import { type Carrier, startCarrier } from './carrier.ts'

/** One mount's connection. Once closed, programs that still have something open there are told that it is gone. */
export type Channel = { close(): void }

export class NinepBridge {
  readonly #carrier: Carrier
  readonly #frames: Duplex
  readonly #made = new Map<number, (error: number) => void>()
  #next = 1

  /** `onEnd`: the process is no more, or what it says makes no sense. */
  constructor(onEnd: (why: string) => void) {
    const limits = [maxFrame, ninepMessageSize, silentTag].map(String)
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

  /** Mounts the session's folder at `target`, as process `place` sees files. Rejects with why not. */
  async open(session: string, folder: string, place: number, target: string, mode: 'ro' | 'rw'): Promise<Channel> {
    const n = this.#next++
    const c = channelName(session, folder, n)
    const error = await new Promise<number>((resolve) => {
      this.#made.set(n, resolve)
      this.#carrier.order('open', n, place, hexOf(target), mode, ...headersOf(c))
    })
    if (error !== 0) throw new Error(getSystemErrorMessage(-error))
    return { close: () => this.#carrier.order('drop', n) }
  }

  #fromHost(header: unknown, payload: Uint8Array): void {
    const message = parseFilesMessage(header)
    // Of a connection that has ended meanwhile, the rest comes here.
    if (message?.op === 'echo') this.send(message, payload)
  }

  #hear([, n, error]: readonly (string | undefined)[]): void {
    const made = this.#made.get(Number(n))
    this.#made.delete(Number(n))
    made?.(Number(error))
  }
}

/** Of a connection's messages and of its end, for the carrier: as the host spells them, in hex. */
export function headersOf(c: string): string[] {
  return (['msg', 'close'] as const).map((op) => hexOf(JSON.stringify({ c, op } satisfies FilesMessage)))
}

function hexOf(text: string): string {
  return Buffer.from(text).toString('hex')
}
