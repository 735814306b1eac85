/**
 * The host's end of the guest's connections: each becomes a tunnel of egress, on the capability of its session. Nothing here decides what
 * may be reached.
 *
 * The session is the guest's claim, as with folders: only attached sessions that have a network are served, so what all of them together
 * may reach is the outer bound; between sessions the guest's own kernel stands.
 */
import type { Duplex } from 'node:stream'
import * as Effect from 'effect/Effect'
import type { Delegation, EffectContext, Fault } from '../../kernel/index.ts'
import { maxConnections, type NetMessage, netPiece, netWindow, netWindowIn, parseNetMessage } from '../../guest/agent/net-wire.ts'
import { encodeFrame, encodeHead, FrameDecoder } from '../../guest/frames.ts'
import { connectionsPerGuest, maxRepliesQueued } from './limits.ts'
import { Echoes } from './link-echoes.ts'

/** Egress as the session may use it; null: it has no network. */
export type NetworkOf = (session: string) => Delegation['slot'] | null

type Connection = {
  slot: Delegation['slot']
  session: string
  tunnel: number
  /** Bytes the guest still takes. */
  credit: number
  /** Bytes the guest sent that egress has not taken. */
  unread: number
  /** Resolves once the guest has given credit again. */
  room: { wait: Promise<void>; open(): void } | null
  /** What was sent before is on its way first. */
  sending: Promise<void>
  abort: AbortController
}

/** Tunnels are numbered for good: one of an earlier VM may still be ending. */
let nextTunnel = 1

export type NetEvents = {
  /** What policy did not let through: a program only sees its connection end. */
  refused(session: string, to: string, error: Fault): void
  /** Nothing that comes after it can be understood. */
  nonsense(reason: string): void
}

export class NetLink {
  readonly #stream: Duplex
  readonly #decoder = new FrameDecoder()
  readonly #networkOf: NetworkOf
  readonly #context: EffectContext
  readonly #events: NetEvents
  readonly #connections = new Map<number, Connection>()
  readonly #echoes = new Echoes<number>('connections')
  #nextEcho = 1
  /** Bytes of what is said about connections, not in them, that have not left. */
  #replies = 0
  #ended = false

  constructor(stream: Duplex, networkOf: NetworkOf, context: EffectContext, events: NetEvents) {
    this.#stream = stream
    this.#networkOf = networkOf
    this.#context = context
    this.#events = events
    stream.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    for (const event of ['error', 'end', 'close']) stream.on(event, () => this.end())
  }

  /** Resolves when the guest has answered over this port. Rejects when the link ends first. */
  echo(): Promise<void> {
    const n = this.#nextEcho++
    return this.#echoes.expect(n, () => this.#say({ n, net: 'echo' }))
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#echoes.end()
    this.#stream.destroy()
    for (const { abort, room } of this.#connections.values()) {
      abort.abort()
      room?.open()
    }
    this.#connections.clear()
  }

