import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { identify, isAlive } from './process-identity.js'

/**
 * What the lock file says. `child` is the program the owner is running: when the owner was killed, its child may still be
 * writing, so the lock counts as held until that has ended too.
 * @typedef {import('./process-identity.js').ProcessIdentity} ProcessIdentity
 * @typedef {{ token: string, owner: ProcessIdentity, since: number, step: string, child: (ProcessIdentity & { name: string }) | null }} LockRecord
 * @typedef {{ note(change: { step?: string, child?: { pid: number, name: string } | null }): void, release(): void }} SetupLock
 */

const pollMs = 100
/** A process that died while making or breaking a lock leaves a file nobody can judge; after this long it is removed. */
const abandonedMs = 10_000

/**
 * Takes the lock, waiting as long as its holder lives.
 * @param {string} path
 * @param {{ onWait?: (holder: LockRecord) => void, signal?: AbortSignal }} [options] `onWait` is called at each poll while waiting
 * @returns {Promise<SetupLock>}
 */
export async function acquireLock(path, { onWait, signal } = {}) {
  mkdirSync(dirname(path), { recursive: true })
  const owner = identify(process.pid) ?? { pid: process.pid, started: 'unknown' }
  /** @type {LockRecord} */
  const mine = { token: randomBytes(8).toString('hex'), owner, since: Date.now(), step: 'starting', child: null }
  for (;;) {
    signal?.throwIfAborted()
    if (create(path, mine)) return held(path, mine)
    const holder = readLock(path)
    if (holder && !isHeld(holder)) {
      breakStale(path, holder)
      continue
    }
    if (holder) onWait?.(holder)
    else if (ageMs(path) > abandonedMs) rmSync(path, { force: true })
    await sleep(pollMs, undefined, signal ? { signal } : {})
  }
}

/**
 * @param {string} path
 * @returns {LockRecord | null}
 */
export function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

/** @param {LockRecord} record */
function isHeld(record) {
  return isAlive(record.owner) || (record.child !== null && isAlive(record.child))
}

/**
 * Creates the lock file with its content in one step: `link` fails when the name exists, and a reader never sees half a file.
 * @param {string} path
 * @param {LockRecord} record
 */
function create(path, record) {
  const draft = `${path}.${record.token}`
  writeFileSync(draft, JSON.stringify(record))
  try {
    linkSync(draft, path)
    return true
  } catch (thrown) {
    if (/** @type {NodeJS.ErrnoException} */ (thrown).code === 'EEXIST') return false
    return createWithoutLinks(path, record)
  } finally {
    rmSync(draft, { force: true })
  }
}

/**
 * For file systems that have no hard links.
 * @param {string} path
 * @param {LockRecord} record
 */
function createWithoutLinks(path, record) {
  try {
    writeFileSync(path, JSON.stringify(record), { flag: 'wx' })
    return true
  } catch (thrown) {
    if (/** @type {NodeJS.ErrnoException} */ (thrown).code === 'EEXIST') return false
    throw thrown
  }
}

/**
 * Removes the lock of a dead owner. Several waiters may find it dead at once; whoever makes the directory named after its
 * token is the one that removes it, so a lock taken meanwhile is never removed by a slow reader.
 * @param {string} path
 * @param {LockRecord} stale
 */
function breakStale(path, stale) {
  const mark = `${path}.broken.${stale.token}`
  try {
    mkdirSync(mark)
  } catch {
    if (ageMs(mark) > abandonedMs) rmSync(mark, { recursive: true, force: true })
    return
  }
  if (readLock(path)?.token === stale.token) rmSync(path, { force: true })
  rmSync(mark, { recursive: true, force: true })
}

/** @param {string} path */
function ageMs(path) {
  try {
    return Date.now() - statSync(path).mtimeMs
  } catch {
    return 0
  }
}

/**
 * @param {string} path
 * @param {LockRecord} record
 * @returns {SetupLock}
 */
function held(path, record) {
  return {
    note({ step = record.step, child }) {
      record.step = step
      if (child !== undefined) {
        const identity = child && identify(child.pid)
        record.child = child && identity ? { ...identity, name: child.name } : null
      }
      const draft = `${path}.${record.token}`
      writeFileSync(draft, JSON.stringify(record))
      renameSync(draft, path)
    },
    release() {
      if (readLock(path)?.token === record.token) rmSync(path, { force: true })
    },
  }
}
