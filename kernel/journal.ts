/**
 * The journal: session events in SQLite (WAL), durable before they are acknowledged. Reached as the actor `journal`; the session comes
 * from the badge, so an actor can only read and write the session its capability was made for.
 */
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { fault, isFault } from './errors.ts'
import type { Native } from './kernel.ts'
import { maxEntryBytes, maxJournalBytes, maxSessionEvents, sessionRestMs } from './limits.ts'
import { migrate } from './message-log.ts'
import type { Badge, Fault, Protocol } from './types.ts'

/** One step a schema version, oldest first; never changed, only added to. */
const migrations = [
  `CREATE TABLE IF NOT EXISTS events (session TEXT NOT NULL, seq INTEGER NOT NULL, ts REAL NOT NULL, type TEXT NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (session, seq)) WITHOUT ROWID`,
]

export const protocol = {
  /** Durable when the reply comes. Needs a session capability. */
  append: { body: z.strictObject({ type: z.string().max(100), entry: z.unknown() }), reply: z.strictObject({ seq: z.int() }) },
  /** Entries after `after` (default 0), oldest first, at most `limit` (default 1000). Needs a session, from the badge or, without one there, from the body. */
  read: {
    body: z.strictObject({
      session: z.string().max(100).optional(),
      after: z.int().optional(),
      limit: z.int().min(1).max(10_000).optional(),
    }),
    reply: z.strictObject({ entries: z.array(z.strictObject({ seq: z.int(), ts: z.number(), type: z.string(), entry: z.unknown() })) }),
  },
  sessions: {
    body: z.strictObject({}),
    reply: z.strictObject({
      sessions: z.array(z.strictObject({ session: z.string(), entries: z.int(), firstTs: z.number(), lastTs: z.number() })),
    }),
  },
} satisfies Protocol

export type Journal = Native & { close(): void }

type Append = { session: string; type: string; entry: string; done: (seq: number) => void; failed: (error: unknown) => void }

/**
 * @param file path of the database, or `:memory:`
 * @param bounds how large it may be when it is opened, and what may then be forgotten: sessions untouched for longer than `restMs`
 */
export function openJournal(file: string, bounds = { bytes: maxJournalBytes, restMs: sessionRestMs }): Journal {
  const db = new DatabaseSync(file)
  // FULL: an fsync per commit, so that what was acknowledged survives a power cut, not only kill -9.
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000')
  migrate(db, migrations, 'journal')
  forgetOldSessions(db, Date.now(), bounds)
  const last = db.prepare('SELECT COALESCE(MAX(seq), 0) AS seq FROM events WHERE session = ?')
  const insert = db.prepare('INSERT INTO events (session, seq, ts, type, entry) VALUES (?, ?, ?, ?, ?)')
  const select = db.prepare('SELECT seq, ts, type, entry FROM events WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?')
  const summary = db.prepare(
    'SELECT session, COUNT(*) AS entries, MIN(ts) AS firstTs, MAX(ts) AS lastTs FROM events GROUP BY session ORDER BY lastTs DESC',
  )
  /** Next number by session, of sessions that were appended to. */
  const next = new Map<string, number>()
  let waiting: Append[] = []

  function numberFor(session: string): number {
    const known = next.get(session)
    if (known !== undefined) return known
    const found = (last.get(session) as { seq: number }).seq + 1
    next.set(session, found)
    return found
  }

  /** Group commit: what came in one turn of the event loop shares one fsync. All of it is durable, or none of it is acknowledged. */
  function flush(): void {
    const batch = waiting
    waiting = []
    if (batch.length === 0) return
    const seqs: number[] = []
    try {
      db.exec('BEGIN IMMEDIATE')
      const ts = Date.now()
      for (const { session, type, entry } of batch) {
        const seq = numberFor(session)
        insert.run(session, seq, ts, type, entry)
        next.set(session, seq + 1)
        seqs.push(seq)
      }
      db.exec('COMMIT')
    } catch (error) {
      next.clear()
      try {
        db.exec('ROLLBACK')
      } catch {
        // The failure ended the transaction itself.
      }
      for (const { failed } of batch) failed(unwritable(error))
      return
    }
    for (const [index, { done }] of batch.entries()) done(seqs[index] as number)
  }

  function append(session: string, type: string, value: unknown): Promise<number> {
    const entry = JSON.stringify(value ?? null)
    if (Buffer.byteLength(entry) > maxEntryBytes)
      throw fault('too-large', 'The entry is too large for the journal.', { rule: `at most ${maxEntryBytes} bytes` })
    if (numberFor(session) > maxSessionEvents)
      throw fault('overloaded', 'The session has as many entries as the journal keeps.', {
        rule: `at most ${maxSessionEvents} entries`,
        remedy: 'Start a new session.',
      })
    return new Promise((done, failed) => {
      if (waiting.length === 0) setImmediate(flush)
      waiting.push({ session, type, entry, done, failed })
    })
  }

  return {
    id: 'journal',
    protocol,
    async handle(kind, raw, { badge }) {
      try {
        return await perform(kind, raw, badge)
      } catch (error) {
        throw isFault(error) ? error : unwritable(error)
      }
    },
    close() {
      flush()
      db.close()
    },
  }

  async function perform(kind: string, raw: unknown, badge: Badge): Promise<{ body: unknown }> {
    const body = raw as { type: string; entry: unknown; session?: string; after?: number; limit?: number }
    // Who reads sees what was appended before.
    if (kind !== 'append') flush()
    if (kind === 'sessions') return { body: { sessions: summary.all().map((row) => ({ ...row })) } }
    const session = badge.session ?? (kind === 'read' ? body.session : undefined)
    if (session === undefined) throw fault('malformed', 'The journal needs to know which session.')
    if (kind === 'append') return { body: { seq: await append(session, body.type, body.entry) } }
    const rows = select.all(session, body.after ?? 0, body.limit ?? 1000)
    return { body: { entries: rows.map(({ seq, ts, type, entry }) => ({ seq, ts, type, entry: JSON.parse(String(entry)) as unknown })) } }
  }
}

function unwritable(error: unknown): Fault {
  return fault('io-failed', 'The journal could not be read or written.', { cause: error instanceof Error ? error.message : String(error) })
}

/** Keeps the journal within its size: whole sessions go, longest untouched first, and none that was used lately. */
function forgetOldSessions(db: DatabaseSync, now: number, bounds: { bytes: number; restMs: number }): void {
  const size = (): number => {
    const { bytes } = db
      .prepare('SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size')
      .get() as { bytes: number }
    return bytes
  }
  const oldest = db.prepare('SELECT session FROM events GROUP BY session HAVING MAX(ts) < ? ORDER BY MAX(ts) LIMIT 1')
  const remove = db.prepare('DELETE FROM events WHERE session = ?')
  while (size() > bounds.bytes) {
    const found = oldest.get(now - bounds.restMs) as { session: string } | undefined
    if (!found) return
    remove.run(found.session)
  }
}
