/** What the workspace has made and changed in the group of changes that is under way, by the thing itself and not by its names. */

/** Inode numbers are used again; the time of birth tells the new file from the old. */
export type Identity = { dev: bigint; ino: bigint } & ({ born: bigint } | { birthtimeNs: bigint })

export class Tracked {
  /** Rows about it, which tell what is there afterwards. */
  readonly rows = new Set<number>()
  /** Names it got in this group, with the row of each; none unless it was made in it. */
  readonly names = new Map<string, number>()
  /** What it was when last looked at; someone else has changed it when it is another and it was not `touched`. */
  stamp: string
  /** Being written to, so that its stamp is not known. */
  touched: boolean
  /** Made in this group. Of anything else no row may be forgotten: a name that comes and goes may have changed what it stood for. */
  readonly #fresh: boolean

  constructor(stamp: string, touched: boolean, fresh: boolean) {
    this.stamp = stamp
    this.touched = touched
    this.#fresh = fresh
  }

  /** `name`: null when the row is about a name it had before. */
  add(row: number, name: string | null): void {
    this.rows.add(row)
    if (name !== null && this.#fresh) this.names.set(name, row)
  }
}

export class Tracking {
  readonly #things = new Map<string, { tracked: Tracked; names: number }>()
  /** Rows of groups that have ended, of files that were still being written to. */
  #late = new Map<string, number[]>()
  /** Raised whenever names lead elsewhere because a folder above them was moved. */
  #moves = 0

  get size(): number {
    return this.#things.size + this.#late.size
  }

  get(file: Identity): Tracked | undefined {
    const known = this.#things.get(keyOf(file))
    if (!known) return undefined
    if (known.names !== this.#moves) known.tracked.names.clear()
    known.names = this.#moves
    return known.tracked
  }

  set(file: Identity, tracked: Tracked): Tracked {
    this.#things.set(keyOf(file), { tracked, names: this.#moves })
    return tracked
  }

  gone(file: Identity): void {
    this.#things.delete(keyOf(file))
    this.#late.delete(keyOf(file))
  }

  folderMoved(): void {
    this.#moves += 1
  }

  /** Rows that wait for this file's stamp; they are given out once. */
  late(file: Identity): readonly number[] {
    const rows = this.#late.get(keyOf(file)) ?? []
    this.#late.delete(keyOf(file))
    return rows
  }

  /** What follows is another group. `most`: files still being written to that are remembered; the oldest of more are never settled. */
  regroup(most: number): void {
    for (const [key, { tracked }] of this.#things)
      if (tracked.touched && tracked.rows.size > 0) this.#late.set(key, [...(this.#late.get(key) ?? []), ...tracked.rows])
    this.#things.clear()
    for (const key of this.#late.keys()) {
      if (this.#late.size <= most) break
      this.#late.delete(key)
    }
  }
}

function keyOf(file: Identity): string {
  return `${file.dev}:${file.ino}:${'born' in file ? file.born : file.birthtimeNs}`
}
