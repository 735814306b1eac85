/**
 * Which of several names a folder does not have, told by one look at all its names: to ask for each costs as much as to make a file of it. Good for
 * the step it is made in, as any look is.
 *
 * It says so only where no file system could think otherwise. One that takes other spellings for the same name, or has a short name for each, does so
 * for names beyond ASCII, with another case, with `~`, or with a dot or space at their end.
 */
import * as fs from 'node:fs'
import { self } from './handles.ts'
import { limits } from './limits.ts'

export class AbsentNames {
  readonly #wanted = new Map<number, number>()
  /** By the folder's handle; null: each name has to be asked for. */
  readonly #folders = new Map<number, ReadonlySet<string> | null>()

  /** `entries`: those that will be asked for, and are expected not to be there. */
  constructor(entries: Iterable<{ folder: number }>) {
    for (const { folder } of entries) this.#wanted.set(folder, (this.#wanted.get(folder) ?? 0) + 1)
  }

  /** Whether nothing has this name for certain; false: it has to be looked for. */
  has(folder: number, name: string): boolean {
    if (!unmistakable.test(name)) return false
    let names = this.#folders.get(folder)
    if (names === undefined) this.#folders.set(folder, (names = namesIn(folder, this.#wanted.get(folder) ?? 0)))
    return names !== null && (names.size === 0 || !names.has(name.toLowerCase()))
  }
}

const unmistakable = /^[ -}]*[!--/-}]$/
const ascii = /^[ -~]*$/

/** In lower case. A folder that has far more names than are asked for is not read to its end. */
function namesIn(folder: number, wanted: number): ReadonlySet<string> | null {
  if (wanted < limits.namesAtOnce) return null
  const names = new Set<string>()
  try {
    const listing = fs.opendirSync(self(folder), { bufferSize: wanted })
    try {
      for (let entry = listing.readSync(); entry; entry = listing.readSync()) {
        if (!ascii.test(entry.name) || names.size === wanted * limits.namesEach) return null
        names.add(entry.name.toLowerCase())
      }
    } finally {
      listing.closeSync()
    }
  } catch {
    // It may be one that is gone through only.
    return null
  }
  return names
}
