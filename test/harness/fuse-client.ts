/** The kernel's end of a connected folder, for what serves it in the guest (`guest/agent/files-fuse.pl`): requests as linux/fuse.h has them, over a socket. */
import type { Duplex } from 'node:stream'

const opcodes = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  getxattr: 22,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  create: 35,
  ioctl: 39,
  batchForget: 42,
  rename2: 45,
} as const
export type Opcode = keyof typeof opcodes
const silent = new Set<Opcode>(['forget', 'batchForget'])
const inHeader = 40
const outHeader = 16
/** Kinds of notification, told by the place of the error. */
const invalidateInode = 2

export type Attributes = { ino: bigint; size: bigint; mode: number; links: number; uid: number; mtime: bigint }
export type Entry = { node: bigint; attributes: Attributes }
export type Dirent = { ino: bigint; next: bigint; type: number; name: string }
/** An answer's content, or the error's number. */
type Answer = Buffer | number

export const root = 1n

export class FuseClient {
  readonly stream: Duplex
  /** Nodes of which the kernel was told to forget what it knew. */
  readonly invalidated: bigint[] = []
  /** Of the file opened last. */
  keepsPages = false
  readonly #waiting = new Map<bigint, (answer: Answer) => void>()
  #unique = 0n
  #bytes = Buffer.alloc(0)

  constructor(stream: Duplex) {
    this.stream = stream
    stream.on('data', (bytes: Buffer) => this.#hear(bytes))
    stream.on('error', () => {})
  }

  /** The bytes of a request, and its answer to come. */
  request(opcode: Opcode | number, node: bigint, body: Buffer, ids = { uid: 0, gid: 0 }): { bytes: Buffer; answer: Promise<Answer> } {
    const op = typeof opcode === 'number' ? opcode : opcodes[opcode]
    this.#unique += 2n
    const unique = this.#unique
    const bytes = packed([inHeader + body.length, op, unique, node, ids.uid, ids.gid, 1, 0], 'LLQQLLLL')
    const answer =
      typeof opcode === 'string' && silent.has(opcode)
        ? Promise.resolve(Buffer.alloc(0))
        : new Promise<Answer>((resolve) => this.#waiting.set(unique, resolve))
    return { bytes: Buffer.concat([bytes, body]), answer }
  }

  ask(opcode: Opcode | number, node: bigint, body: Buffer = Buffer.alloc(0)): Promise<Answer> {
    const { bytes, answer } = this.request(opcode, node, body)
    this.stream.write(bytes)
    return answer
  }

  /** As a kernel of this protocol's version does it, which has all there is or nothing new. */
  async init(minor = 40, flags2 = 0xffff_ffff): Promise<{ minor: number; flags: number; flags2: number } | number> {
    const fields = [7, minor, 131_072, 0xffff_ffff, ...(minor < 36 ? [] : [flags2, ...Array<number>(11).fill(0)])]
    const answer = await this.ask('init', 0n, packed(fields, 'L'.repeat(fields.length)))
    return typeof answer === 'number'
      ? answer
      : { minor: answer.readUInt32LE(4), flags: answer.readUInt32LE(12), flags2: answer.readUInt32LE(32) }
  }

  async lookup(node: bigint, name: string): Promise<Entry | number> {
    return entryOf(await this.ask('lookup', node, named(name)))
  }

  /** Goes down from the root. */
  async walk(path: string): Promise<Entry | number> {
    let at: Entry | number = { node: root, attributes: { ino: 0n, size: 0n, mode: 0o40_755, links: 1, uid: 0, mtime: 0n } }
    for (const name of path.split('/').filter(Boolean)) {
      if (typeof at === 'number') return at
      at = await this.lookup(at.node, name)
    }
    return at
  }

  async getattr(node: bigint): Promise<Attributes | number> {
    const answer = await this.ask('getattr', node, packed([0, 0, 0n], 'LLQ'))
    return typeof answer === 'number' ? answer : attributesOf(answer, 16)
  }

  async truncate(node: bigint, size: bigint): Promise<Attributes | number> {
    return this.setattr(node, { valid: 8, size })
  }

  async setattr(node: bigint, wanted: { valid: number; size?: bigint; mode?: number; mtime?: bigint }): Promise<Attributes | number> {
    const { valid, size = 0n, mode = 0, mtime = 0n } = wanted
    const body = packed([valid, 0, 0n, size, 0n, 0n, mtime, 0n, 0, 0, 0, mode, 0, 0, 0, 0], 'LLQQQQQQLLLLLLLL')
    const answer = await this.ask('setattr', node, body)
    return typeof answer === 'number' ? answer : attributesOf(answer, 16)
  }

  async open(node: bigint, flags: number): Promise<bigint | number> {
    const answer = await this.ask('open', node, packed([flags, 0], 'LL'))
    if (typeof answer !== 'number') this.keepsPages = (answer.readUInt32LE(8) & 1) === 0
    return typeof answer === 'number' ? answer : answer.readBigUInt64LE(0)
  }

  async create(node: bigint, name: string, flags: number, mode = 0o100_644): Promise<(Entry & { file: bigint }) | number> {
    const answer = await this.ask('create', node, Buffer.concat([packed([flags, mode, 0o22, 0], 'LLLL'), named(name)]))
    const entry = entryOf(answer)
    return typeof entry === 'number' ? entry : { ...entry, file: (answer as Buffer).readBigUInt64LE(128) }
  }

  async read(node: bigint, file: bigint, offset = 0n, size = 4_096): Promise<string | number> {
    const answer = await this.ask('read', node, packed([file, offset, size, 0, 0n, 0, 0], 'QQLLQLL'))
    return typeof answer === 'number' ? answer : answer.toString('latin1')
  }

  /** How much was written, or the error. */
  async write(node: bigint, file: bigint, offset: bigint, text: string, flags = 1): Promise<{ written: number } | number> {
    const data = Buffer.from(text, 'latin1')
    const body = Buffer.concat([packed([file, offset, data.length, 0, 0n, flags, 0], 'QQLLQLL'), data])
    const answer = await this.ask('write', node, body)
    return typeof answer === 'number' ? answer : { written: answer.readUInt32LE(0) }
  }

  release(node: bigint, file: bigint): Promise<Answer> {
    return this.ask('release', node, packed([file, 0, 0, 0n], 'QLLQ'))
  }

  forget(node: bigint, lookups: bigint): void {
    void this.ask('forget', node, packed([lookups], 'Q'))
  }

  /** All of a folder, in pieces of this size; or the error. */
  async list(node: bigint, size = 4_096): Promise<Dirent[] | number> {
    const opened = await this.ask('opendir', node, packed([0, 0], 'LL'))
    if (typeof opened === 'number') return opened
    const file = opened.readBigUInt64LE(0)
    const entries: Dirent[] = []
    for (;;) {
      const answer = await this.ask('readdir', node, packed([file, entries.at(-1)?.next ?? 0n, size, 0, 0n, 0, 0], 'QQLLQLL'))
      if (typeof answer === 'number') return answer
      if (answer.length === 0) break
      entries.push(...direntsIn(answer))
    }
    await this.ask('releasedir', node, packed([file, 0, 0, 0n], 'QLLQ'))
    return entries
  }

  #hear(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    while (this.#bytes.length >= outHeader && this.#bytes.length >= this.#bytes.readUInt32LE(0)) {
      const answer = this.#bytes.subarray(0, this.#bytes.readUInt32LE(0))
      this.#bytes = this.#bytes.subarray(answer.length)
      const error = answer.readInt32LE(4)
      const unique = answer.readBigUInt64LE(8)
      if (unique === 0n && error === invalidateInode) this.invalidated.push(answer.readBigUInt64LE(16))
      const waiting = this.#waiting.get(unique)
      this.#waiting.delete(unique)
      waiting?.(error === 0 ? answer.subarray(outHeader) : -error)
    }
  }
}

