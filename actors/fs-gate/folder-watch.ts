/**
 * What others change in the folder while it is connected: programs of the member, other sessions. The system tells of each folder by itself,
 * and each is watched through its own handle, opened through no link: a recursive watch by path would follow what leads out.
 *
 *   event -> name noted (bounded) -> asked for: looked at as it is now, compared with what this gate left itself
 *
 * What happens inside `.git` and `node_modules` is not told: programs change thousands of names there that nobody reads.
 */
import * as fs from 'node:fs'
import { tempPrefix } from './atomic-write.ts'
import { stampAt } from './entry-state.ts'
import type { Gate } from './gate.ts'
import { close, openFolder, self } from './handles.ts'
import { limits } from './limits.ts'
import { Folders } from './undo-run.ts'

export type Seen = { path: string; what: 'changed' | 'deleted' }
const untold: ReadonlySet<string> = new Set(['.git', 'node_modules'])

export class FolderWatch {
  readonly #gate: Gate
  readonly #watchers = new Map<string, fs.FSWatcher>()
  readonly #noted = new Set<string>()
  #missed = 0
  /** Not every folder could be watched. */
  #partial = false

  constructor(gate: Gate) {
    this.#gate = gate
    this.#add([], gate.root.fd)
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  /** Names that something happened to, by whomever. */
  get waiting(): number {
    return this.#noted.size + this.#missed
  }

  /** What others changed since the last time, as it is now; `more`: how many beyond those named. */
  take(): { changes: Seen[]; more: number; partial: boolean } {
    const { log } = this.#gate
    const folders = new Folders(this.#gate)
    const changes: Seen[] = []
    let more = this.#missed
    try {
      for (const path of this.#noted) {
        const stamp = folders.stamp(path)
        if (log.own.has(path, stamp) || isOpenHere(this.#gate, folders, path)) continue
        // A folder tells of itself by what is in it.
        if (stamp.startsWith('folder:')) continue
        if (changes.length < limits.othersTold) changes.push({ path, what: stamp === 'absent' ? 'deleted' : 'changed' })
        else more += 1
      }
    } finally {
      folders.close()
    }
    this.#noted.clear()
    this.#missed = 0
    return { changes, more, partial: this.#partial }
  }

  /** Watches a folder and those in it. What is in a folder that is new here is news as well. */
  #add(parts: readonly string[], fd: number, isNew = false): void {
    if (parts.length > limits.depth || this.#watchers.size >= limits.watchedFolders) {
      this.#partial = true
      return
    }
    const key = parts.join('/')
    this.#drop(key)
    try {
      const watcher = fs.watch(self(fd), { persistent: false }, (kind, name) => this.#heard(parts, kind, name))
      watcher.on('error', () => this.#drop(key))
      this.#watchers.set(key, watcher)
    } catch {
      // The system has no room for more of them.
      this.#partial = true
      return
    }
    // After the watch has begun, so that nothing falls in between.
    for (const entry of readNames(fd)) {
      if (isNew && !entry.isDirectory() && !entry.name.startsWith(tempPrefix)) this.#note([...parts, entry.name])
      if (entry.isDirectory() && !untold.has(entry.name)) this.#enter(fd, [...parts, entry.name], isNew)
    }
  }

  #enter(folder: number, parts: readonly string[], isNew: boolean): void {
    let fd: number
    try {
      fd = openFolder(folder, parts.at(-1) as string)
    } catch {
      return
    }
    try {
      this.#add(parts, fd, isNew)
    } finally {
      close(fd)
    }
  }

  #heard(folder: readonly string[], kind: string, name: string | null): void {
    if (name === null || name.startsWith(tempPrefix) || untold.has(name)) return
    const parts = [...folder, name]
    this.#note(parts)
    if (kind !== 'rename') return
    // It came, went, or is something else now.
    this.#dropBelow(parts.join('/'))
    const folders = new Folders(this.#gate)
    try {
      this.#enter(folders.folder(folder), parts, true)
    } catch {
      // The folder itself has gone; its own folder tells of that.
    } finally {
      folders.close()
    }
  }

  #note(parts: readonly string[]): void {
    const path = parts.join('/')
    if (this.#noted.size < limits.othersNoted || this.#noted.has(path)) this.#noted.add(path)
    else this.#missed += 1
  }

  #drop(key: string): void {
    this.#watchers.get(key)?.close()
    this.#watchers.delete(key)
  }

  #dropBelow(key: string): void {
    if (!this.#watchers.has(key)) return
    for (const known of this.#watchers.keys()) if (known === key || known.startsWith(`${key}/`)) this.#drop(known)
  }
}

function isOpenHere(gate: Gate, folders: Folders, path: string): boolean {
  try {
    const { folder, name } = folders.entry(path)
    return gate.log.isWriting(folder, name) && stampAt(folder, name) !== 'absent'
  } catch {
    return false
  }
}

function readNames(fd: number): fs.Dirent[] {
  try {
    return fs.readdirSync(self(fd), { withFileTypes: true })
  } catch {
    return []
  }
}
