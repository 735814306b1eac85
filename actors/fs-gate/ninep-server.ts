/** One 9P2000.L connection: its fids, and what looks at files. What changes them is in `ninep-changes.ts`. */
import * as fs from 'node:fs'
import type { Limits } from '../../kernel/index.ts'
import { type Gate, limitParts, type Mode } from './gate.ts'
import { at, close, duplicate, openHeld, openPlace, scoped, self } from './handles.ts'
import { limits } from './limits.ts'
import { attributesAnswer, direntTypes, qidOf, toNumber } from './ninep-attributes.ts'
import * as changes from './ninep-changes.ts'
import { Answer, type BodyOfRequest, type NinepRequest, type Qid, qidBytes } from './ninep-codec.ts'
import { NinepError } from './ninep-errors.ts'
import { requireMayOpen } from './ninep-protected.ts'
import { nameProblem } from './names.ts'
import { kindOf, type Place, type Places } from './ninep-places.ts'
import { Siblings } from './ninep-siblings.ts'
import { resolveExisting } from './walk.ts'

const version = '9P2000.L'
/** Bytes of a read or readdir answer besides its data. */
const dataOverhead = 11
const accessMask = 3
const truncate = 0o1000
const noFid = 0xffff_ffff
const v9fsMagic = 0x0102_1997
const unlocked = 2

export type OpenFile = { fd: number; reads: boolean; writes: boolean; vet: 'gitdir' | null }
/** Over all connections. `names`: of folders that are being read. */
export type OpenFiles = { count: number; names: number }
export type Fid = { place: Place; file: OpenFile | null; names: string[] | null }
/** `ahead`: whether answers may be followed by those to what a client is likely to ask next. */
export type Caller = { uid: number; mode: Mode; ahead?: boolean }
type Request<K extends NinepRequest['name']> = { tag: number; body: BodyOfRequest<K> }

export class NinepServer {
  readonly gate: Gate
  readonly places: Places
  /** Negotiated size of the largest message; 0 before a version is agreed on. */
  msize = 0
  readonly rootDev: bigint
  readonly #siblings = new Siblings()
  readonly #grant: Limits
  readonly #fids = new Map<number, Fid>()
  /** Why a walk did not make a fid: its client may have gone on before it was answered, and is to be told by whatever needs the fid. */
  readonly #unmade = new Map<number, unknown>()
  readonly #openFiles: OpenFiles

  constructor(gate: Gate, places: Places, grant: Limits, openFiles: OpenFiles) {
    this.gate = gate
    this.places = places
    this.#grant = grant
    this.#openFiles = openFiles
    this.rootDev = fs.fstatSync(gate.root.fd, { bigint: true }).dev
  }