  #receive(bytes: Uint8Array): void {
    for (const decoded of this.#decoder.push(bytes)) {
      if (!decoded.ok) {
        if (!decoded.fatal) continue
        this.end()
        return this.#events.nonsense(decoded.reason)
      }
      const message = parseNetMessage(decoded.frame.header)
      if (message === null) continue
      if (message.net === 'open') this.#open(message)
      else if (message.net === 'echo') this.#echoes.came(message.n)
      else this.#about(message, decoded.frame.payload)
    }
    this.#pace()
  }

  #say(message: NetMessage): void {
    if (this.#ended) return
    const frame = encodeFrame(message)
    this.#replies += frame.length
    this.#stream.write(frame, () => {
      this.#replies -= frame.length
      this.#pace()
    })
  }

  /** Bytes in connections have credit. A guest that asks without listening is not listened to: memory here stays bounded. */
  #pace(): void {
    if (this.#ended) return
    const busy = this.#replies > maxRepliesQueued
    if (busy === this.#stream.isPaused()) return
    if (busy) this.#stream.pause()
    else this.#stream.resume()
  }

  #open({ n, session, to }: Extract<NetMessage, { net: 'open' }>): void {
    const slot = this.#networkOf(session)
    const wrong = this.#connections.has(n) || this.#connections.size >= Math.min(maxConnections, connectionsPerGuest)
    if (slot === null || wrong) return this.#say({ n, net: 'reset' })
    const connection: Connection = {
      slot,
      session,
      tunnel: nextTunnel++,
      credit: netWindowIn,
      unread: 0,
      room: null,
      sending: Promise.resolve(),
      abort: new AbortController(),
    }
    this.#connections.set(n, connection)
    void this.#run(n, connection, to)
  }

  async #run(n: number, connection: Connection, to: { host: string; port: number } | null): Promise<void> {
    const { slot, tunnel, abort } = connection
    const request = this.#context.request(
      slot,
      'connect',
      { tunnel, to },
      { deadlineMs: null, onPart: (part) => this.#fromEgress(n, connection, part) },
    )
    const outcome = Effect.match(request, { onSuccess: () => null, onFailure: (error): Fault | null => error })
    const error = await Effect.runPromise(outcome, { signal: abort.signal }).catch(() => null)
    if (this.#connections.get(n) !== connection) return
    this.#connections.delete(n)
    // Over in good order when egress said so: both ends were told. Anything else breaks off.
    if (error === null) return
    this.#say({ n, net: 'reset' })
    this.#events.refused(connection.session, to === null ? 'a proxy request' : `${to.host}:${to.port}`, error)
  }

  async #fromEgress(n: number, connection: Connection, part: unknown): Promise<void> {
    const { type, bytes } = part as { type?: unknown; bytes?: unknown }
    if (this.#connections.get(n) !== connection) return
    if (type === 'end') return this.#say({ n, net: 'end' })
    if (type !== 'data' || !(bytes instanceof Uint8Array)) return
    while (connection.credit < bytes.length) {
      connection.room ??= opening()
      await connection.room.wait
      if (this.#connections.get(n) !== connection) return
    }
    connection.credit -= bytes.length
    if (this.#ended) return
    this.#stream.cork()
    this.#stream.write(encodeHead({ n, net: 'data' }, bytes.length))
    this.#stream.write(bytes)
    this.#stream.uncork()
  }

  #about(message: Exclude<NetMessage, { net: 'open' | 'echo' }>, payload: Uint8Array): void {
    const { n } = message
    const connection = this.#connections.get(n)
    if (connection === undefined) return
    switch (message.net) {
      case 'credit':
        connection.credit = Math.min(netWindowIn, connection.credit + message.bytes)
        connection.room?.open()
        connection.room = null
        return
      case 'data':
        connection.unread += payload.length
        if (payload.length > netPiece || connection.unread > netWindow) return this.#break(n, connection)
        return this.#toEgress(n, connection, payload)
      case 'end':
        return this.#toEgress(n, connection, null)
      case 'reset':
        return this.#break(n, connection)
      default:
        return message satisfies never
    }
  }

  #toEgress(n: number, connection: Connection, bytes: Uint8Array | null): void {
    const { slot, tunnel } = connection
    const request = this.#context.request(slot, 'tunnel-data', { tunnel, bytes }, { deadlineMs: null })
    const taken = Effect.match(request, { onSuccess: () => true, onFailure: () => false })
    // Sent at once, in order; what comes back later is the credit.
    void Effect.runPromise(taken).then((ok) => {
      if (this.#connections.get(n) !== connection) return
      if (!ok) return this.#break(n, connection)
      if (bytes === null) return
      connection.unread -= bytes.length
      this.#say({ n, net: 'credit', bytes: bytes.length })
    })
  }

  #break(n: number, connection: Connection): void {
    this.#connections.delete(n)
    connection.abort.abort()
    connection.room?.open()
    this.#say({ n, net: 'reset' })
  }
}

function opening(): { wait: Promise<void>; open(): void } {
  let open!: () => void
  const wait = new Promise<void>((resolve) => (open = resolve))
  return { wait, open }
}
