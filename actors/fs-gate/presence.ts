/**
 * Who has a store open: each has a lock that ends with its process, however that ends. Process numbers say nothing: every gate is number 1
 * of a namespace of its own.
 *
 *   STORE/open/NAME   an empty SQLite file, held exclusively by who noted NAME
 */
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export class Presence {
  /** Of this one. Nobody had it before. */
  readonly name = randomBytes(9).toString('hex')
  readonly #dir: string
  readonly #lock: DatabaseSync

  /** `dir`: of the store. The caller holds the store's own write lock, as others remove what nobody holds. */
  constructor(dir: string) {
    this.#dir = join(dir, 'open')
    fs.mkdirSync(this.#dir, { recursive: true, mode: 0o700 })
    for (const name of fs.readdirSync(this.#dir)) if (!this.isOpen(name)) fs.rmSync(join(this.#dir, name), { force: true })
    this.#lock = openLock(join(this.#dir, this.name))
  }

  /** Whether whoever noted that name still has the store open. */
  isOpen(name: string): boolean {
    const path = join(this.#dir, name)
    if (name === this.name) return true
    if (!fs.existsSync(path)) return false
    try {
      openLock(path).close()
      return false
    } catch {
      // What cannot be told is left alone.
      return true
    }
  }

  close(): void {
    fs.rmSync(join(this.#dir, this.name), { force: true })
    this.#lock.close()
  }
}

/** Throws when another holds it. */
function openLock(path: string): DatabaseSync {
  const lock = new DatabaseSync(path)
  try {
    // Nothing is ever written to it.
    lock.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock.close()
    throw error
  }
}
