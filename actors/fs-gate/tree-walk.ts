/** Going through a folder and what is below it, by handles, links not followed. */
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { close, openFolder, self } from './handles.ts'
import { limits } from './limits.ts'
import { codeOf } from './os-errors.ts'

/** `parts`: from the connected folder. `folder`: handle of the folder it is in, good until the next entry is asked for. */
export type TreeEntry = { parts: string[]; name: string; folder: number; isFolder: boolean; isFile: boolean }
export type TreeWalk = AsyncIterable<TreeEntry> & {
  /** Whether something was left out because of a limit. Asked after the walk. */
  cut(): boolean
}

type Level = { fd: number; parts: string[]; entries: fs.Dirent[]; next: number }

/** Each folder's entries sorted by name, a folder before what is in it. Folders that cannot be opened are passed over. Rejects when aborted. */
export function walkTree(start: { fd: number; parts: string[] }, options: { maxDepth: number; signal: AbortSignal }): TreeWalk {
  const maxDepth = Math.min(options.maxDepth, limits.depth)
  let cut = false

  async function* entries(): AsyncGenerator<TreeEntry> {
    const levels: Level[] = [levelOf(start.fd, start.parts)]
    let seen = 0
    try {
      for (let level = levels.at(-1); level; level = levels.at(-1)) {
        const entry = level.entries[level.next]
        if (!entry) {
          levels.pop()
          if (levels.length > 0) close(level.fd)
          continue
        }
        level.next += 1
        seen += 1
        if (seen > limits.walkEntries) {
          cut = true
          return
        }
        if (seen % limits.walkSlice === 0) {
          await setImmediate()
          options.signal.throwIfAborted()
        }
        const parts = [...level.parts, entry.name]
        yield { parts, name: entry.name, folder: level.fd, isFolder: entry.isDirectory(), isFile: entry.isFile() }
        if (!entry.isDirectory()) continue
        if (levels.length < maxDepth) open(levels, level.fd, parts, entry.name)
        else if (options.maxDepth >= limits.depth) cut = true
      }
    } finally {
      for (const level of levels.slice(1)) close(level.fd)
    }
  }

  function levelOf(fd: number, parts: string[]): Level {
    const found = fs.readdirSync(self(fd), { withFileTypes: true })
    if (found.length > limits.folderEntries) {
      cut = true
      found.length = limits.folderEntries
    }
    return { fd, parts, entries: found.toSorted((a, b) => (a.name < b.name ? -1 : 1)), next: 0 }
  }

  function open(levels: Level[], folder: number, parts: string[], name: string): void {
    let fd: number | null = null
    try {
      fd = openFolder(folder, name)
      levels.push(levelOf(fd, parts))
    } catch (error) {
      if (fd !== null) close(fd)
      // Deleted, replaced by something else, or not readable.
      if (!['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')) throw error
    }
  }

  return { [Symbol.asyncIterator]: entries, cut: () => cut }
}

export function typeOf(stat: fs.Stats): 'file' | 'folder' | 'symlink' | 'special' {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'folder'
  return stat.isSymbolicLink() ? 'symlink' : 'special'
}
