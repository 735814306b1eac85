/**
 * Carries connected folders: the guest's 9P client connects to a socket here, each of its messages goes to the host over the
 * files port and each answer comes back. The bridge looks at sizes only; what a message may do is decided on the host.
 */
import { rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { channelName, parseFilesMessage } from '../wire.ts'
import { NinepFrames } from './ninep-frames.ts'
import type { Port } from './port.ts'

/** Where the sockets are; only root may enter. Each slot sees its own folder of it, at `insideDir`. */
export const socketsDir = '/run/bulkhead/9p'
export const insideDir = '/run/9p'

/** One mount's connection. `socket`: its path inside the session, good for one client. */
export type Channel = { socket: string; close(): void }

export class NinepBridge {
  readonly #port: Port
  readonly #connections = new Map<string, Socket>()
  #next = 1

  constructor(port: Port) {
    this.#port = port
  }

  /** An answer, or the end of a connection, from the host. Anything else is ignored. */
  fromHost(header: unknown, payload: Uint8Array): void {
    const message = parseFilesMessage(header)
    if (message?.op === 'echo') return this.#port.send(message, payload)
    const socket = message === null ? undefined : this.#connections.get(message.c)
    if (message === null || socket === undefined) return
    if (message.op === 'msg') socket.write(payload)
    else socket.destroy()
  }

  /** Makes a socket in `dir` for one client, the session's folder mount. */
  async open(session: string, folder: string, dir: string): Promise<Channel> {
    const n = this.#next++
    const c = channelName(session, folder, n)
    const path = join(dir, `${n}`)
    const server = createServer((socket) => {
      server.close()
      this.#serve(c, socket)
    })
    server.maxConnections = 1
    await rm(path, { force: true })
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
    server.on('error', () => {})
    const close = (): void => {
      server.close()
      this.#connections.get(c)?.destroy()
      void rm(path, { force: true })
    }
    return { socket: join(insideDir, `${n}`), close }
  }

  /** The host is gone: mounts answer with errors instead of waiting for ever. */
  closeAll(): void {
    for (const socket of this.#connections.values()) socket.destroy()
  }

  #serve(c: string, socket: Socket): void {
    this.#connections.set(c, socket)
    const frames = new NinepFrames()
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of frames.push(chunk)) this.#port.send({ c, op: 'msg' }, message)
      } catch {
        socket.destroy()
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#connections.delete(c)
      this.#port.send({ c, op: 'close' })
    })
  }
}
