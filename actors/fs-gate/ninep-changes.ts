/** The 9P requests that change something: each by handle and a single name, so each is one system call on a place that cannot be swapped. */
import * as fs from 'node:fs'
import { inherit } from './atomic-write.ts'
import { at, duplicate, openPlace, scoped, self } from './handles.ts'
import { setAttributes, toNumber } from './ninep-attributes.ts'
import { Answer, type BodyOfRequest, type NinepRequest, qidBytes } from './ninep-codec.ts'
import type { Entry } from './change-log.ts'
import { NinepError } from './ninep-errors.ts'
import { checkMove } from './ninep-links.ts'
import type { Place } from './ninep-places.ts'
import { mayCreate, requireMayDress, requireMayLink, requireMayMove, requireMayWrite, requireNoSymlink, sealOf } from './ninep-protected.ts'
import { type Caller, type NinepServer, type OpenFile, openFile, requireName } from './ninep-server.ts'
import { completesRepository, verdict } from './protected.ts'
import { isHarmlessGitdir } from './git-config.ts'
import { codeOf } from './os-errors.ts'
import { linkStaysInside } from './path.ts'

type Request<K extends NinepRequest['name']> = { tag: number; name: K; body: BodyOfRequest<K> }

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_WRONLY, O_RDWR, O_RDONLY } = fs.constants
const exclusive = 0o200
const removeFolder = 0x200
const formatMask = 0o170000
const regular = 0o100000

/** Throws EOPNOTSUPP for requests that change nothing. */
export function change(server: NinepServer, request: NinepRequest, caller: Caller): Buffer {
  switch (request.name) {
    case 'lcreate':
      return create(server, request, caller)
    case 'write':
      return write(server, request)
    case 'setattr': {
      const fid = server.fid(request.body.fid)
      const writableFd = fid.file?.writes ? fid.file.fd : null
      const { place } = fid
      requireMayDress(server, place, request.body.valid)
      const fd = server.places.fd(place)
      setAttributes(request.body, { fd, kind: place.kind, uid: caller.uid, writableFd }, (what, perform) => {
        if (what === 'size') server.gate.log.modify(fd, place, () => whereaboutsOrNull(server, place))
        if (what === 'size') perform()
        else server.gate.log.attributes(fd, place, () => whereaboutsOrNull(server, place), perform)
      })
      server.gate.log.settle(fd, place)
      return server.done(request)
    }
    case 'mkdir':
      return makeFolder(server, request)
    case 'symlink':
      return makeLink(server, request)
    case 'mknod':
      return makeNode(server, request)
    case 'link':
      return hardLink(server, request)
    case 'unlinkat': {
      const { fid, name, flags } = request.body
      requireName(name)
      const { fd } = server.folder(fid)
      unlink(server, { folder: fd, name, parts: [...server.places.whereabouts(server.fid(fid).place), name] }, (flags & removeFolder) !== 0)
      return server.withAttributes(server.done(request), request.tag, caller, [server.fid(fid)])
    }
    case 'renameat':
      return renameAt(server, request)
    case 'rename':
      return renameFid(server, request)
    case 'remove':
      return remove(server, request)
    default:
      throw new NinepError('EOPNOTSUPP')
  }
}

/** Makes what has been written durable. Changes nothing, so it is allowed on read-only folders too. */
export function fsync(server: NinepServer, request: Request<'fsync'>): Buffer {
  const { file, place } = server.fid(request.body.fid)
  const kind = place.kind === 'folder' ? 'folder' : 'file'
  if (kind === 'file' && !file) throw new NinepError('EBADF')
  const parts = whereaboutsOrNull(server, place)
  // What has been deleted has nothing to keep.
  if (parts) server.gate.syscalls.sync(file?.fd ?? server.places.fd(place), parts, kind)
  return server.done(request)
}

function whereaboutsOrNull(server: NinepServer, place: Place): string[] | null {
  try {
    return server.places.whereabouts(place)
  } catch {
    return null
  }
}

