/**
 * All of a long output in a file: the host passes on the first and the last of it, and whoever asked may want the middle. The folder is
 * root's and the session sees it read-only, so that nothing can be put in the way there. The pump writes them.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { keptSession } from './limits.ts'

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
