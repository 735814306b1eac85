/**
 * The message log: every step of every actor, in SQLite (WAL), so that a run can be taken again (`bulkhead replay SESSION`).
 *
 *   spans   an actor from a start, or from a snapshot on, to its end or the next snapshot; each can be replayed by itself
 *   lines   the steps of a span, in order
 *
 * Lines gathered in one turn of the event loop are one transaction (group commit). What an actor does outside waits for it (`whenDurable`).
 * `synchronous` is NORMAL: what was committed survives the death of the process at any instant; a power cut may cost the last moments of
 * this log, never its integrity, and never a session's events, which are in the journal. docs/adr/0011-message-log.md says why.
 */
import { DatabaseSync } from 'node:sqlite'
import { fault } from './errors.ts'
import { maxBufferedLines, maxMessageLogBytes, trimEveryChars } from './limits.ts'
import type { Line } from './transcript.ts'

/** In BULKHEAD_HOME. */
export const messageLogName = 'messages.sqlite'

/** One step a schema version, oldest first; never changed, only added to. */
const migrations = [
  `CREATE TABLE spans (id INTEGER PRIMARY KEY, actor TEXT NOT NULL, kind TEXT NOT NULL, incarnation INTEGER NOT NULL, version TEXT NOT NULL, ts REAL NOT NULL, session TEXT, begins TEXT NOT NULL);
   CREATE INDEX spans_by_session ON spans (session);
   CREATE TABLE lines (span INTEGER NOT NULL, n INTEGER NOT NULL, ts REAL NOT NULL, session TEXT, event TEXT NOT NULL, value TEXT NOT NULL, did TEXT NOT NULL, digest TEXT NOT NULL, error TEXT, PRIMARY KEY (span, n)) WITHOUT ROWID;
   CREATE INDEX lines_by_session ON lines (session, span) WHERE session IS NOT NULL;`,
]

export type Span = {
  id: number
  actor: string
  kind: string
  incarnation: number
  version: string
  ts: number
  session: string | null
  /** JSON: `{ input }` of a start, or `{ snapshot }`. */
  begins: string
}
export type StoredLine = Line & { n: number; ts: number; session: string | null }
type Waiting = { span: number; n: number; ts: number; session: string | null; line: Line }

type Options = {
  version: string
  onFailure?: (error: unknown) => void
  readOnly?: boolean
  bounds?: { bytes: number; everyChars: number }
}
export type MessageLog = ReturnType<typeof openMessageLog>

/**
 * @param file path of the database, or `:memory:`
 * @param options.onFailure told once when lines can no longer be written; the log then stops and the product goes on
 * @param options.bounds its size in bytes, looked at whenever so many characters of events were written
 */