/** The fid, a folder before, stands for the new open file after. */
function create(server: NinepServer, { tag, body }: Request<'lcreate'>, caller: Caller): Buffer {
  requireName(body.name)
  const fid = server.fid(body.fid)
  const { fd: folder, place: before } = server.folder(body.fid)
  if (fid.names) throw new NinepError('EBADF')
  server.roomForFile()
  const parts = [...server.places.whereabouts(before), body.name]
  const vet = mayCreate({ folder, name: body.name }, parts)
  const access = [O_RDONLY, O_WRONLY, O_RDWR][body.flags & 3]
  if (access === undefined) throw new NinepError('EINVAL')
  return scoped((scope) => {
    let file: OpenFile
    let fd: number
    try {
      const entry = { folder, name: body.name, parts }
      const flags = access | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK
      const made = scope.own(server.gate.log.create(entry, () => fs.openSync(at(folder, body.name), flags, body.mode & 0o777)))
      dressNew(folder, body.name, made, body.mode)
      fd = scope.own(duplicate(made))
      file = { fd: scope.disown(made), reads: access !== O_WRONLY, writes: access !== O_RDONLY, vet }
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || (body.flags & exclusive) !== 0) throw error
      fd = scope.own(openPlace(folder, body.name))
      if (!fs.fstatSync(fd).isFile()) throw error
      if (access !== O_RDONLY) requireMayWrite(parts)
      file = openFile(server, fd, body.flags, () => parts)
    }
    server.noteOpen(fid, file)
    const stat = fs.fstatSync(file.fd, { bigint: true })
    fid.place = server.places.adopt(scope.disown(fd), stat)
    const answer = new Answer('lcreate', tag, qidBytes + 4).qid(server.qid(stat)).u32(0).frame
    try {
      return server.withAttributes(answer, tag, caller, [fid, { place: before, file: null, names: null }])
    } finally {
      server.places.release(before)
    }
  })
}

/** The guest has applied its user's umask; the gate's own must not be applied on top. */
function dressNew(folder: number, name: string, fd: number, mode: number): void {
  inherit(folder, at(folder, name))
  if ((fs.fstatSync(fd).mode & 0o777) !== (mode & 0o777)) fs.chmodSync(self(fd), mode & 0o777)
}

/** What could be written when the disk fills up midway: the client then sees the error with the rest. */
function write(server: NinepServer, { tag, body }: Request<'write'>): Buffer {
  const { file, place } = server.fid(body.fid)
  if (!file?.writes) throw new NinepError('EBADF')
  if (server.gate.sealed.size > 0 && server.gate.sealed.has(sealOf(place.dev, place.ino, place.born))) throw new NinepError('EACCES')
  if (file.vet === 'gitdir' && !(body.offset === 0n && isHarmlessGitdir(body.data))) throw new NinepError('EACCES')
  server.gate.log.modify(file.fd, place, () => whereaboutsOrNull(server, place))
  const start = toNumber(body.offset)
  let written = 0
  try {
    while (written < body.data.length) written += fs.writeSync(file.fd, body.data, written, body.data.length - written, start + written)
  } catch (error) {
    if (written === 0) throw error
  }
  return new Answer('write', tag, 4).u32(written).frame
}

function makeFolder(server: NinepServer, { tag, body }: Request<'mkdir'>): Buffer {
  requireName(body.name)
  const { fd: folder, place } = server.folder(body.fid)
  const entry = { folder, name: body.name, parts: [...server.places.whereabouts(place), body.name] }
  if (completesRepository(entry, null)) throw new NinepError('EACCES')
  server.gate.log.create(entry, () => fs.mkdirSync(at(folder, body.name), body.mode & 0o777))
  return scoped((scope) => {
    const made = scope.own(openPlace(folder, body.name))
    if (fs.fstatSync(made).isDirectory()) dressNew(folder, body.name, made, body.mode)
    return newEntry(server, 'mkdir', tag, made)
  })
}

function makeLink(server: NinepServer, { tag, body }: Request<'symlink'>): Buffer {
  requireName(body.name)
  const { place } = server.folder(body.fid)
  const above = server.places.whereabouts(place)
  if (!linkStaysInside(body.target, above)) throw new NinepError('EPERM')
  const folder = server.places.fd(place)
  const entry = { folder, name: body.name, parts: [...above, body.name] }
  requireMayLink(entry)
  requireNoSymlink(entry)
  server.gate.log.create(entry, () => server.gate.syscalls.symlink(body.target, folder, body.name))
  inherit(folder, at(folder, body.name))
  return scoped((scope) => newEntry(server, 'symlink', tag, scope.own(openPlace(folder, body.name))))
}

