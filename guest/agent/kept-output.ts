/**
 * All of a long output in a file: the host passes on the first and the last of it, and whoever asked may want the middle. The folder is
 * root's and the session sees it read-only, so that nothing can be put in the way there.
 */
import { createWriteStream, type WriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { keptAfter, keptBehind, keptFile, keptSession } from './limits.ts'

export class KeptOutput {
  readonly #path: string
  readonly #begun: () => void
  #held: Uint8Array[] = []
  #bytes = 0
  #file: WriteStream | null = null
  #broken = false
  /** Called when it has caught up. */
  onDrain: () => void = () => {}

  /** `begun`: the output is long enough for a file. */
  constructor(path: string, begun: () => void) {
    this.#path = path
    this.#begun = begun
  }

  /** Whether the writers should wait for the disk. */
  get behind(): boolean {
    return this.#file !== null && this.#file.writableLength > keptBehind
  }

  add(bytes: Uint8Array): void {
    const room = keptFile - this.#bytes
    this.#bytes += bytes.length
    if (this.#broken || room <= 0) return
    if (this.#file === null) {
      this.#held.push(bytes)
      if (this.#bytes > keptAfter) this.#begin()
      return
    }
    this.#write(bytes.subarray(0, room))
    if (bytes.length > room) this.#write(Buffer.from(`\n[bulkhead: what follows the first ${keptFile} bytes is not kept]\n`))
  }

  /** Resolves with the bytes of the file, 0 when there is none. */
  end(): Promise<number> {
    const file = this.#file
    if (file === null) return Promise.resolve(0)
    return new Promise((resolve) => file.end(() => resolve(Math.min(this.#bytes, keptFile))))
  }

  #begin(): void {
    const file = createWriteStream(this.#path, { flags: 'wx', mode: 0o444 })
    file.on('drain', () => this.onDrain())
    // A full disk ends the file, not the command.
    file.on('error', () => {
      this.#broken = true
      this.onDrain()
    })
    this.#file = file
    for (const bytes of this.#held) this.#write(bytes)
    this.#held = []
    this.#begun()
  }

  #write(bytes: Uint8Array): void {
    if (!this.#broken && bytes.length > 0) this.#file?.write(bytes)
  }
}

/** The files of one session, the oldest removed when they take too much. */
export class KeptFiles {
  readonly #files: { path: string; bytes: number }[] = []

  async add(path: string, bytes: number): Promise<void> {
    if (bytes === 0) return
    this.#files.push({ path, bytes })
    let sum = this.#files.reduce((all, file) => all + file.bytes, 0)
    while (sum > keptSession) {
      const oldest = this.#files.shift()
      if (oldest === undefined) return
      sum -= oldest.bytes
      await rm(oldest.path, { force: true })
    }
  }
}

export const keptPath = (slotDir: string, id: number): string => join(slotDir, 'outputs', String(id))
