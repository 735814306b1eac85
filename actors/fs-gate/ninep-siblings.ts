/**
 * Which files a client is likely to look up next: those that follow in the folder it goes through, in the order it was given their names, or else in that
 * of the names. Says nothing about what is there: whoever answers looks at each.
 */
import * as fs from 'node:fs'
import { self } from './handles.ts'
import { limits } from './limits.ts'

type Listing = { ino: bigint; names: readonly string[]; place: ReadonlyMap<string, number>; goodUntilMs: number }

export class Siblings {
  #listing: Listing | null = null
  #last: bigint | null = null
  /** Raised by each file that follows another, lowered by one elsewhere. */
  #streak = 0

  /** The names of a folder, in the order a client gets them in. */
  listed(ino: bigint, names: readonly string[]): void {
    this.#listing = listingOf(ino, names)
  }

  /** A file of this folder is looked up; names of those that may come next, when it looks like a pass through the folder. */
  next(ino: bigint, folder: number, name: string): readonly string[] {
    const goesOn = this.#note(ino)
    if (!goesOn) return []
    const listing = this.#listingOf(ino, folder)
    const index = listing.place.get(name)
    return index === undefined ? [] : listing.names.slice(index + 1, index + 1 + limits.siblingsAhead)
  }

  /** The same for one whose client knew it already. */
  known(ino: bigint): void {
    this.#last = ino
    this.#streak = Math.min(this.#streak + 1, limits.siblingStreak)
  }

  #note(ino: bigint): boolean {
    this.#streak = ino === this.#last ? Math.min(this.#streak + 1, limits.siblingStreak) : Math.max(this.#streak - 1, 0)
    this.#last = ino
    return this.#streak > 0
  }

  #listingOf(ino: bigint, folder: number): Listing {
    const known = this.#listing
    if (known?.ino === ino && performance.now() < known.goodUntilMs) return known
    const names = fs.readdirSync(self(folder))
    const made = listingOf(ino, names.length > limits.listingNames ? names : names.toSorted())
    this.#listing = made
    return made
  }
}

function listingOf(ino: bigint, names: readonly string[]): Listing {
  const now = performance.now()
  if (names.length > limits.listingNames) return { ino, names: [], place: new Map(), goodUntilMs: now + limits.hugeListingMs }
  return { ino, names, place: new Map(names.map((name, index) => [name, index])), goodUntilMs: now + limits.listingMs }
}
