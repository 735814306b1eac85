/** Names and paths consent hands out: folder names that are safe as a path part and an actor id, paths a grant can be exact about. */
import { maxFolderName } from './limits.ts'

/** What a folder name becomes inside an actor id, which knows only lower-case letters, digits, dots and hyphens. */
export function folderKey(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

/** A name for the folder at `path` that differs from all `taken`, also as an actor id: its last part, in `[A-Za-z0-9._-]`, never starting with a dot or hyphen. */
export function folderName(path: string, taken: readonly string[]): string {
  const last = path.split(/[\\/]/).findLast((part) => part !== '') ?? ''
  const plain = last
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[.-]+|-+$/g, '')
    .slice(0, maxFolderName)
  const base = plain === '' ? 'folder' : plain
  const keys = taken.map(folderKey)
  if (!keys.includes(folderKey(base))) return base
  for (let n = 2; ; n++) {
    const numbered = `${base.slice(0, maxFolderName - String(n).length - 1)}-${n}`
    if (!keys.includes(folderKey(numbered))) return numbered
  }
}

/**
 * The path a grant for one file names, relative to the folder; null when it names no file inside it. Empty and `.` parts go, because a
 * grant for '' would mean the whole folder.
 */
export function filePath(path: string): string | null {
  if (path.startsWith('/') || path.includes('\0')) return null
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  return parts.length === 0 || parts.includes('..') ? null : parts.join('/')
}
