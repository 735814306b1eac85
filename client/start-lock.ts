/**
 * One client at a time may start or replace the daemon. The lock is SQLite's own file lock, which the operating system drops when its
 * holder dies: there is no stale lock to recognise and steal.
 */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as wait } from 'node:timers/promises'

const retryMs = 50

/** Runs `work` while holding the lock; waits for as long as another one works. */
export async function withStartLock<T>(runtimeDir: string, work: () => Promise<T>): Promise<T> {
  const db = new DatabaseSync(join(runtimeDir, 'start.lock'))
  try {
    db.exec('PRAGMA busy_timeout = 0')
    while (!acquire(db)) await wait(retryMs)
    return await work()
  } finally {
    db.close()
  }
}

function acquire(db: DatabaseSync): boolean {
  try {
    db.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy) return false
    throw error
  }
}

const sqliteBusy = 5
