/**
 * The 9P2000.L server's outside: which connection a message belongs to, and that every message gets one answer whatever it holds.
 *
 * Requests are carried out at once and one after the other: each is a few system calls, so nothing is ever in flight that a Tflush could
 * find, and changes cannot overtake one another.
 */
import { type Fault, fault, type Limits } from '../../kernel/index.ts'
import { type Gate, modeFor } from './gate.ts'
import { limits } from './limits.ts'
import { CodecError, decodeRequest, errorAnswer, NameEncodingError, tagOf } from './ninep-codec.ts'
import { errno, errnoOf, NinepError } from './ninep-errors.ts'
import { Places } from './ninep-places.ts'
import { type Caller, NinepServer } from './ninep-server.ts'

export class NinepConnections {
  readonly #gate: Gate
  readonly #places: Places
  readonly #servers = new Map<string, NinepServer>()

  constructor(gate: Gate, places: Places = new Places(gate.root)) {
    this.#gate = gate
    this.#places = places
  }

  /**
   * The answer's frame, with `ahead` perhaps others behind it; a fault when there are too many connections. What came `before` is done first, whatever comes
   * of it. Never throws.
   */
  answer(
    message: {
      conn: string
      uid: number
      frame: Uint8Array
      before?: readonly Uint8Array[] | undefined
      ahead?: boolean | undefined
    },
    grant: Limits,
    from: string,
  ): Buffer | Fault {
    const { conn, uid, frame, before = [], ahead = false } = message
    const key = keyOf(conn, from, grant.path)
    let server = this.#servers.get(key)
    if (!server) {
      if (this.#servers.size >= limits.connections)
        return fault('overloaded', 'Too many file connections are open.', { rule: `at most ${limits.connections} connections` })
      server = new NinepServer(this.#gate, this.#places, grant, this.#openFiles)
      this.#servers.set(key, server)
    }
    const mode = modeFor(this.#gate, grant)
    for (const earlier of before) handled(server, earlier, { uid, mode })
    return handled(server, frame, { uid, mode, ahead })
  }

  /** Closes the connections of that name that `from` has opened. */
  close(conn: string, from: string): void {
    const prefix = keyOf(conn, from, undefined)
    for (const [key, server] of this.#servers) {
      if (key !== prefix && !key.startsWith(`${prefix}\0`)) continue
      server.closeAll()
      this.#servers.delete(key)
    }
  }

  closeAll(): void {
    for (const server of this.#servers.values()) server.closeAll()
    this.#servers.clear()
  }

  /** Files open over all connections. */
  readonly #openFiles = { count: 0, names: 0 }
}

function handled(server: NinepServer, frame: Uint8Array, caller: Caller): Buffer {
  try {
    if (frame.length > server.msize && server.msize > 0) throw new NinepError('EMSGSIZE')
    return server.handle(decodeRequest(frame), caller)
  } catch (error) {
    const number = error instanceof NameEncodingError ? errno.EILSEQ : error instanceof CodecError ? errno.EINVAL : errnoOf(error)
    return errorAnswer(tagOf(frame), number)
  }
}

/** A sender reaches its own connections only, and one opened on a narrower grant is another connection. */
function keyOf(conn: string, from: string, path: string | undefined): string {
  return path === undefined ? `${from}\0${conn}` : `${from}\0${conn}\0${path}`
}
