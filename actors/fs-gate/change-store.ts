/**
 * What a folder's changes replaced, kept so that each can be undone: one SQLite database per folder (WAL), below the daemon's state.
 *
 *   changes   one row each: who, where, what was there before, what was there after
 *   contents  files as they were, small ones whole, others as a list of chunks; the same bytes are kept once
 *   runs      undo and redo, which are changes too
 *   temps     files that are in the folder under a name of their own, until they get the one they are for
 *
 * No index on `changes`: each commit of the workspace's many small changes writes each page it touches, and what an index would find is looked
 * for by people and by undo only.
 *
 * A row is committed before the change it tells of is made, so a process killed at any instant has lost no pre-image. What a tool replaces is
 * on the disk by then, proof against a power cut; what programs in the workspace replace follows within seconds, as their own writes do.
 * Several processes may use one store: sessions that share a folder.
 */
import { createHash, hash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { type Fault, fault, isFault } from '../../kernel/index.ts'
import { chunkLength } from './chunking.ts'
import { smallFile } from './file-content.ts'
import { limits } from './limits.ts'
import type { State } from './entry-state.ts'
import { Presence } from './presence.ts'

/** Raise when the tables change, and add a migration step below. */
const schemaVersion = 2

export type Source = 'tool' | 'workspace' | 'undo' | 'redo'
export type Origin = { session: string | null; turn: string | null; call: string | null; title: string }
/** `put`: what stands at `path` changes. `rename`: what stood at `path` goes to `target`, in the place of `before`. */
export type Change = Origin & {
  id: number
  at: number
  source: Source
  op: 'put' | 'rename'
  path: string
  /** Of a rename: where to. Of a new name: the one the file had, when it is a hard link. */
  target: string | null
  before: State
  /** Stamp of what is there afterwards, at `target` for a rename; null: not known (still being written, or the process was killed). */
  after: string | null
  run: number | null
  undone: number | null
}
/** Where what a change left is. */
export function placeOf({ op, path, target }: Pick<Change, 'op' | 'path' | 'target'>): string {
  return op === 'rename' && target !== null ? target : path
}

export type NewChange = Omit<Change, 'id' | 'undone' | 'after'>

const schema = `
  CREATE TABLE changes (id INTEGER PRIMARY KEY, at REAL NOT NULL, session TEXT, turn TEXT, call TEXT, title TEXT NOT NULL, source TEXT NOT NULL,
    op TEXT NOT NULL, path TEXT NOT NULL, target TEXT, before TEXT NOT NULL, stamp TEXT, content INTEGER, after TEXT, run INTEGER, undone INTEGER);
  CREATE TABLE contents (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, data BLOB);
  CREATE TABLE parts (content INTEGER NOT NULL, seq INTEGER NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY (content, seq)) WITHOUT ROWID;
  CREATE INDEX parts_chunk ON parts (chunk);
  CREATE TABLE chunks (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, data BLOB NOT NULL);
  CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL, done INTEGER NOT NULL, undone INTEGER);
  PRAGMA user_version = 1`
/** `holder`: who had the store open (presence.ts); what one that has ended has left is anybody's to clear up. */
const second = `
  ALTER TABLE runs ADD COLUMN holder TEXT;
  CREATE TABLE temps (path TEXT PRIMARY KEY, holder TEXT NOT NULL) WITHOUT ROWID;
  PRAGMA user_version = 2`

export class ChangeStore {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #quota: number
  readonly #presence: Presence
  #bytes = 0

  /** `dir` is made when missing. `quota`: bytes of kept content, above which the oldest changes are forgotten. */
  constructor(dir: string, about: { root: string; name: string }, quota: number = limits.storeBytes) {
    this.#quota = quota
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 })
    this.#db = new DatabaseSync(join(dir, 'changes.sqlite'))
    this.#db.exec(
      'PRAGMA busy_timeout = 10000; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 4000; PRAGMA synchronous = NORMAL',
    )
    this.#presence = this.transaction(() => {
      const { user_version: version } = this.#get('PRAGMA user_version') as { user_version: number }
      if (version > schemaVersion)
        throw fault('io-failed', 'The store of changes was written by a newer version of Bulkhead.', { remedy: 'Update Bulkhead.' })
      if (version < 1) this.#db.exec(schema)
      if (version < 2) this.#db.exec(second)
      return new Presence(dir)
    })
    // For people who look, and for the list of recent folders.
    fs.writeFileSync(join(dir, 'folder.json'), `${JSON.stringify({ ...about, at: Date.now() })}\n`, { mode: 0o600 })
    this.retain(Date.now())
  }

  close(): void {
    this.#statements.clear()
    this.#db.close()
    this.#presence.close()
  }

  /** `durable`: proof against a power cut when it returns; otherwise against the end of the process. */
  transaction<T>(work: () => T, durable = false): T {
    if (durable) this.#db.exec('PRAGMA synchronous = FULL')
    try {
      return this.#transaction(work)
    } finally {
      if (durable) this.#db.exec('PRAGMA synchronous = NORMAL')
    }
  }

  #transaction<T>(work: () => T): T {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const result = work()
      this.#db.exec('COMMIT')
      return result
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw storeFault(error)
    }
  }

  /** Notes a change that is about to be made. `content` puts the file's bytes into the store, in the same commit. */
  begin(change: NewChange): number {
    const { before, ...row } = change
    const content = before.kind === 'file' ? before.content : null
    const { lastInsertRowid } = this.#run(
      'INSERT INTO changes (at, session, turn, call, title, source, op, path, target, before, stamp, content, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      row.at,
      row.session,
      row.turn,
      row.call,
      row.title,
      row.source,
      row.op,
      row.path,
      row.target,
      JSON.stringify(before),
      'stamp' in before ? before.stamp : null,
      content,
      row.run,
    )
    return Number(lastInsertRowid)
  }

  settle(id: number, after: string): void {
    this.#run('UPDATE changes SET after = ? WHERE id = ?', after, id)
  }

  /** The change was not made, or made and unmade before anyone could see. */
  forget(id: number): void {
    this.#run('DELETE FROM changes WHERE id = ?', id)
  }

  move(id: number, path: string, after: string): void {
    this.#run('UPDATE changes SET path = ?, after = ? WHERE id = ?', path, after, id)
  }

  /** Keeps the bytes of an open file; its content's number and size. To be called in a transaction. */
  keep(fd: number, expected: number): { content: number; size: number } {
    // So much must be left that keeping it does not push out what was kept before it in the same breath.
    if (expected > this.#quota / 2) throw full(this.#quota)
    const small = expected < limits.wholeBytes ? smallFile(fd, expected) : null
    if (small) return this.#keepWhole(small)
    const whole = createHash('sha256')
    const parts: number[] = []
    let size = 0
    let pending: Buffer = Buffer.alloc(0)
    for (let last = false; !last; ) {
      const room = Buffer.allocUnsafe(limits.chunkBytes)
      const got = fs.readSync(fd, room, 0, room.length, size)
      last = got < room.length && (got === 0 || fs.readSync(fd, Buffer.alloc(1), 0, 1, size + got) === 0)
      const fresh = room.subarray(0, got)
      size += got
      whole.update(fresh)
      pending = pending.length === 0 ? fresh : Buffer.concat([pending, fresh])
      let start = 0
      for (let length = chunkLength(pending, start, last); length; length = chunkLength(pending, start, last)) {
        parts.push(this.#keepChunk(pending.subarray(start, start + length)))
        start += length
      }
      pending = pending.subarray(start)
    }
    const digest = whole.digest()
    const known = this.#get('SELECT id FROM contents WHERE hash = ?', digest) as { id: number } | undefined
    if (known) return { content: known.id, size }
    const content = Number(this.#run('INSERT INTO contents (hash, size) VALUES (?, ?)', digest, size).lastInsertRowid)
    for (const [seq, chunk] of parts.entries()) this.#run('INSERT INTO parts (content, seq, chunk) VALUES (?, ?, ?)', content, seq, chunk)
    return { content, size }
  }

  #keepWhole(data: Buffer): { content: number; size: number } {
    const digest = hash('sha256', data, 'buffer')
    const made = this.#run(
      'INSERT INTO contents (hash, size, data) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING',
      digest,
      data.length,
      data,
    )
    if (made.changes === 0) {
      const { id } = this.#get('SELECT id FROM contents WHERE hash = ?', digest) as { id: number }
      return { content: id, size: data.length }
    }
    this.#bytes += data.length
    return { content: Number(made.lastInsertRowid), size: data.length }
  }

  #keepChunk(data: Buffer): number {
    const digest = hash('sha256', data, 'buffer')
    const known = this.#get('SELECT id FROM chunks WHERE hash = ?', digest) as { id: number } | undefined
    if (known) return known.id
    if (data.length > this.#quota) throw full(this.#quota)
    this.#bytes += data.length
    return Number(this.#run('INSERT INTO chunks (hash, size, data) VALUES (?, ?, ?)', digest, data.length, data).lastInsertRowid)
  }

  /** A kept file in one piece; null: it is in chunks, or not there. */
  whole(content: number): Uint8Array | null {
    const row = this.#get('SELECT data FROM contents WHERE id = ?', content) as { data: Uint8Array | null } | undefined
    return row?.data ?? null
  }

  /** A kept file's chunks, in order. */
  *read(content: number): Generator<Uint8Array> {
    const data = this.whole(content)
    if (data !== null) {
      yield data
      return
    }
    const count = (this.#get('SELECT COUNT(*) AS n FROM parts WHERE content = ?', content) as { n: number }).n
    for (let seq = 0; seq < count; seq += 1) {
      const row = this.#get(
        'SELECT c.data AS data FROM parts p JOIN chunks c ON c.id = p.chunk WHERE p.content = ? AND p.seq = ?',
        content,
        seq,
      )
      yield (row as { data: Uint8Array }).data
    }
  }

  /** The SHA-256 of a kept file, hex. */
  hashOf(content: number): string {
    const row = this.#get('SELECT hash FROM contents WHERE id = ?', content) as { hash: Uint8Array } | undefined
    return row ? Buffer.from(row.hash).toString('hex') : ''
  }

  /** Oldest first. `after`: ids greater than that. */
  changes(
    filter: {
      session?: string | undefined
      turn?: string | undefined
      call?: string | undefined
      id?: number | undefined
      after?: number | undefined
      since?: number | undefined
      run?: number | null | undefined
      standing?: boolean
      unsettled?: boolean
      limit?: number | undefined
    } = {},
  ): Change[] {
    const where: string[] = []
    const values: (string | number)[] = []
    const condition = (text: string, value: string | number | undefined) => {
      if (value === undefined) return
      where.push(text)
      values.push(value)
    }
    condition('session = ?', filter.session)
    condition('turn = ?', filter.turn)
    condition('call = ?', filter.call)
    condition('id = ?', filter.id)
    condition('id > ?', filter.after)
    condition('at > ?', filter.since)
    if (filter.run === null) where.push('run IS NULL')
    else condition('run = ?', filter.run)
    if (filter.standing) where.push('undone IS NULL')
    if (filter.unsettled) where.push('after IS NULL')
    // The newest `limit`, told oldest first.
    const statement = this.#prepared(
      `SELECT ${columns} FROM changes ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''} ORDER BY id DESC${filter.limit === undefined ? '' : ' LIMIT ?'}`,
    )
    statement.setReturnArrays(true)
    const rows = statement.all(...values, ...(filter.limit === undefined ? [] : [filter.limit])) as unknown[] as ChangeRow[]
    return rows.toReversed().map(changeOf)
  }

  /** There is, or is about to be, a file of this process under a name of its own. */
  noteTemp(path: string): void {
    this.transaction(() => this.#run('INSERT OR REPLACE INTO temps (path, holder) VALUES (?, ?)', path, this.#presence.name))
  }

  forgetTemp(path: string): void {
    this.#run('DELETE FROM temps WHERE path = ?', path)
  }

  /** Those of processes that have ended. */
  leftTemps(): string[] {
    const rows = this.#all('SELECT path, holder FROM temps') as { path: string; holder: string }[]
    return rows.filter(({ holder }) => !this.#presence.isOpen(holder)).map(({ path }) => path)
  }

  startRun(kind: 'undo' | 'redo', what: string, at: number): number {
    const { name } = this.#presence
    return Number(this.#run('INSERT INTO runs (at, kind, what, done, holder) VALUES (?, ?, ?, 0, ?)', at, kind, what, name).lastInsertRowid)
  }

  /**
   * `undid`: the changes that are taken back by it. `again`: the runs whose changes are made anew, for a redo. `renewed`: what was restored has
   * another stamp than when it was kept; whoever left it then has left this.
   */
  finishRun(run: number, undid: readonly number[], again: readonly number[], renewed: readonly { was: string; now: string }[]): void {
    // The rows are gone through several times: with SQLite's own 2 MiB each time would write them out and read them in again.
    this.#db.exec(`PRAGMA cache_size = -${limits.runCacheBytes / 1024}`)
    try {
      this.transaction(() => this.#finishRun(run, undid, again, renewed))
    } finally {
      this.#db.exec('PRAGMA cache_size = -2000; PRAGMA shrink_memory')
    }
  }

  #finishRun(run: number, undid: readonly number[], again: readonly number[], renewed: readonly { was: string; now: string }[]): void {
    this.#run('UPDATE runs SET done = 1 WHERE id = ?', run)
    for (const [first, last] of ranges(undid)) this.#run('UPDATE changes SET undone = ? WHERE id BETWEEN ? AND ?', run, first, last)
    for (const id of again) {
      this.#run('UPDATE runs SET done = 1, undone = ? WHERE id = ?', run, id)
      this.#run('UPDATE changes SET undone = NULL WHERE undone = ? AND run IS NULL', id)
    }
    // All at once: what one thing is now may be what another was, because inode numbers are used again.
    this.#db.exec('CREATE TEMP TABLE IF NOT EXISTS renewed (was TEXT PRIMARY KEY, now TEXT NOT NULL) WITHOUT ROWID; DELETE FROM renewed')
    for (const { was, now } of renewed) this.#run('INSERT OR REPLACE INTO renewed (was, now) VALUES (?, ?)', was, now)
    this.#run('UPDATE changes SET after = renewed.now FROM renewed WHERE changes.after = renewed.was')
    this.#run('UPDATE changes SET stamp = renewed.now FROM renewed WHERE changes.stamp = renewed.was')
  }

  /** The newest undo that has not been made good again. */
  lastUndo(): { id: number; what: string } | null {
    const row = this.#get("SELECT id, what FROM runs WHERE undone IS NULL AND done = 1 AND kind = 'undo' ORDER BY id DESC LIMIT 1")
    return (row as { id: number; what: string } | undefined) ?? null
  }

  /** Undo and redo that stopped halfway: of this process, which does one at a time, and of those that have ended. */
  brokenRuns(): { id: number; what: string }[] {
    const rows = this.#all('SELECT id, what, holder FROM runs WHERE undone IS NULL AND done = 0 ORDER BY id') as {
      id: number
      what: string
      holder: string | null
    }[]
    const { name } = this.#presence
    return rows.filter(({ holder }) => holder === null || holder === name || !this.#presence.isOpen(holder))
  }

  usage(): { bytes: number; changes: number; contents: number; contentBytes: number } {
    const changes = this.#get('SELECT COUNT(*) AS n FROM changes') as { n: number }
    const contents = this.#get('SELECT COUNT(*) AS n, COALESCE(SUM(size), 0) AS bytes FROM contents') as { n: number; bytes: number }
    return { bytes: this.#size(), changes: changes.n, contents: contents.n, contentBytes: contents.bytes }
  }

  /** Whether content has come in since the last look beyond the quota; cheap. */
  get overQuota(): boolean {
    return this.#bytes > this.#quota
  }

  /** Forgets what is too old, then the oldest until the rest fits. */
  retain(now: number): void {
    this.transaction(() => {
      this.#run('DELETE FROM changes WHERE at < ?', now - limits.storeMs)
      this.#sweep()
      while (this.#bytes > this.#quota) {
        const { lowest, n } = this.#get('SELECT MIN(id) AS lowest, COUNT(*) AS n FROM changes') as { lowest: number | null; n: number }
        if (lowest === null) break
        // A tenth at a time: few sweeps, and not much more forgotten than must be.
        this.#run('DELETE FROM changes WHERE id IN (SELECT id FROM changes ORDER BY id LIMIT ?)', Math.ceil(n / 10))
        this.#sweep()
      }
    })
    this.#db.exec('PRAGMA incremental_vacuum')
  }

  #sweep(): void {
    this.#run('DELETE FROM contents WHERE id NOT IN (SELECT content FROM changes WHERE content IS NOT NULL)')
    this.#run('DELETE FROM parts WHERE content NOT IN (SELECT id FROM contents)')
    this.#run('DELETE FROM chunks WHERE id NOT IN (SELECT chunk FROM parts)')
    this.#bytes = this.#size()
  }

  #size(): number {
    const row = this.#get(
      'SELECT (SELECT COALESCE(SUM(size), 0) FROM chunks) + (SELECT COALESCE(SUM(size), 0) FROM contents WHERE data IS NOT NULL) AS bytes',
    )
    return (row as { bytes: number }).bytes
  }

  #run(sql: string, ...values: (string | number | null | Uint8Array)[]) {
    try {
      return this.#prepared(sql).run(...values)
    } catch (error) {
      throw storeFault(error)
    }
  }
  #get(sql: string, ...values: (string | number | Uint8Array)[]): unknown {
    return this.#prepared(sql).get(...values)
  }
  #all(sql: string, ...values: (string | number)[]): unknown[] {
    return this.#prepared(sql).all(...values)
  }
  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known) return known
    const made = this.#db.prepare(sql)
    this.#statements.set(sql, made)
    return made
  }
}