export function openMessageLog(file: string, options: Options) {
  const { bounds = { bytes: maxMessageLogBytes, everyChars: trimEveryChars } } = options
  const db = new DatabaseSync(file, { readOnly: options.readOnly ?? false })
  db.exec('PRAGMA busy_timeout = 5000')
  if (!options.readOnly) {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    migrate(db, migrations, 'message log')
  }
  const insertSpan = options.readOnly
    ? null
    : db.prepare('INSERT INTO spans (actor, kind, incarnation, version, ts, session, begins) VALUES (?, ?, ?, ?, ?, ?, ?)')
  const insertLine = options.readOnly
    ? null
    : db.prepare('INSERT INTO lines (span, n, ts, session, event, value, did, digest, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
  let waiting: Waiting[] = []
  let waiters: (() => void)[] = []
  let scheduled = false
  let failed: unknown = null
  let written = 0

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    setImmediate(flush)
  }

  function flush(): void {
    scheduled = false
    const lines = waiting
    const told = waiters
    waiting = []
    waiters = []
    if (failed === null && lines.length > 0) {
      try {
        db.exec('BEGIN IMMEDIATE')
        for (const { span, n, ts, session, line } of lines)
          insertLine?.run(span, n, ts, session, line.event, line.value, line.did.join('\n'), line.digest, line.error)
        db.exec('COMMIT')
        for (const { line } of lines) written += line.event.length
        if (written > bounds.everyChars) {
          written = 0
          trim()
        }
      } catch (error) {
        fail(error)
      }
    }
    for (const tell of told) tell()
  }

  /** A full disk must not silence the product: what waited goes on, and `inspect` says that the log is broken off. */
  function fail(error: unknown): void {
    failed = error
    try {
      db.exec('ROLLBACK')
    } catch {
      // There was no transaction left to end.
    }
    options.onFailure?.(error)
  }

  /** Oldest spans go first, until the file is within its bound; the newest span of each actor stays. */
  function trim(): void {
    const size = (): number => {
      const { bytes } = db
        .prepare(
          'SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size',
        )
        .get() as { bytes: number }
      return bytes
    }
    const oldest = db.prepare('SELECT id FROM spans WHERE id NOT IN (SELECT MAX(id) FROM spans GROUP BY actor) ORDER BY id LIMIT 1')
    const removeLines = db.prepare('DELETE FROM lines WHERE span = ?')
    const removeSpan = db.prepare('DELETE FROM spans WHERE id = ?')
    while (size() > bounds.bytes) {
      const span = oldest.get() as { id: number } | undefined
      if (!span) return
      removeLines.run(span.id)
      removeSpan.run(span.id)
    }
  }

  if (!options.readOnly) {
    try {
      // The first write to a new write-ahead log waits for the disk: now, while the first actor loads, and not at its first step.
      db.exec(`PRAGMA user_version = ${migrations.length}`)
    } catch (error) {
      fail(error)
    }
  }

  return {
    /** Begins a span; null when the log has failed. */
    begin(span: { actor: string; kind: string; incarnation: number; session: string | null; begins: string }): number | null {
      if (failed !== null) return null
      try {
        const { actor, kind, incarnation, session, begins } = span
        return Number(insertSpan?.run(actor, kind, incarnation, options.version, Date.now(), session, begins).lastInsertRowid)
      } catch (error) {
        fail(error)
        return null
      }
    },
    add(span: number, n: number, session: string | null, line: Line): void {
      if (failed !== null) return
      waiting.push({ span, n, ts: Date.now(), session, line })
      if (waiting.length >= maxBufferedLines) flush()
      else schedule()
    },
    /** Calls back once everything added so far is committed, or cannot be. */
    whenDurable(tell: () => void): void {
      waiters.push(tell)
      schedule()
    },
    /** Why nothing more is written, or null. */
    failure: (): string | null => (failed === null ? null : failed instanceof Error ? failed.message : JSON.stringify(failed)),
    /** Spans of every actor that took part in the session, in order. */
    spansOf(session: string): Span[] {
      flush()
      const rows = db
        .prepare(`SELECT * FROM spans WHERE session = ? OR id IN (SELECT DISTINCT span FROM lines WHERE session = ?) ORDER BY id`)
        .all(session, session)
      return rows as unknown as Span[]
    },
    allSpans(): Span[] {
      flush()
      return db.prepare('SELECT * FROM spans ORDER BY id').all() as unknown as Span[]
    },
    *linesOf(span: number): Generator<StoredLine> {
      const rows = db.prepare('SELECT n, ts, session, event, value, did, digest, error FROM lines WHERE span = ? ORDER BY n').iterate(span)
      for (const row of rows) {
        const line = row as unknown as Omit<StoredLine, 'did'> & { did: string }
        yield { ...line, did: line.did === '' ? [] : line.did.split('\n') }
      }
    },
    close(): void {
      flush()
      db.close()
    },
  }
}

/** Brings a database to the newest schema, one version after another, each in its own transaction. */
export function migrate(db: DatabaseSync, steps: readonly string[], name: string): void {
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > steps.length)
    throw fault('io-failed', `The ${name} was written by a newer version of Bulkhead.`, {
      cause: `schema ${version}, known ${steps.length}`,
      remedy: 'Update Bulkhead.',
    })
  for (let next = version; next < steps.length; next++) {
    try {
      db.exec(`BEGIN; ${steps[next]}; PRAGMA user_version = ${next + 1}; COMMIT`)
    } catch (error) {
      db.exec('ROLLBACK')
      throw error
    }
  }
}