  /** The answer's frame. Throws `NinepError` and the system's errors; the caller turns them into Rlerror. */
  handle(request: NinepRequest, caller: Caller): Buffer {
    if (request.name === 'version') return this.#version(request)
    // A client of a former life of this process: its fids mean nothing here.
    if (this.msize === 0) throw new NinepError('ESTALE')
    switch (request.name) {
      case 'attach':
        return this.#attach(request)
      case 'walk':
        try {
          return this.#walk(request, caller)
        } catch (error) {
          if (!this.#fids.has(request.body.newfid)) this.#noteUnmade(request.body.newfid, error)
          throw error
        }
      case 'lopen':
        return this.#openAhead(request, caller)
      case 'read':
        return this.#read(request)
      case 'readdir':
        return this.#readdir(request)
      case 'getattr':
        return this.#getattr(request, caller)
      case 'readlink':
        return this.#readlink(request)
      case 'statfs':
        return this.#statfs(request)
      case 'fsync':
        return changes.fsync(this, request)
      case 'clunk':
        this.#unmade.delete(request.body.fid)
        this.fid(request.body.fid)
        this.drop(request.body.fid)
        return this.done(request)
      case 'flush':
        return this.done(request)
      case 'lock':
        // Guest programs lock against each other inside the guest's kernel; nobody else asks here.
        this.fid(request.body.fid)
        return new Answer('lock', request.tag, 1).u8(0).frame
      case 'getlock': {
        const { fid, start, length, pid, client } = request.body
        this.fid(fid)
        return new Answer('getlock', request.tag, 1 + 8 + 8 + 4 + 2 + Buffer.byteLength(client))
          .u8(unlocked)
          .u64(start)
          .u64(length)
          .u32(pid)
          .str(client).frame
      }
      case 'auth':
      case 'xattrwalk':
      case 'xattrcreate':
        throw new NinepError('EOPNOTSUPP')
      default:
        if (caller.mode === 'ro') {
          // Tremove gives its fid up in any case.
          if (request.name === 'remove') this.drop(request.body.fid)
          throw new NinepError('EROFS')
        }
        return changes.change(this, request, caller)
    }
  }

  closeAll(): void {
    for (const number of this.#fids.keys()) this.drop(number)
  }

  fid(number: number): Fid {
    const fid = this.#fids.get(number)
    if (!fid) throw this.#unmade.get(number) ?? new NinepError('EBADF')
    return fid
  }

  /** The handle of a fid that must be a folder. */
  folder(number: number): { fd: number; place: Place } {
    const { place } = this.fid(number)
    if (place.kind !== 'folder') throw new NinepError('ENOTDIR')
    return { fd: this.places.fd(place), place }
  }

  stat(fid: Fid): fs.BigIntStats {
    return fs.fstatSync(fid.file?.fd ?? this.places.fd(fid.place), { bigint: true })
  }

  drop(number: number): void {
    const fid = this.#fids.get(number)
    if (!fid) return
    this.#fids.delete(number)
    this.closeFile(fid)
    this.#openFiles.names -= fid.names?.length ?? 0
    this.places.release(fid.place)
  }

  closeFile(fid: Fid): void {
    if (!fid.file) return
    if (fid.file.writes) this.gate.log.settle(fid.file.fd, fid.place)
    close(fid.file.fd)
    fid.file = null
    this.#openFiles.count -= 1
  }

  /** Makes `fid` stand for an opened file. Takes charge of the descriptor also when it throws. */
  noteOpen(fid: Fid, file: OpenFile): void {
    if (this.#openFiles.count >= limits.openFiles) {
      close(file.fd)
      throw new NinepError('EMFILE')
    }
    this.#openFiles.count += 1
    fid.file = file
  }

  roomForFile(): void {
    if (this.#openFiles.count >= limits.openFiles) throw new NinepError('EMFILE')
  }

  qid(stat: fs.BigIntStats): Qid {
    return qidOf(stat, this.rootDev)
  }

  done(request: NinepRequest): Buffer {
    return new Answer(request.name, request.tag, 0).frame
  }

  #set(number: number, fid: Fid): void {
    if (number === noFid || (this.#fids.size >= limits.fidsPerConn && !this.#fids.has(number))) {
      this.places.release(fid.place)
      throw new NinepError(number === noFid ? 'EBADF' : 'EMFILE')
    }
    this.drop(number)
    this.#unmade.delete(number)
    this.#fids.set(number, fid)
  }

  #noteUnmade(number: number, error: unknown): void {
    if (this.#unmade.size >= limits.fidsPerConn) this.#unmade.clear()
    this.#unmade.set(number, error)
  }

  /** An answer, and what a getattr of these would be answered. */
  withAttributes(answer: Buffer, tag: number, caller: Caller, fids: readonly Fid[]): Buffer {
    return caller.ahead ? Buffer.concat([answer, ...fids.map((fid) => this.#attributesOf(tag, fid, caller))]) : answer
  }

  #version({ tag, body }: Request<'version'>): Buffer {
    this.closeAll()
    const known = body.version === version
    if (known && body.msize < limits.msizeMin) throw new NinepError('EMSGSIZE')
    const msize = Math.min(body.msize, limits.msizeMax)
    this.msize = known ? msize : 0
    const answered = known ? version : 'unknown'
    return new Answer('version', tag, 4 + 2 + answered.length).u32(msize).str(answered).frame
  }

  #attach({ tag, body }: Request<'attach'>): Buffer {
    if (this.#fids.has(body.fid)) throw new NinepError('EBADF')
    return scoped((scope) => {
      const start = limitParts(this.gate, this.#grant)
      const found = resolveExisting(this.gate.root, start.join('/'), scope, { followLast: false })
      if (!found.stat.isDirectory()) throw new NinepError('ENOTDIR')
      const fd = start.length === 0 ? duplicate(this.gate.root.fd) : scope.disown(found.fd)
      const stat = fs.fstatSync(fd, { bigint: true })
      this.#set(body.fid, { place: this.places.adopt(fd, stat), file: null, names: null })
      return new Answer('attach', tag, qidBytes).qid(this.qid(stat)).frame
    })
  }

  /** All names, or as many as lead somewhere; a new fid only when all do. Links are not followed: that is the guest's business. */
  #walk({ tag, body }: Request<'walk'>, caller: Caller): Buffer {
    const start = this.fid(body.fid)
    if (body.newfid !== body.fid && this.#fids.has(body.newfid)) throw new NinepError('EBADF')
    for (const name of body.names) requireName(name)
    const qids: Qid[] = []
    let place = this.places.share(start.place)
    try {
      for (const name of body.names) {
        const next = this.#step(place, name)
        if (!next) break
        this.places.release(place)
        place = next.place
        qids.push(next.qid)
      }
    } catch (error) {
      this.places.release(place)
      // As the protocol has it: the first name's failure is the walk's, a later one's shortens the answer.
      if (qids.length === 0) throw error
      return walkAnswer(tag, qids)
    }
    if (qids.length < body.names.length) {
      this.places.release(place)
      if (qids.length === 0) throw new NinepError('ENOENT')
      return walkAnswer(tag, qids)
    }
    const siblings = qids.length === 1 && place.kind === 'file' ? this.#siblingsOf(tag, start.place, body.names[0] as string, caller) : []
    this.#set(body.newfid, { place, file: null, names: null })
    const answer = walkAnswer(tag, qids)
    if (qids.length === 0) return answer
    return Buffer.concat([this.withAttributes(answer, tag, caller, [this.fid(body.newfid)]), ...siblings])
  }

  /** Each as the entry of a folder's listing, and its attributes. None when they cannot be told: nobody has asked for them. */
  #siblingsOf(tag: number, folder: Place, name: string, caller: Caller): Buffer[] {
    if (!caller.ahead) {
      this.#siblings.known(folder.ino)
      return []
    }
    try {
      const fd = this.places.fd(folder)
      return this.#siblings.next(folder.ino, fd, name).flatMap((sibling) => {
        const stat = statIfThere(fd, sibling)
        if (!stat?.isFile()) return []
        const size = entryBytes(sibling)
        const entry = putEntry(new Answer('readdir', tag, 4 + size).u32(size), this.qid(stat), 0, 'file', sibling)
        return [entry.frame, attributesAnswer(tag, stat, this.rootDev, caller.uid)]
      })
    } catch {
      // A folder may be walked through and not be listed.
      return []
    }
  }

  #step(from: Place, name: string): { place: Place; qid: Qid } {
    if (from.kind !== 'folder') throw new NinepError('ENOTDIR')
    const folder = this.places.fd(from)
    return scoped((scope) => {
      const fd = scope.own(openPlace(folder, name))
      const stat = fs.fstatSync(fd, { bigint: true })
      // Should the name have become another link meanwhile, its text is shown for this one's: text is all the guest gets of a link.
      const link = kindOf(stat) === 'symlink' ? fs.readlinkSync(at(folder, name)) : null
      return { place: this.places.adopt(scope.disown(fd), stat, link), qid: this.qid(stat) }
    })
  }

  /** With all of a small file: who opens it reads it. */
  #openAhead(request: Request<'lopen'>, caller: Caller): Buffer {
    const { tag, body } = request
    const answer = this.#open(request, caller)
    const fid = this.fid(body.fid)
    if (!caller.ahead || !fid.file || fid.file.writes || (body.flags & truncate) !== 0) return answer
    const { size } = this.stat(fid)
    if (size > limits.contentAhead) return answer
    try {
      const known = this.withAttributes(answer, tag, caller, [fid])
      const content = this.#read({ tag, body: { fid: body.fid, offset: 0n, count: limits.contentAhead + 1 } })
      // Otherwise it changed in between.
      return content.length - dataOverhead === Number(size) ? Buffer.concat([known, content]) : answer
    } catch {
      // Whoever reads it will be told.
      return answer
    }
  }

  #open({ tag, body }: Request<'lopen'>, caller: Caller): Buffer {
    const fid = this.fid(body.fid)
    if (fid.file || fid.names) throw new NinepError('EBADF')
    const { place } = fid
    const access = body.flags & accessMask
    const writes = access !== 0 || (body.flags & truncate) !== 0
    if (access === accessMask) throw new NinepError('EINVAL')
    if (writes && caller.mode === 'ro') throw new NinepError('EROFS')
    if (place.kind === 'folder') {
      if (writes) throw new NinepError('EISDIR')
      fid.names = []
    } else if (place.kind === 'file') {
      if (writes) requireMayOpen(this, place)
      this.roomForFile()
      this.noteOpen(
        fid,
        openFile(this, this.places.fd(place), body.flags, () => this.places.whereabouts(place)),
      )
    } else throw new NinepError(place.kind === 'symlink' ? 'ELOOP' : 'EPERM')
    return new Answer('lopen', tag, qidBytes + 4).qid(this.qid(this.stat(fid))).u32(0).frame
  }