/** Regular files only, which is how some clients create them. */
function makeNode(server: NinepServer, { tag, body }: Request<'mknod'>): Buffer {
  requireName(body.name)
  const format = body.mode & formatMask
  if (format !== regular && format !== 0) throw new NinepError('EPERM')
  const { fd: folder, place } = server.folder(body.fid)
  const entry = { folder, name: body.name, parts: [...server.places.whereabouts(place), body.name] }
  if (mayCreate(entry, entry.parts) !== null) throw new NinepError('EACCES')
  return scoped((scope) => {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
    const made = scope.own(server.gate.log.create(entry, () => fs.openSync(at(folder, body.name), flags, body.mode & 0o777)))
    dressNew(folder, body.name, made, body.mode)
    return newEntry(server, 'mknod', tag, made)
  })
}

function newEntry(server: NinepServer, name: 'mkdir' | 'symlink' | 'mknod', tag: number, fd: number): Buffer {
  return new Answer(name, tag, qidBytes).qid(server.qid(fs.fstatSync(fd, { bigint: true }))).frame
}

/** Linux links no handle without a capability, so it is done by name, and undone should the name have meant another file by then. */
function hardLink(server: NinepServer, request: Request<'link'>): Buffer {
  const { dfid, fid, name } = request.body
  requireName(name)
  const { place } = server.fid(fid)
  if (place.kind === 'folder' || place.kind === 'special') throw new NinepError('EPERM')
  const { place: target } = server.folder(dfid)
  scoped((scope) => {
    if (place.link !== null && !place.link.startsWith('/') && !linkStaysInside(place.link, server.places.whereabouts(target)))
      throw new NinepError('EPERM')
    const source = server.places.entry(place, scope)
    const [folder] = server.places.fds(target, target)
    const entry = { folder, name, parts: [...server.places.whereabouts(target), name] }
    requireMayLink(entry)
    // Under another name it could be written.
    if (verdict(server.places.whereabouts(place)) !== 'free') throw new NinepError('EACCES')
    server.gate.log.create(entry, () => fs.linkSync(at(source.folder, source.name), at(folder, name)), server.places.whereabouts(place))
    const made = fs.lstatSync(at(folder, name), { bigint: true })
    if (made.ino === place.ino && made.dev === place.dev) return
    fs.unlinkSync(at(folder, name))
    throw new NinepError('ESTALE')
  })
  return server.done(request)
}

function renameAt(server: NinepServer, request: Request<'renameat'>): Buffer {
  const { oldDir, oldName, newDir, newName } = request.body
  requireName(oldName)
  requireName(newName)
  const { place: from } = server.folder(oldDir)
  const { place: to } = server.folder(newDir)
  const [fromFd, toFd] = server.places.fds(from, to)
  move(
    server,
    { folder: fromFd, name: oldName, parts: [...server.places.whereabouts(from), oldName] },
    { folder: toFd, name: newName, place: to },
  )
  return server.done(request)
}

function renameFid(server: NinepServer, request: Request<'rename'>): Buffer {
  const { fid, dfid, name } = request.body
  requireName(name)
  const { place } = server.fid(fid)
  const { place: to } = server.folder(dfid)
  scoped((scope) => {
    const source = server.places.entry(place, scope)
    const parts = server.places.whereabouts(place)
    move(server, { ...source, parts }, { folder: server.places.fd(to), name, place: to })
  })
  return server.done(request)
}

function move(
  server: NinepServer,
  from: { folder: number; name: string; parts: string[] },
  to: { folder: number; name: string; place: Place },
): void {
  const destination = server.places.whereabouts(to.place)
  checkMove(from.folder, from.name, from.parts, destination)
  const entry = { folder: to.folder, name: to.name, parts: [...destination, to.name] }
  requireMayMove(server, from, entry)
  server.gate.log.rename(from, entry, 'workspace', null, () => fs.renameSync(at(from.folder, from.name), at(to.folder, to.name)))
  if (server.places.anyClosed) server.places.renamed(from.parts, [...destination, to.name])
}

function unlink(server: NinepServer, entry: Entry, folder: boolean): void {
  const path = at(entry.folder, entry.name)
  server.gate.log.remove(entry, () => (folder ? fs.rmdirSync(path) : fs.unlinkSync(path)))
}

/** The fid is gone afterwards, whether or not the file is. */
function remove(server: NinepServer, request: Request<'remove'>): Buffer {
  const { place } = server.fid(request.body.fid)
  try {
    scoped((scope) => {
      const { folder, name } = server.places.entry(place, scope)
      unlink(server, { folder, name, parts: server.places.whereabouts(place) }, place.kind === 'folder')
    })
  } finally {
    server.drop(request.body.fid)
  }
  return server.done(request)
}