/** Little-endian: L 32 bits, Q 64 bits. */
export function packed(values: readonly (number | bigint)[], kinds: string): Buffer {
  const parts = kinds.split('').map((kind, index) => {
    const part = Buffer.alloc(kind === 'L' ? 4 : 8)
    if (kind === 'L') part.writeUInt32LE(Number(values[index]))
    else part.writeBigUInt64LE(BigInt(values[index] ?? 0))
    return part
  })
  return Buffer.concat(parts)
}

export function named(...names: readonly string[]): Buffer {
  return Buffer.from(names.map((name) => `${name}\0`).join(''))
}

export function entryOf(answer: Answer): Entry | number {
  if (typeof answer === 'number') return answer
  return { node: answer.readBigUInt64LE(0), attributes: attributesOf(answer, 40) }
}

function attributesOf(bytes: Buffer, at: number): Attributes {
  return {
    ino: bytes.readBigUInt64LE(at),
    size: bytes.readBigUInt64LE(at + 8),
    mtime: bytes.readBigUInt64LE(at + 32),
    mode: bytes.readUInt32LE(at + 60),
    links: bytes.readUInt32LE(at + 64),
    uid: bytes.readUInt32LE(at + 68),
  }
}

function direntsIn(bytes: Buffer): Dirent[] {
  const entries: Dirent[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 16)
    entries.push({
      ino: bytes.readBigUInt64LE(at),
      next: bytes.readBigUInt64LE(at + 8),
      type: bytes.readUInt32LE(at + 20),
      name: bytes.subarray(at + 24, at + 24 + length).toString(),
    })
    at += (24 + length + 7) & ~7
  }
  return entries
}
