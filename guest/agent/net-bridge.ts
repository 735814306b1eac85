/**
 * Carries the connections of sessions to the host: whatever a program connects to, the agent accepts, says where it was meant to go, and
 * passes bytes. What may go where is the host's decision alone; a refusal arrives as the end of the connection.
 */
import type { Socket as UdpSocket } from 'node:dgram'
import type { Socket } from 'node:net'
import { Names } from './net-names.ts'
import { openNetSockets, proxyPort } from './net-sockets.ts'
import { creditStep, maxConnections, type NetMessage, netPiece, netWindow, parseNetMessage } from './net-wire.ts'
import type { Holder } from './holder.ts'

export type NetSend = (message: NetMessage, payload?: Uint8Array) => void

/** Told of what sessions try, as far as the host does not see it. */
export type NetHeard = { name(session: string, name: string): void; refused(session: string, address: string, port: number): void }

type Connection = {
  socket: Socket
  /** Bytes the host still takes. */
  credit: number
  /** Bytes the program's socket took that the host was not told of yet. */
  taken: number
  waiting: Uint8Array[]
  ended: boolean
}

/** A namespace whose connections come here. Before it has an owner nothing in it runs. */
export type Net = { owner: string | null; close(): void }

export class NetBridge {
  readonly #send: NetSend
  readonly #heard: NetHeard
  readonly #connections = new Map<number, Connection>()
  #next = 1

  constructor(send: NetSend, heard: NetHeard) {
    this.#send = send
    this.#heard = heard
  }

  /** Makes the namespace of this holder one whose connections are carried. Rejects with why not. */
  async open(holder: Holder): Promise<Net> {
    const sockets = await openNetSockets(holder)
    const names = new Names()
    const net: Net = { owner: null, close: () => sockets.close() }
    for (const server of sockets.servers) {
      server.on('error', () => {})
      server.on('connection', (socket: Socket) => this.#accept(socket, net, names))
    }
    serveNames(sockets.names, names, (name) => net.owner !== null && this.#heard.name(net.owner, name))
    void holder.gone.then(() => net.close())
    return net
  }

  /** A message from the host. Anything else is ignored. */
  fromHost(header: unknown, payload: Uint8Array): void {
    const message = parseNetMessage(header)
    const connection = message === null ? undefined : this.#connections.get(message.n)
    if (message === null || connection === undefined) return
    const { n } = message
    switch (message.net) {
      case 'data':
        connection.socket.write(payload, () => this.#took(n, connection, payload.length))
        return
      case 'end':
        connection.socket.end()
        return
      case 'reset':
        this.#connections.delete(n)
        connection.socket.resetAndDestroy()
        return
      case 'credit':
        connection.credit = Math.min(netWindow, connection.credit + message.bytes)
        this.#flush(n, connection)
        return
      default:
    }
  }

  /** The host is gone: programs are told at once. */
  closeAll(): void {
    for (const { socket } of this.#connections.values()) socket.resetAndDestroy()
    this.#connections.clear()
  }

  #accept(socket: Socket, net: Net, names: Names): void {
    socket.on('error', () => {})
    const { localAddress = '', localPort = 0 } = socket
    const own = localPort === proxyPort && (localAddress === '127.0.0.1' || localAddress === '::1')
    const host = own ? null : names.targetOf(localAddress)
    if (net.owner !== null && !own && host === null) this.#heard.refused(net.owner, localAddress, localPort)
    if (net.owner === null || (!own && host === null) || this.#connections.size >= maxConnections) return void socket.resetAndDestroy()
    const n = this.#next++
    const connection: Connection = { socket, credit: netWindow, taken: 0, waiting: [], ended: false }
    this.#connections.set(n, connection)
    socket.setNoDelay(true)
    // The other half stays open until the host ends it.
    socket.allowHalfOpen = true
    this.#send({ n, net: 'open', session: net.owner, to: host === null ? null : { host, port: localPort } })
    socket.on('data', (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; at += netPiece) connection.waiting.push(bytes.subarray(at, at + netPiece))
      this.#flush(n, connection)
    })
    socket.on('end', () => {
      connection.ended = true
      this.#flush(n, connection)
    })
    socket.on('close', () => {
      if (this.#connections.delete(n)) this.#send({ n, net: 'reset' })
    })
  }

  /** What the host may not have sent for want of credit is more than what is kept back here. */
  #took(n: number, connection: Connection, bytes: number): void {
    connection.taken += bytes
    if (connection.taken < creditStep || !this.#connections.has(n)) return
    this.#send({ n, net: 'credit', bytes: connection.taken })
    connection.taken = 0
  }

  #flush(n: number, connection: Connection): void {
    const { socket, waiting } = connection
    while (waiting[0] !== undefined && waiting[0].length <= connection.credit) {
      const piece = waiting.shift() as Uint8Array
      connection.credit -= piece.length
      this.#send({ n, net: 'data' }, piece)
    }
    if (waiting.length > 0) socket.pause()
    else if (connection.ended) this.#send({ n, net: 'end' })
    else socket.resume()
  }
}

/** Answers what can be answered without asking anyone; to anything else there is no answer. */
function serveNames(socket: UdpSocket, names: Names, asked: (name: string) => void): void {
  socket.on('error', () => {})
  socket.on('message', (query, { port, address }) => {
    const answer = names.answer(query, asked)
    if (answer !== null) socket.send(answer, port, address)
  })
}
