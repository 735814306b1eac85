/**
 * Reads a settings file without being led astray. A managed file counts only if it and the folder it is in are real (no symbolic link),
 * owned by root and not writable by others: whoever could change it would be the one who makes policy.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs'
import { dirname } from 'node:path'
import { maxSettingsBytes } from './limits.ts'

export type FileOutcome = { state: 'absent' } | { state: 'unreadable'; why: string } | { state: 'present'; bytes: Buffer }

/** @param owner uid that must own a managed file and its folder; `null`: a local file, for which only its form counts */
export function readSettingsFile(path: string, owner: number | null): FileOutcome {
  try {
    if (owner === null) return readFile(path, owner)
    const folder = statOf(dirname(path))
    if (folder === null) return { state: 'absent' }
    // Whoever can write to the folder can take the file away, so a wrong folder counts also when nothing is in it.
    const objection = againstFolder(folder, dirname(path)) ?? ownership(folder, owner, dirname(path))
    return objection ? { state: 'unreadable', why: objection } : readFile(path, owner)
  } catch (error) {
    return { state: 'unreadable', why: error instanceof Error ? error.message : String(error) }
  }
}

function readFile(path: string, owner: number | null): FileOutcome {
  let fd: number
  try {
    // O_NONBLOCK: a pipe in its place must not hang the reader.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return { state: 'absent' }
    return { state: 'unreadable', why: code === 'ELOOP' ? `${path} is a symbolic link` : `${path} cannot be opened (${code})` }
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) return { state: 'unreadable', why: `${path} is not a regular file` }
    const objection = owner === null ? null : ownership(stat, owner, path)
    if (objection) return { state: 'unreadable', why: objection }
    if (stat.size > maxSettingsBytes) return { state: 'unreadable', why: `${path} is larger than ${maxSettingsBytes} bytes` }
    return { state: 'present', bytes: readAll(fd) }
  } finally {
    closeSync(fd)
  }
}

/** At most the limit, also when the file grows meanwhile. */
function readAll(fd: number): Buffer {
  const buffer = Buffer.alloc(maxSettingsBytes)
  let length = 0
  for (let read = -1; read !== 0 && length < buffer.length; length += read)
    read = readSync(fd, buffer, length, buffer.length - length, null)
  return buffer.subarray(0, length)
}

function againstFolder(stat: Stats, path: string): string | null {
  if (stat.isSymbolicLink()) return `${path} is a symbolic link`
  return stat.isDirectory() ? null : `${path} is not a folder`
}

function ownership(stat: Stats, owner: number, path: string): string | null {
  if (stat.uid !== owner) return `${path} belongs to user ${stat.uid}, not to ${owner === 0 ? 'root' : owner}`
  return (stat.mode & 0o022) === 0 ? null : `${path} can be written by others (mode ${(stat.mode & 0o777).toString(8)})`
}

function statOf(path: string): Stats | null {
  try {
    return lstatSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}

/** Changes whenever the file or its folder does in a way that could matter. Asked again and again, mostly about what is not there. */
export function fingerprint(path: string): string {
  const folder = lookAt(dirname(path))
  return folder === absent ? absent : `${folder}|${lookAt(path)}`
}

const absent = 'absent'

function lookAt(path: string): string {
  try {
    // Without an error made for it, what is not there costs a tenth.
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (stat === undefined) return absent
    const { ino, mtimeNs, ctimeNs, size, mode, uid } = stat
    return [ino, mtimeNs, ctimeNs, size, mode, uid].join(':')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'error'
  }
}
