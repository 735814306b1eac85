/**
 * 9P2000.L messages as bytes, both ways. Pure, and total: bytes that are no message are a `CodecError`, never anything else.
 *
 *   size[4] type[1] tag[2] body      all numbers little-endian; a string is length[2] and UTF-8
 */
import { Buffer } from 'node:buffer'

export class CodecError extends Error {}

/** Message types a client sends; the answer's type is one more. */
const requestTypes = {
  8: 'statfs',
  12: 'lopen',
  14: 'lcreate',
  16: 'symlink',
  18: 'mknod',
  20: 'rename',
  22: 'readlink',
  24: 'getattr',
  26: 'setattr',
  30: 'xattrwalk',
  32: 'xattrcreate',
  40: 'readdir',
  50: 'fsync',
  52: 'lock',
  54: 'getlock',
  70: 'link',
  72: 'mkdir',
  74: 'renameat',
  76: 'unlinkat',
  100: 'version',
  102: 'auth',
  104: 'attach',
  108: 'flush',
  110: 'walk',
  116: 'read',
  118: 'write',
  120: 'clunk',
  122: 'remove',
} as const

const bodies = {
  statfs: { fid: 'u32' },
  lopen: { fid: 'u32', flags: 'u32' },
  lcreate: { fid: 'u32', name: 'str', flags: 'u32', mode: 'u32', gid: 'u32' },
  symlink: { fid: 'u32', name: 'str', target: 'str', gid: 'u32' },
  mknod: { fid: 'u32', name: 'str', mode: 'u32', major: 'u32', minor: 'u32', gid: 'u32' },
  rename: { fid: 'u32', dfid: 'u32', name: 'str' },
  readlink: { fid: 'u32' },
  getattr: { fid: 'u32', mask: 'u64' },
  setattr: {
    fid: 'u32',
    valid: 'u32',
    mode: 'u32',
    uid: 'u32',
    gid: 'u32',
    size: 'u64',
    atimeSec: 'u64',
    atimeNsec: 'u64',
    mtimeSec: 'u64',
    mtimeNsec: 'u64',
  },
  xattrwalk: { fid: 'u32', newfid: 'u32', name: 'str' },
  xattrcreate: { fid: 'u32', name: 'str', size: 'u64', flags: 'u32' },
  readdir: { fid: 'u32', offset: 'u64', count: 'u32' },
  fsync: { fid: 'u32' },
  lock: { fid: 'u32', kind: 'u8', flags: 'u32', start: 'u64', length: 'u64', pid: 'u32', client: 'str' },
  getlock: { fid: 'u32', kind: 'u8', start: 'u64', length: 'u64', pid: 'u32', client: 'str' },
  link: { dfid: 'u32', fid: 'u32', name: 'str' },
  mkdir: { fid: 'u32', name: 'str', mode: 'u32', gid: 'u32' },
  renameat: { oldDir: 'u32', oldName: 'str', newDir: 'u32', newName: 'str' },
  unlinkat: { fid: 'u32', name: 'str', flags: 'u32' },
  version: { msize: 'u32', version: 'str' },
  auth: { afid: 'u32', uname: 'str', aname: 'str', uid: 'u32' },
  attach: { fid: 'u32', afid: 'u32', uname: 'str', aname: 'str', uid: 'u32' },
  flush: { oldTag: 'u16' },
  walk: { fid: 'u32', newfid: 'u32', names: 'names' },
  read: { fid: 'u32', offset: 'u64', count: 'u32' },
  write: { fid: 'u32', offset: 'u64', data: 'data' },
  clunk: { fid: 'u32' },
  remove: { fid: 'u32' },
} as const satisfies Record<string, Record<string, keyof FieldTypes>>

type FieldTypes = { u8: number; u16: number; u32: number; u64: bigint; str: string; names: string[]; data: Buffer }
export type RequestName = keyof typeof bodies
export type BodyOfRequest<K extends RequestName> = {
  -readonly [F in keyof (typeof bodies)[K]]: FieldTypes[(typeof bodies)[K][F] & keyof FieldTypes]
}
export type NinepRequest = { [K in RequestName]: { tag: number; name: K; body: BodyOfRequest<K> } }[RequestName]

const typeOf = Object.fromEntries(Object.entries(requestTypes).map(([type, name]) => [name, Number(type)])) as Record<RequestName, number>
const headerBytes = 7
const rlerror = 7
/** The tag of messages outside any request. */
export const noTag = 0xffff
/** Qids of a walk, names in it: the protocol's own bound. */
const maxNames = 16

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The tag of whatever this is, for the answer to a message that cannot be read. */
export function tagOf(frame: Uint8Array): number {
  return frame.length >= headerBytes ? (frame[5] as number) | ((frame[6] as number) << 8) : noTag
}

