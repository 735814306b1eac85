/** What this gate itself left in the folder, so that what others change can be told from it. Bounded: what is forgotten counts as someone else's. */
import { limits } from './limits.ts'

export class OwnChanges {
  readonly #marks = new Set<string>()
  /** Not among the others yet: it is asked seldom, and to sort in ten thousand costs more than to write them down. */
  #newest: string[] = []

  /** A thing as this gate left it. A stamp holds the inode and the time, so it is enough by itself. */
  left(path: string, stamp: string): void {
    this.#newest.push(stamp === 'absent' ? gone(path) : stamp)
    if (this.#newest.length < limits.ownChanges * 2) return
    this.#newest = this.#newest.slice(-limits.ownChanges)
    this.#marks.clear()
  }

  has(path: string, stamp: string): boolean {
    for (const mark of this.#newest) this.#add(mark)
    this.#newest = []
    return this.#marks.has(stamp === 'absent' ? gone(path) : stamp)
  }

  #add(mark: string): void {
    // The newest last, so that the oldest is forgotten first.
    this.#marks.delete(mark)
    this.#marks.add(mark)
    if (this.#marks.size <= limits.ownChanges) return
    for (const oldest of this.#marks) {
      this.#marks.delete(oldest)
      return
    }
  }
}

function gone(path: string): string {
  return `absent:${path}`
}
