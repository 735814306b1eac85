/**
 * The sizes of files as a 9P client believes them to be: what it was told last, or made by its own writes.
 *
 * A Linux client (6.12) that is given less than it asks for asks again for the rest, as long as it believes that there is more; when the file was cut
 * short on the device meanwhile, it would ask for ever. It is told that its handle is stale then, and learns the size when it looks again.
 */
import { limits } from './limits.ts'

type File = { readonly dev: bigint; readonly ino: bigint }

export class ToldSizes {
  /** Least recently told first. */
  readonly #sizes = new Map<string, number>()

  told(file: File, size: number): void {
    const key = `${file.dev}:${file.ino}`
    this.#sizes.delete(key)
    this.#sizes.set(key, size)
    if (this.#sizes.size <= limits.toldSizes) return
    for (const oldest of this.#sizes.keys()) {
      this.#sizes.delete(oldest)
      return
    }
  }

  /** The client wrote up to `end`. */
  wrote(file: File, end: number): void {
    if (end > this.#of(file)) this.told(file, end)
  }

  /** Whether the client believes that something is at `position`. */
  believesIn(file: File, position: number): boolean {
    return position < this.#of(file)
  }

  #of({ dev, ino }: File): number {
    return this.#sizes.get(`${dev}:${ino}`) ?? 0
  }
}
