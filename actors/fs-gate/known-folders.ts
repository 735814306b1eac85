/**
 * Handles of folders that were walked to a moment ago, so that the next path into one of them need not walk there again.
 *
 * A handle is used again only if the system says, at that moment, that it is where the path says: a folder that was moved, removed or
 * replaced by a link is walked to anew. No link is followed and nothing outside is touched to find that out, so the answer is worth what a
 * walk is. What would not be noticed is another file system mounted on top of the folder, hence the short life.
 */
import { close, type Scope, type SharedHandle, whereIs } from './handles.ts'
import { limits } from './limits.ts'

export class KnownFolders {
  /** Least recently used first. */
  readonly #known = new Map<string, SharedHandle>()
  #timer: NodeJS.Timeout | null = null

  /** The handle of the folder at `parts` below the root, lent to the scope; null: walk. `rootPath`: the root's real path. */
  find(rootPath: string, parts: readonly string[], scope: Scope): number | null {
    const key = parts.join('/')
    const known = this.#known.get(key)
    if (!known) return null
    this.#known.delete(key)
    if (whereIs(known.fd) !== `${rootPath === '/' ? '' : rootPath}/${key}`) {
      giveBack(known)
      return null
    }
    this.#known.set(key, known)
    scope.borrow(known, giveBack)
    return known.fd
  }

  /** Takes a handle over from the scope, which goes on using it. */
  keep(parts: readonly string[], fd: number, scope: Scope): void {
    const key = parts.join('/')
    if (this.#known.has(key) || !scope.owns(fd)) return
    const shared: SharedHandle = { fd: scope.disown(fd), users: 1 }
    scope.borrow(shared, giveBack)
    this.#known.set(key, shared)
    for (const [oldest, handle] of this.#known) {
      if (this.#known.size <= limits.knownFolders) break
      this.#known.delete(oldest)
      giveBack(handle)
    }
    this.#timer ??= setTimeout(() => this.clear(), limits.knownFolderMs).unref()
  }

  clear(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    for (const handle of this.#known.values()) giveBack(handle)
    this.#known.clear()
  }
}

function giveBack(handle: SharedHandle): void {
  handle.users -= 1
  if (handle.users === 0) close(handle.fd)
}
