/**
 * The host's end of the files port: each frame is one 9P message of one mount in the guest, answered by the gate of that folder.
 *
 * The session in a channel's name is the guest's claim. Only attached sessions and their folders are served, so the union of what the member
 * connected is the outer bound; between sessions the guest's own kernel stands, because a guest whose root is hostile can use any
 * session's name, and nothing on this side could tell.
 */
import type { Duplex } from 'node:stream'
import { asFault, type Fault } from '../../kernel/index.ts'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import { channelName, parseChannelName, parseFilesMessage, silentTag } from '../../guest/wire.ts'
import { maxFilesBefore, maxFilesInFlight } from './limits.ts'
import { Echoes } from './link-echoes.ts'
import { errnoOf, errorFrame, harmlessFrame, tagOf, tagOfAnswer } from './ninep.ts'

const EACCES = 13
/** Longest proof the host ever sends, bytes. */
const maxNonce = 64
const EIO = 5

/** A channel's name of the right form that is no session's. */
const echoChannel = channelName('echo', 'echo', 0)

export type Gate = {
  /** The answer to one 9P message, and those that the client is likely to ask for next. `before`: what is to be done first, and gets none. Rejects with a fault. */
  ask(conn: string, frame: Uint8Array, before: readonly Uint8Array[]): Promise<Uint8Array>
  close(conn: string): void
}

export class FilesLink {
  readonly #stream: Duplex
  readonly #decoder = new FrameDecoder()
  readonly #gateOf: (session: string, folder: string) => Gate | null
  readonly #epoch: string
  /** Nothing that comes after it can be understood. */
  readonly #onNonsense: (reason: string) => void
  /** Connections a gate has heard of. */
  readonly #open = new Map<string, Gate>()
  /** By what must come back. */
  readonly #echoes = new Echoes<string>('files')
  #inFlight = 0
  /** Messages without an answer, by channel: each would be as much work on its way to the gate as one that has one. Never kept beyond what came at once. */
  readonly #unanswered = new Map<string, { frames: Uint8Array[]; bytes: number }>()
  #ended = false

  /** `epoch` keeps the connections of one boot apart from those of the next at the gates. */
  constructor(
    stream: Duplex,
    epoch: string,
    gateOf: (session: string, folder: string) => Gate | null,
    onNonsense: (reason: string) => void = () => {},
  ) {
    this.#onNonsense = onNonsense
    this.#stream = stream
    this.#epoch = epoch
    this.#gateOf = gateOf
    stream.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    stream.on('drain', () => this.#pace())
    stream.on('error', () => this.end())
    for (const event of ['end', 'close']) stream.on(event, () => this.end())
  }

  /** Resolves when the guest has sent `nonce` back over this port. Rejects when the link ends first. */
  echo(nonce: Uint8Array): Promise<void> {
    const asked = (): unknown => this.#stream.write(encodeFrame({ c: echoChannel, op: 'echo' }, nonce))
    return this.#echoes.expect(Buffer.from(nonce).toString('hex'), asked)
  }

  /** What the guest was told of this session's folders is not to be said again there (a message without content). */
  forget(session: string): void {
    for (const conn of this.#open.keys()) {
      const c = conn.slice(this.#epoch.length + 1)
      if (parseChannelName(c)?.session === session) this.#answer(c, new Uint8Array())
    }
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#echoes.end()
    this.#stream.destroy()
    for (const [conn, gate] of this.#open) gate.close(conn)
    this.#open.clear()
  }

  #receive(bytes: Uint8Array): void {
    for (const decoded of this.#decoder.push(bytes)) {
      if (!decoded.ok) {
        if (!decoded.fatal) continue
        this.end()
        this.#onNonsense(decoded.reason)
        return
      }
      const message = parseFilesMessage(decoded.frame.header)
      if (!message) continue
      if (message.op === 'msg') this.#take(message.c, decoded.frame.payload)
      else if (message.op === 'echo') this.#echoed(decoded.frame.payload)
      else this.#closeConn(message.c)
    }
    for (const c of this.#unanswered.keys()) this.#pass(c)
    this.#pace()
  }

  #echoed(payload: Uint8Array): void {
    if (payload.length <= maxNonce) this.#echoes.came(Buffer.from(payload).toString('hex'))
  }

  #take(c: string, frame: Uint8Array): void {
    const waiting = this.#unanswered.get(c) ?? { frames: [], bytes: 0 }
    waiting.frames.push(frame)
    waiting.bytes += frame.length
    this.#unanswered.set(c, waiting)
    const full = waiting.frames.length > maxFilesBefore.messages || waiting.bytes > maxFilesBefore.bytes
    if (full || tagOf(frame) !== silentTag) this.#pass(c)
  }

  #pass(c: string): void {
    const frames = this.#unanswered.get(c)?.frames ?? []
    this.#unanswered.delete(c)
    const last = frames.pop()
    if (last) void this.#serve(c, last, frames)
  }

  async #serve(c: string, frame: Uint8Array, before: readonly Uint8Array[]): Promise<void> {
    const tag = tagOf(frame)
    const name = parseChannelName(c)
    if (tag === null || name === null) return this.#closeFromHere(c)
    const gate = this.#gateOf(name.session, name.folder)
    if (!gate) return tag === silentTag ? undefined : this.#answer(c, errorFrame(tag, EACCES))
    const conn = this.#connOf(c)
    this.#open.set(conn, gate)
    this.#inFlight++
    try {
      const answer = await gate.ask(conn, frame, before)
      if (tag !== silentTag) this.#answer(c, tagOfAnswer(answer) === tag ? answer : errorFrame(tag, EIO))
    } catch (error) {
      if (tag !== silentTag) this.#answer(c, errorFrame(tag, await this.#errnoOf(asFault(error), gate, conn)))
    } finally {
      this.#inFlight--
      this.#pace()
    }
  }

  /**
   * A folder that is taken away loses its capability first and its process then: what was under way is told only of the second, and a question that
   * changes nothing tells of the first.
   */
  async #errnoOf(error: Fault, gate: Gate, conn: string): Promise<number> {
    const number = errnoOf(error)
    if (number === EACCES) return number
    try {
      await gate.ask(conn, harmlessFrame(), [])
      return number
    } catch (again) {
      return errnoOf(asFault(again)) === EACCES ? EACCES : number
    }
  }

  #connOf(c: string): string {
    return `${this.#epoch}:${c}`
  }

  #closeConn(c: string): void {
    this.#pass(c)
    const conn = this.#connOf(c)
    this.#open.get(conn)?.close(conn)
    this.#open.delete(conn)
  }

  #closeFromHere(c: string): void {
    this.#closeConn(c)
    if (!this.#ended) this.#stream.write(encodeFrame({ c, op: 'close' }))
  }

  #answer(c: string, frame: Uint8Array): void {
    if (!this.#ended) this.#stream.write(encodeFrame({ c, op: 'msg' }, frame))
  }

  /** Reads on only while answers leave and few questions are open: the guest waits, memory here stays bounded. */
  #pace(): void {
    if (this.#ended) return
    const busy = this.#inFlight >= maxFilesInFlight || this.#stream.writableNeedDrain
    if (busy === this.#stream.isPaused()) return
    if (busy) this.#stream.pause()
    else this.#stream.resume()
  }
}
