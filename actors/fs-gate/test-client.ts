/** For tests: a 9P client that speaks to the server as frames. */
import { isFault, type Limits } from '../../kernel/index.ts'
import { type BodyOfRequest, encodeRequest, type RequestName } from './ninep-codec.ts'
import type { NinepConnections } from './ninep-connections.ts'
import { errno } from './ninep-errors.ts'

export const uid = 4_711
export const rootFid = 0

export class TestClient {
  readonly #connections: NinepConnections
  readonly #conn: string
  readonly #grant: Limits
  #next = 1

  constructor(connections: NinepConnections, options: { conn?: string; grant?: Limits } = {}) {
    this.#connections = connections
    this.#conn = options.conn ?? 'test#1'
    this.#grant = options.grant ?? {}
  }

  /** The answer to a raw frame; throws when there is none. */
  raw(frame: Uint8Array): Buffer {
    const answer = this.#connections.answer({ conn: this.#conn, uid, frame }, this.#grant, 'vm-supervisor')
    if (isFault(answer)) throw new Error(answer.code)
    if (answer.readUInt32LE(0) !== answer.length) throw new Error('an answer with a wrong size')
    return answer
  }

  /** The answer's body. Throws the name of the error number. */
  ask<K extends RequestName>(name: K, body: BodyOfRequest<K>): Buffer {
    const answer = this.raw(encodeRequest(name, 1, body))
    if (answer[4] === 7) throw new Error(nameOf(answer.readUInt32LE(7)))
    return answer.subarray(7)
  }

  /** The name of the error it is answered with, `''` when it is none. */
  error<K extends RequestName>(name: K, body: BodyOfRequest<K>): string {
    try {
      this.ask(name, body)
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }

  attach(msize = 65_536): this {
    this.ask('version', { msize, version: '9P2000.L' })
    this.ask('attach', { fid: rootFid, afid: 0xffff_ffff, uname: '', aname: '', uid })
    return this
  }

  /** A new fid for a path below the root. */
  walk(path: string, from = rootFid): number {
    const newfid = this.#next++
    const names = path === '' ? [] : path.split('/')
    const answer = this.ask('walk', { fid: from, newfid, names })
    if (answer.readUInt16LE(0) < names.length) throw new Error('ENOENT')
    return newfid
  }

  open(path: string, flags = 0): number {
    const fid = this.walk(path)
    this.ask('lopen', { fid, flags })
    return fid
  }

  create(folder: string, name: string, mode = 0o644): number {
    const fid = this.walk(folder)
    this.ask('lcreate', { fid, name, flags: 2, mode, gid: uid })
    return fid
  }

  read(fid: number, offset = 0, count = 60_000): string {
    return this.ask('read', { fid, offset: BigInt(offset), count })
      .subarray(4)
      .toString()
  }

  write(fid: number, text: string, offset = 0): number {
    return this.ask('write', { fid, offset: BigInt(offset), data: Buffer.from(text) }).readUInt32LE(0)
  }

  attributes(fid: number) {
    const answer = this.ask('getattr', { fid, mask: 0x7ffn })
    const at = 8 + 13
    return {
      mode: answer.readUInt32LE(at),
      uid: answer.readUInt32LE(at + 4),
      gid: answer.readUInt32LE(at + 8),
      nlink: answer.readBigUInt64LE(at + 12),
      rdev: answer.readBigUInt64LE(at + 20),
      size: answer.readBigUInt64LE(at + 28),
      blocks: answer.readBigUInt64LE(at + 44),
      mtime: answer.readBigUInt64LE(at + 68),
      mtimeNsec: answer.readBigUInt64LE(at + 76),
      qid: answer.subarray(8, at).toString('hex'),
    }
  }

  names(path: string, count = 60_000): string[] {
    const fid = this.open(path)
    const names: string[] = []
    for (let offset = 0n; ; ) {
      const data = this.ask('readdir', { fid, offset, count }).subarray(4)
      if (data.length === 0) break
      for (let at = 0; at < data.length; ) {
        offset = data.readBigUInt64LE(at + 13)
        const size = data.readUInt16LE(at + 22)
        names.push(data.subarray(at + 24, at + 24 + size).toString())
        at += 24 + size
      }
    }
    this.ask('clunk', { fid })
    return names
  }
}

function nameOf(number: number): string {
  const extra: Record<number, string> = { 39: 'ENOTEMPTY' }
  return Object.entries(errno).find(([, value]) => value === number)?.[0] ?? extra[number] ?? `errno ${number}`
}