/** Reads one message. `data` is a view into the frame. Throws `CodecError`. */
export function decodeRequest(frame: Uint8Array): NinepRequest {
  const reader = new Reader(frame)
  if (reader.u32() !== frame.length) throw new CodecError("the size field is not the frame's size")
  const name = requestTypes[reader.u8() as keyof typeof requestTypes]
  if (name === undefined) throw new CodecError('unknown message type')
  const tag = reader.u16()
  const body: Record<string, unknown> = {}
  for (const [field, type] of Object.entries(bodies[name])) body[field] = reader[type as keyof FieldTypes]()
  // Clients from before 2011 send Tfsync without `datasync`; what it says makes no difference here.
  if (name === 'fsync') reader.skip(4)
  reader.end()
  return { tag, name, body } as NinepRequest
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  #take(size: number): number {
    const start = this.#at
    if (size > this.#bytes.length - start) throw new CodecError('the message ends early')
    this.#at = start + size
    return start
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1))
  }
  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2))
  }
  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4))
  }
  u64(): bigint {
    return this.#bytes.readBigUInt64LE(this.#take(8))
  }
  str(): string {
    const size = this.u16()
    const start = this.#take(size)
    try {
      return strict.decode(this.#bytes.subarray(start, start + size))
    } catch {
      throw new NameEncodingError('a name is not UTF-8')
    }
  }
  names(): string[] {
    const count = this.u16()
    if (count > maxNames) throw new CodecError('too many names')
    return Array.from({ length: count }, () => this.str())
  }
  data(): Buffer {
    const size = this.u32()
    const start = this.#take(size)
    return this.#bytes.subarray(start, start + size)
  }
  skip(upTo: number): void {
    this.#at = Math.min(this.#bytes.length, this.#at + upTo)
  }
  end(): void {
    if (this.#at !== this.#bytes.length) throw new CodecError('the message goes on after its end')
  }
}

/** A name that this server cannot hold, told apart because the client should hear so. */
export class NameEncodingError extends CodecError {}

/** Writes one answer. Sizes are known before: `room` is the body's, exactly. */
export class Answer {
  readonly frame: Buffer
  #at = headerBytes

  constructor(request: RequestName, tag: number, room: number) {
    this.frame = Buffer.allocUnsafe(headerBytes + room)
    this.frame.writeUInt32LE(headerBytes + room, 0)
    this.frame.writeUInt8(typeOf[request] + 1, 4)
    this.frame.writeUInt16LE(tag, 5)
  }

  u8(value: number): this {
    this.#at = this.frame.writeUInt8(value, this.#at)
    return this
  }
  u16(value: number): this {
    this.#at = this.frame.writeUInt16LE(value, this.#at)
    return this
  }
  u32(value: number): this {
    this.#at = this.frame.writeUInt32LE(value, this.#at)
    return this
  }
  u64(value: bigint): this {
    this.#at = this.frame.writeBigUInt64LE(BigInt.asUintN(64, value), this.#at)
    return this
  }
  str(value: string): this {
    const size = Buffer.byteLength(value)
    this.u16(size)
    this.#at += this.frame.write(value, this.#at)
    return this
  }
  qid({ type, version, path }: Qid): this {
    return this.u8(type).u32(version).u64(path)
  }
  /** The part of the frame not yet written, for data that is read into it. */
  rest(): Buffer {
    return this.frame.subarray(this.#at)
  }
  /** The frame, cut to what has been written and `more` bytes of the rest. */
  cut(more: number): Buffer {
    const size = this.#at + more
    this.frame.writeUInt32LE(size, 0)
    return this.frame.subarray(0, size)
  }
}

export type Qid = { type: number; version: number; path: bigint }
export const qidBytes = 13

/** An Rlerror with a Linux error number. */
export function errorAnswer(tag: number, errno: number): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + 4)
  frame.writeUInt32LE(frame.length, 0)
  frame.writeUInt8(rlerror, 4)
  frame.writeUInt16LE(tag, 5)
  frame.writeUInt32LE(errno, headerBytes)
  return frame
}

/** Writes one request: for tests, benches and anything that plays a client. */
export function encodeRequest<K extends RequestName>(name: K, tag: number, body: BodyOfRequest<K>): Buffer {
  const parts: Buffer[] = [Buffer.from([typeOf[name], tag & 0xff, tag >> 8])]
  for (const [field, type] of Object.entries(bodies[name]))
    parts.push(encodeField(type as keyof FieldTypes, (body as Record<string, unknown>)[field]))
  if (name === 'fsync') parts.push(Buffer.alloc(4))
  const rest = Buffer.concat(parts)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(rest.length + 4)
  return Buffer.concat([size, rest])
}

function encodeField(type: keyof FieldTypes, value: unknown): Buffer {
  const numbered = (size: number, write: (buffer: Buffer) => void) => {
    const buffer = Buffer.alloc(size)
    write(buffer)
    return buffer
  }
  switch (type) {
    case 'u8':
      return numbered(1, (buffer) => buffer.writeUInt8(value as number))
    case 'u16':
      return numbered(2, (buffer) => buffer.writeUInt16LE(value as number))
    case 'u32':
      return numbered(4, (buffer) => buffer.writeUInt32LE(value as number))
    case 'u64':
      return numbered(8, (buffer) => buffer.writeBigUInt64LE(value as bigint))
    case 'str': {
      const bytes = Buffer.from(value as string)
      return Buffer.concat([encodeField('u16', bytes.length), bytes])
    }
    case 'names':
      return Buffer.concat([encodeField('u16', (value as string[]).length), ...(value as string[]).map((name) => encodeField('str', name))])
    case 'data':
      return Buffer.concat([encodeField('u32', (value as Uint8Array).length), value as Uint8Array])
    default:
      throw new CodecError(`unknown field type ${String(type)}`)
  }
}
