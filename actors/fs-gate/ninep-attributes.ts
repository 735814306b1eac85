/** A file's attributes as the guest sees them, and setting them. */
import type { BigIntStats } from 'node:fs'
import * as fs from 'node:fs'
import { openHeld, self } from './handles.ts'
import { Answer, type BodyOfRequest, type Qid } from './ninep-codec.ts'
import { NinepError } from './ninep-errors.ts'
import { kindOf, type PlaceKind } from './ninep-places.ts'

const qidTypes = { file: 0, folder: 0x80, symlink: 0x02, special: 0 } as const satisfies Record<PlaceKind, number>
/** Special files look like regular files nobody may open: the guest must not meet the device's pipes, sockets and devices. */
const formats = { file: 0o100000, folder: 0o040000, symlink: 0o120000, special: 0o100000 } as const satisfies Record<PlaceKind, number>
export const direntTypes = { file: 8, folder: 4, symlink: 10, special: 8 } as const satisfies Record<PlaceKind, number>

/** Everything up to the change time; not birth time, generation and data version. */
const basicAttributes = 0x7ffn
const getattrBytes = 8 + 13 + 3 * 4 + 15 * 8

/** `rootDev`: device of the connected folder; inodes of other file systems mounted in it are told apart by theirs. */
export function qidOf(stat: BigIntStats, rootDev: bigint): Qid {
  const path = stat.dev === rootDev ? stat.ino : BigInt.asUintN(64, stat.ino ^ (stat.dev << 40n))
  // Never 0: Linux takes that to mean that nothing may be cached, and then cannot map the file.
  const version = Number(BigInt.asUintN(32, stat.mtimeNs ^ (stat.size << 8n))) || 1
  return { type: qidTypes[kindOf(stat)], version, path }
}

export function attributesAnswer(tag: number, stat: BigIntStats, rootDev: bigint, uid: number): Buffer {
  const kind = kindOf(stat)
  const permissions = kind === 'special' ? 0 : Number(stat.mode & 0o777n)
  const answer = new Answer('getattr', tag, getattrBytes).u64(basicAttributes).qid(qidOf(stat, rootDev))
  answer
    .u32(formats[kind] | permissions)
    .u32(uid)
    .u32(uid)
  answer
    .u64(stat.nlink)
    .u64(0n)
    .u64(kind === 'special' ? 0n : stat.size)
    .u64(stat.blksize)
    .u64(stat.blocks)
  for (const time of [stat.atimeNs, stat.mtimeNs, stat.ctimeNs, 0n]) answer.u64(time / 1_000_000_000n).u64(time % 1_000_000_000n)
  return answer.u64(0n).u64(0n).frame
}

const valid = { mode: 1, uid: 2, gid: 4, size: 8, atime: 0x10, mtime: 0x20, atimeSet: 0x80, mtimeSet: 0x100 } as const
const noId = 0xffff_ffff

/**
 * Changes attributes of what the handle holds. `writableFd`: the fid's own open file, which may be longer-lived than the permission to
 * open it. Owners cannot change; setuid, setgid and sticky bits are left out. `keeping` makes each change, and keeps what it replaces.
 */
export function setAttributes(
  request: BodyOfRequest<'setattr'>,
  at: { fd: number; kind: PlaceKind; uid: number; writableFd: number | null },
  keeping: (what: 'size' | 'attributes', perform: () => void) => void,
): void {
  const has = (bit: number) => (request.valid & bit) !== 0
  const { fd, kind, uid } = at
  if (has(valid.uid) && request.uid !== uid && request.uid !== noId) throw new NinepError('EPERM')
  if (has(valid.gid) && request.gid !== uid && request.gid !== noId) throw new NinepError('EPERM')
  if (kind === 'special') throw new NinepError('EPERM')
  if (has(valid.size)) {
    if (kind !== 'file') throw new NinepError(kind === 'folder' ? 'EISDIR' : 'EINVAL')
    const size = toNumber(request.size)
    keeping('size', () => resize(fd, at.writableFd, size))
  }
  // Through the handle a link's own attributes cannot be reached; nobody needs them.
  if (kind === 'symlink') return
  const times = has(valid.atime) || has(valid.mtime) ? timesOf(request, fd) : null
  if (!has(valid.mode) && !times) return
  keeping('attributes', () => {
    if (has(valid.mode)) fs.chmodSync(self(fd), request.mode & 0o777)
    if (times) fs.utimesSync(self(fd), times.atime, times.mtime)
  })
}

function timesOf(request: BodyOfRequest<'setattr'>, fd: number): { atime: number; mtime: number } {
  const has = (bit: number) => (request.valid & bit) !== 0
  const before = fs.fstatSync(fd)
  const now = (performance.timeOrigin + performance.now()) / 1_000
  return {
    atime: !has(valid.atime) ? before.atimeMs / 1_000 : has(valid.atimeSet) ? seconds(request.atimeSec, request.atimeNsec) : now,
    mtime: !has(valid.mtime) ? before.mtimeMs / 1_000 : has(valid.mtimeSet) ? seconds(request.mtimeSec, request.mtimeNsec) : now,
  }
}

function resize(fd: number, writableFd: number | null, size: number): void {
  if (writableFd !== null) {
    fs.ftruncateSync(writableFd, size)
    return
  }
  const opened = openHeld(fd, fs.constants.O_WRONLY)
  try {
    fs.ftruncateSync(opened, size)
  } finally {
    fs.closeSync(opened)
  }
}

function seconds(whole: bigint, nanos: bigint): number {
  if (nanos >= 1_000_000_000n) throw new NinepError('EINVAL')
  return Number(BigInt.asIntN(64, whole)) + Number(nanos) / 1e9
}

/** Offsets and sizes Node can express; no file system here has larger files. */
export function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new NinepError('EFBIG')
  return Number(value)
}
