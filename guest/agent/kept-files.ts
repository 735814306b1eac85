/**
 * All of a long output in a file: the host passes on the first and the last of it, and whoever asked may want the middle. The folder is
 * root's and the session sees it read-only, so that nothing can be put in the way there. The pump writes them. They are the only thing on the
 * disk that may go while its session lives: the oldest do when a session has too many, or when the disk is nearly full.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { diskPressure, keptSession } from './limits.ts'

type KeptFile = { path: string; bytes: number; age: number }

/** Files kept so far, of all sessions. */
let kept = 0

/** The files of one session. */
export class KeptFiles {
  readonly #files: KeptFile[] = []

  async add(path: string, bytes: number): Promise<void> {
    if (bytes === 0) return
    this.#files.push({ path, bytes, age: kept++ })
    while (this.#files.reduce((all, file) => all + file.bytes, 0) > keptSession) await this.removeOldest()
  }

  /** Null when there is none. */
  get oldest(): Readonly<KeptFile> | null {
    return this.#files[0] ?? null
  }

  async removeOldest(): Promise<void> {
    const file = this.#files.shift()
    if (file !== undefined) await rm(file.path, { force: true })
  }
}

/**
 * Removes the oldest files, whosever they are, when little of the disk is free, until more of it is; resolves with how many.
 *
 * @param freeShare of the disk, 0 to 1; asked again after each file
 */
export async function relieve(sessions: readonly KeptFiles[], freeShare: () => Promise<number>): Promise<number> {
  if ((await freeShare()) >= diskPressure.begins) return 0
  let removed = 0
  while ((await freeShare()) < diskPressure.ends) {
    const [first] = sessions.filter(({ oldest }) => oldest !== null).toSorted((a, b) => (a.oldest?.age ?? 0) - (b.oldest?.age ?? 0))
    if (first === undefined) break
    await first.removeOldest()
    removed++
  }
  return removed
}

export const keptPath = (slotDir: string, id: number): string => join(slotDir, 'outputs', String(id))
