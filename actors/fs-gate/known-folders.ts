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
  readonly #known = new Map<string, Known>()
  #uses = 0
  #timer: NodeJS.Timeout | null = null

  /** The handle of the folder at `parts` below the root, lent to the scope; null: walk. `rootPath`: the root's real path. */
  find(rootPath: string, parts: readonly string[], scope: Scope): number | null {
    const key = parts.join('/')
    const known = this.#known.get(key)
    if (!known) return null
    const { handle } = known
    if (whereIs(handle.fd) !== `${rootPath === '/' ? '' : rootPath}/${key}`) {
      this.#forget(key, known)
      return null
    }
    known.used = ++this.#uses
    scope.borrow(handle, giveBack)
    return handle.fd
  }

  /** Takes a handle over from the scope, which goes on using it. */
  keep(parts: readonly string[], fd: number, scope: Scope): void {
    const key = parts.join('/')
    if (this.#known.has(key) || !scope.owns(fd)) return
    const shared: SharedHandle = { fd: scope.disown(fd), users: 1 }
    scope.borrow(shared, giveBack)
    if (this.#known.size >= limits.knownFolders) this.#forgetOldest()
    this.#known.set(key, { handle: shared, used: ++this.#uses })
    this.#timer ??= setTimeout(() => this.clear(), limits.knownFolderMs).unref()
  }

  clear(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    for (const { handle } of this.#known.values()) giveBack(handle)
    this.#known.clear()
  }

  /** Looked for only when one has to go: to keep them in order costs more at each use. */
  #forgetOldest(): void {
    let oldest: [string, Known] | null = null
    for (const entry of this.#known) if (!oldest || entry[1].used < oldest[1].used) oldest = entry
    if (oldest) this.#forget(...oldest)
  }

  #forget(key: string, { handle }: Known): void {
    this.#known.delete(key)
    giveBack(handle)
  }
}

/** `used`: a number that grows with each use of any. */
type Known = { readonly handle: SharedHandle; used: number }

function giveBack(handle: SharedHandle): void {
  handle.users -= 1
  if (handle.users === 0) close(handle.fd)
}
