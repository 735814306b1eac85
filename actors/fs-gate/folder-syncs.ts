/**
 * Making names durable: what a tool has put into a folder is on the disk when the folder has been synced. Those that come within a moment are synced
 * together, after the answer. Until then a power cut leaves the old name or the new one, each with its whole content.
 */
import { fault } from '../../kernel/index.ts'
import { scoped } from './handles.ts'
import { limits } from './limits.ts'
import { codeOf } from './os-errors.ts'
import type { Syscalls } from './syscalls.ts'
import { resolve, type Root } from './walk.ts'

export class FolderSyncs {
  readonly #root: Root
  readonly #syscalls: Syscalls
  readonly #waiting = new Set<string>()
  #timer: NodeJS.Timeout | null = null
  #trouble: Error | null = null

  constructor(root: Root, syscalls: Syscalls) {
    this.#root = root
    this.#syscalls = syscalls
  }

  /** Has the folder at `parts` synced soon. */
  soon(parts: readonly string[]): void {
    this.#waiting.add(parts.join('/'))
    this.#timer ??= setTimeout(() => this.flush(), limits.folderSyncMs).unref()
  }

  /** Throws when an earlier sync failed: the disk did not take what it was given, and the next change shall not be the first to go unheard. */
  check(): void {
    const trouble = this.#trouble
    this.#trouble = null
    if (trouble !== null)
      throw fault('io-failed', 'The disk did not take an earlier change of this folder.', {
        cause: trouble.message,
        remedy: 'Look at what changed last, and check the disk.',
      })
  }

  flush(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    for (const key of this.#waiting) this.#sync(key)
    this.#waiting.clear()
  }

  /** A folder that has gone meanwhile has nothing left to sync. */
  #sync(key: string): void {
    try {
      scoped((scope) => {
        const found = resolve(this.#root, key, scope, { followLast: false })
        if (found.kind === 'found' && found.stat.isDirectory()) this.#syscalls.sync(found.fd, found.parts, 'folder')
      })
    } catch (error) {
      if (error instanceof Error && ['EIO', 'ENOSPC', 'EDQUOT'].includes(codeOf(error) ?? '')) this.#trouble = error
    }
  }
}