  #getattr({ tag, body }: Request<'getattr'>, caller: Caller): Buffer {
    return this.#attributesOf(tag, this.fid(body.fid), caller)
  }

  #attributesOf(tag: number, fid: Fid, caller: Caller): Buffer {
    const stat = this.stat(fid)
    return attributesAnswer(tag, stat, this.rootDev, caller.uid)
  }

  #read({ tag, body }: Request<'read'>): Buffer {
    const { file } = this.fid(body.fid)
    if (!file?.reads) throw new NinepError('EBADF')
    const count = Math.min(body.count, this.msize - dataOverhead)
    const position = toNumber(body.offset)
    const answer = new Answer('read', tag, 4 + count)
    const got = count === 0 ? 0 : fs.readSync(file.fd, answer.u32(0).rest(), 0, count, position)
    const frame = count === 0 ? answer.u32(0).cut(0) : answer.cut(got)
    frame.writeUInt32LE(got, 7)
    return frame
  }

  /** Entries are read when a client starts at 0, so that one pass sees each once whatever changes meanwhile. */
  #readdir({ tag, body }: Request<'readdir'>): Buffer {
    const fid = this.fid(body.fid)
    if (!fid.names) throw new NinepError('EBADF')
    const fd = this.places.fd(fid.place)
    if (body.offset === 0n) {
      const names = fs.readdirSync(self(fd))
      this.#siblings.listed(fid.place.ino, names)
      const held = this.#openFiles.names - fid.names.length
      if (held + names.length + 2 > limits.namesHeld) throw new NinepError('EMFILE')
      fid.names = ['.', '..', ...names]
      this.#openFiles.names = held + fid.names.length
    }
    const own = this.qid(this.stat(fid))
    const room = Math.min(body.count, this.msize - dataOverhead)
    const answer = new Answer('readdir', tag, 4 + room).u32(0)
    let used = 0
    for (let index = toNumber(body.offset); index < fid.names.length; index += 1) {
      const name = fid.names[index] as string
      const size = entryBytes(name)
      if (used + size > room) {
        if (used === 0) throw new NinepError('EINVAL')
        break
      }
      // `..` too says where it is itself: what lies above is not looked at.
      const entry = name === '.' || name === '..' ? { qid: own, kind: 'folder' as const } : this.#entry(fd, name)
      if (!entry) continue
      putEntry(answer, entry.qid, index + 1, entry.kind, name)
      used += size
    }
    const frame = answer.cut(0)
    frame.writeUInt32LE(used, 7)
    return frame
  }

  /** null: gone since the folder was read, or its name is not UTF-8. */
  #entry(folder: number, name: string): { qid: Qid; kind: Place['kind'] } | null {
    const stat = statIfThere(folder, name)
    return stat ? { qid: this.qid(stat), kind: kindOf(stat) } : null
  }

  #readlink({ tag, body }: Request<'readlink'>): Buffer {
    const { link } = this.fid(body.fid).place
    if (link === null) throw new NinepError('EINVAL')
    return new Answer('readlink', tag, 2 + Buffer.byteLength(link)).str(link).frame
  }

  #statfs({ tag, body }: Request<'statfs'>): Buffer {
    const { place } = this.fid(body.fid)
    const { bsize, blocks, bfree, bavail, files, ffree } = fs.statfsSync(self(this.places.fd(place)), { bigint: true })
    const answer = new Answer('statfs', tag, 4 + 4 + 6 * 8 + 4).u32(v9fsMagic).u32(Number(bsize))
    return answer.u64(blocks).u64(bfree).u64(bavail).u64(files).u64(ffree).u64(0n).u32(limits.nameBytes).frame
  }
}

