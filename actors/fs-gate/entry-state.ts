/** What stands at a name in a folder: as it is kept for later (`State`), and as a mark to tell whether it is still the same (`stamp`). */
import * as fs from 'node:fs'
import { at } from './handles.ts'
import { codeOf } from './os-errors.ts'

/** `stamp`: of what was kept. */
export type State =
  | { kind: 'absent' }
  /** `content`: number of the content in the store. */
  | { kind: 'file'; stamp: string; mode: number; mtimeNs: string; content: number; size: number }
  | { kind: 'folder'; stamp: string; mode: number }
  | { kind: 'symlink'; stamp: string; text: string }
  /** Only these were changed. */
  | { kind: 'attributes'; stamp: string; mode: number; mtimeNs: string }
  /** A pipe, socket or device: cannot be made again. */
  | { kind: 'special' }

export const absent: State = { kind: 'absent' }

/**
 * Same stamp = same thing, not changed in between. A file's is its inode, size, time of change and mode; a folder's,
 * which changes with each name in it, its inode and birth, because inode numbers are used again.
 */
export function stampOf(stat: fs.BigIntStats | null, link: string | null): string {
  if (stat === null) return 'absent'
  if (stat.isFile()) return `file:${stat.ino}:${stat.size}:${stat.mtimeNs}:${(stat.mode & 0o777n).toString(8)}`
  if (stat.isDirectory()) return `folder:${stat.ino}:${stat.birthtimeNs}`
  return stat.isSymbolicLink() ? `symlink:${stat.ino}:${stat.birthtimeNs}:${link ?? ''}` : `special:${stat.ino}`
}

export function stampAt(folder: number, name: string): string {
  const stat = lstatAt(folder, name)
  return stampOf(stat, stat?.isSymbolicLink() ? linkText(folder, name) : null)
}

/**
 * What a member is asked about, to be compared when they have answered: device and inode with all of the stamp. A stamp alone, which outlives restarts,
 * is without the device, whose number does not.
 */
export function identityAt(folder: number, name: string): string {
  const stat = lstatAt(folder, name)
  return stat ? `${stat.dev}:${stampOf(stat, stat.isSymbolicLink() ? linkText(folder, name) : null)}` : 'absent'
}

/** The same for what is not there: the folder that it, or the first folder on the way to it, would be made in. */
export function identityOfAbsent(folder: number): string {
  const { dev, ino } = fs.fstatSync(folder, { bigint: true })
  return `absent in ${dev}:${ino}`
}

/** Links not followed; null when nothing has that name. */
export function lstatAt(folder: number, name: string): fs.BigIntStats | null {
  return fs.lstatSync(at(folder, name), { bigint: true, throwIfNoEntry: false }) ?? null
}

export function linkText(folder: number, name: string): string | null {
  try {
    return fs.readlinkSync(at(folder, name))
  } catch (error) {
    if (codeOf(error) === 'EINVAL' || codeOf(error) === 'ENOENT') return null
    throw error
  }
}
