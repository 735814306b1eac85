/**
 * The journal: session events in SQLite (WAL), durable before they are acknowledged. Reached as the actor `journal`; the session comes
 * from the badge, so an actor can only read and write the session its capability was made for.
 */
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { fault } from './errors.ts'
import type { Native } from './kernel.ts'
import type { Protocol } from './types.ts'

/** Raise when the tables change, and add a migration step below. */
const schemaVersion = 1

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

/** @param file path of the database, or `:memory:` */
export function openJournal(file: string): Journal {
  const db = new DatabaseSync(file)
  // FULL: an fsync per commit, so that what was acknowledged survives a power cut, not only kill -9.
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000')
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > schemaVersion)
    throw fault('io-failed', 'The journal was written by a newer version of Bulkhead.', {
      cause: `schema ${version}, known ${schemaVersion}`,
      remedy: 'Update Bulkhead.',
    })
  if (version < 1) {
    db.exec(`
      CREATE TABLE IF NOT EXISTS events (session TEXT NOT NULL, seq INTEGER NOT NULL, ts REAL NOT NULL, type TEXT NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (session, seq)) WITHOUT ROWID;
      PRAGMA user_version = ${schemaVersion}`)
  }
  const insert = db.prepare(
    'INSERT INTO events (session, seq, ts, type, entry) SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ? FROM events WHERE session = ? RETURNING seq',
  )
  const select = db.prepare('SELECT seq, ts, type, entry FROM events WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?')
  const summary = db.prepare(
    'SELECT session, COUNT(*) AS entries, MIN(ts) AS firstTs, MAX(ts) AS lastTs FROM events GROUP BY session ORDER BY lastTs DESC',
  )

  return {
    id: 'journal',
    protocol,
    async handle(kind, raw, { badge }) {
      const body = raw as { type: string; entry: unknown; session?: string; after?: number; limit?: number }
      if (kind === 'sessions') return { body: { sessions: summary.all().map((row) => ({ ...row })) } }
      const session = badge.session ?? (kind === 'read' ? body.session : undefined)
      if (session === undefined) throw fault('malformed', 'The journal needs to know which session.')
      if (kind === 'append') {
        const { seq } = insert.get(session, Date.now(), body.type, JSON.stringify(body.entry ?? null), session) as { seq: number }
        return { body: { seq } }
      }
      const rows = select.all(session, body.after ?? 0, body.limit ?? 1000)
      return { body: { entries: rows.map(({ seq, ts, type, entry }) => ({ seq, ts, type, entry: JSON.parse(String(entry)) as unknown })) } }
    },
    close: () => db.close(),
  }
}
