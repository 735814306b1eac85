/**
 * Putting a file's new content in place, all or nothing.
 *
 *   temp (unguessable, O_EXCL, same folder) -> write -> mode, owner -> sync -> read back
 *     -> [one step: look at the target again -> keep what is there -> rename or link] -> the folder is synced soon
 *
 * Until the rename the old file is whole, after it the new one is.
 */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { fault } from '../../kernel/index.ts'
import type { Entry } from './change-log.ts'
import { holds, sha256Of } from './file-content.ts'
import type { Gate } from './gate.ts'
import { at, openFolder, type Scope, self } from './handles.ts'
import { limits } from './limits.ts'
import { codeOf } from './os-errors.ts'

const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_SYNC } = fs.constants

export type Target = {
  /** Handle of the folder it goes into. */
  parent: number
  name: string
  /** Canonical components. */
  parts: readonly string[]
  /** Attributes of the file that is replaced; null: a new one is made. */
  replaces: fs.Stats | null
}

/** Prefix of temporary files: nobody is told of them, and what a power cut leaves can be told. */
export const tempPrefix = '.bulkhead-'

/** Nobody can guess it, so nobody can have put something there. */
export function tempName(): string {
  return `${tempPrefix}${randomUUID()}.tmp`
}

/**
 * `check` runs right before the file is put in place, in the same step, and throws to stop it. The new content's SHA-256 is returned.
 * Throws the system's errors; `already-exists` when a new file's name was taken meanwhile.
 */
export async function writeAtomically(
  gate: Gate,
  target: Target,
  content: Buffer,
  check: () => void,
  scope: Scope,
  signal: AbortSignal,
  session: string | null,
): Promise<string> {
  gate.folderSyncs.check()
  const temp = tempName()
  const tempPath = at(target.parent, temp)
  // Written through, because under the permission model fsync may be missing (syscalls.ts).
  const through = gate.syscalls.by === 'none' ? O_SYNC : 0
  const tempParts = [...target.parts.slice(0, -1), temp]
  const away = gate.log.temporary(tempParts)
  let placed = false
  try {
    const fd = scope.own(fs.openSync(tempPath, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | through, target.replaces ? 0o600 : 0o666))
    for (let offset = 0; offset < content.length; ) {
      offset += fs.writeSync(fd, content, offset, Math.min(limits.chunkBytes, content.length - offset), offset)
      if (offset < content.length) await setImmediate()
      signal.throwIfAborted()
    }
    dress(fd, target)
    gate.syscalls.sync(fd, tempParts, 'file')
    if (!holds(fd, content))
      throw fault('io-failed', `${target.parts.join('/')} was not changed: the disk returned other bytes than were written.`)
    signal.throwIfAborted()
    check()
    placed = gate.log.put(entryOf(target), session, () => {
      if (!target.replaces) return placeNew(tempPath, target)
      fs.renameSync(tempPath, at(target.parent, target.name))
      return true
    })
    gate.folderSyncs.soon(target.parts.slice(0, -1))
    return sha256Of(content)
  } finally {
    if (!placed) removeQuietly(tempPath)
    away()
  }
}

function entryOf({ parent, name, parts }: Target): Entry {
  return { folder: parent, name, parts }
}

/** A link fails where a rename would replace what someone else has just made. True when the temporary name is gone. */
function placeNew(tempPath: string, target: Pick<Target, 'parent' | 'name' | 'parts'>): boolean {
  const path = at(target.parent, target.name)
  try {
    fs.linkSync(tempPath, path)
    return false
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw fault('already-exists', `${target.parts.join('/')} was made by someone else meanwhile.`)
    // A file system without hard links.
    if (!['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(codeOf(error) ?? '')) throw error
  }
  fs.renameSync(tempPath, path)
  return true
}

/** The old file's mode and owner; a new file made by root belongs to whom the folder belongs to. Never setuid or setgid. */
function dress(fd: number, { replaces, parent }: Target): void {
  if (asRoot) {
    const owner = replaces ?? fs.fstatSync(parent)
    const made = fs.fstatSync(fd)
    if (owner.uid !== made.uid || owner.gid !== made.gid) fs.chownSync(self(fd), owner.uid, owner.gid)
  }
  if (replaces) fs.chmodSync(self(fd), replaces.mode & 0o777)
}

function removeQuietly(path: string): void {
  try {
    fs.unlinkSync(path)
  } catch {
    // Someone cleaned up before us.
  }
}

/** Makes the folders `names` one in another below `parent`, which is at `parts`, or finds them made by others; the handle of the last. Links fail with ENOTDIR. */
export function makeFolders(
  gate: Gate,
  { parent, parts }: { parent: number; parts: readonly string[] },
  names: readonly string[],
  scope: Scope,
  session: string | null,
): number {
  let folder = parent
  for (const [index, name] of names.entries()) {
    const path = at(folder, name)
    try {
      gate.log.put({ folder, name, parts: [...parts, ...names.slice(0, index + 1)] }, session, () => fs.mkdirSync(path, 0o777))
      inherit(folder, path)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    const next = scope.own(openFolder(folder, name))
    if (folder !== parent) scope.release(folder)
    folder = next
  }
  return folder
}

/** What root makes for a member belongs to the member. `path`: of what was made in `folder`; links are not followed. */
export function inherit(folder: number, path: string, owner: Owner | null = ownerIn(folder)): void {
  if (owner) fs.lchownSync(path, owner.uid, owner.gid)
}

export type Owner = { uid: number; gid: number }

/** Whom what is made in `folder` has to be given to; null: it is theirs as it is. */
export function ownerIn(folder: number): Owner | null {
  if (!asRoot) return null
  const { uid, gid } = fs.fstatSync(folder)
  return uid === 0 && gid === 0 ? null : { uid, gid }
}

/** No gate changes who it is. */
const asRoot = process.geteuid?.() === 0