function statIfThere(folder: number, name: string): fs.BigIntStats | undefined {
  return fs.lstatSync(at(folder, name), { bigint: true, throwIfNoEntry: false })
}

function entryBytes(name: string): number {
  return qidBytes + 8 + 1 + 2 + Buffer.byteLength(name)
}

function putEntry(answer: Answer, qid: Qid, offset: number, kind: Place['kind'], name: string): Answer {
  return answer.qid(qid).u64(BigInt(offset)).u8(direntTypes[kind]).str(name)
}

/**
 * Append is not passed on: a guest that caches writes whole pages back at their own offsets, which on an appending descriptor would land at
 * the end. It sends the right offsets itself.
 */
export function openFile(server: NinepServer, fd: number, flags: number, where: () => string[]): OpenFile {
  if ((flags & truncate) !== 0) server.gate.log.modify(fd, fs.fstatSync(fd, { bigint: true }), where)
  const access = flags & accessMask
  const { O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC } = fs.constants
  const mode = [O_RDONLY, O_WRONLY, O_RDWR][access] ?? O_RDONLY
  return { fd: openHeld(fd, mode | ((flags & truncate) === 0 ? 0 : O_TRUNC)), reads: access !== 1, writes: access !== 0, vet: null }
}

/** One component, an ordinary name. */
export function requireName(name: string): void {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) throw new NinepError('EINVAL')
  if (nameProblem(name) !== null) throw new NinepError('EINVAL')
  if (Buffer.byteLength(name) > limits.nameBytes) throw new NinepError('ENAMETOOLONG')
}

function walkAnswer(tag: number, qids: readonly Qid[]): Buffer {
  const answer = new Answer('walk', tag, 2 + qids.length * qidBytes).u16(qids.length)
  for (const qid of qids) answer.qid(qid)
  return answer.frame
}