const columns = 'id, at, session, turn, call, title, source, op, path, target, before, stamp, after, run, undone'

type ChangeRow = [
  id: number,
  at: number,
  session: string | null,
  turn: string | null,
  call: string | null,
  title: string,
  source: Source,
  op: Change['op'],
  path: string,
  target: string | null,
  before: string,
  stamp: string | null,
  after: string | null,
  run: number | null,
  undone: number | null,
]

/** From an array, field by field: there may be tens of thousands, and an object of each row costs more than to read it. */
function changeOf(row: ChangeRow): Change {
  const [id, at, session, turn, call, title, source, op, path, target, text, stamp, after, run, undone] = row
  const before = JSON.parse(text) as State
  if (stamp !== null && 'stamp' in before) before.stamp = stamp
  return { id, at, session, turn, call, title, source, op, path, target, before, after, run, undone }
}

/** Numbers that follow one another, as first and last of each row of them. */
function ranges(ids: readonly number[]): [number, number][] {
  const found: [number, number][] = []
  for (const id of ids.toSorted((a, b) => a - b)) {
    const last = found.at(-1)
    if (last && id === last[1] + 1) last[1] = id
    else found.push([id, id])
  }
  return found
}

function full(quota: number) {
  return fault('store-full', 'What this change would replace is more than may be kept for undo.', {
    rule: `at most ${quota} bytes a folder`,
  })
}

/** Refused before anything of it was put into the store. */
export function isTooLarge(error: unknown): error is Fault {
  return isFault(error) && error.code === 'store-full' && error.rule !== undefined
}

/** SQLite's "disk full" and the like, as faults; others pass. */
function storeFault(error: unknown): unknown {
  if (!(error instanceof Error) || (error as NodeJS.ErrnoException).code !== 'ERR_SQLITE_ERROR') return error
  return fault('store-full', 'What this change would replace could not be kept for undo.', { cause: error.message })
}
