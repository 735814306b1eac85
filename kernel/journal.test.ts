import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { openJournal } from './journal.ts'
import type { NativeFrom } from './kernel.ts'
import { maxEntryBytes } from './limits.ts'
import { migrate } from './message-log.ts'

const dir = mkdtempSync(join(tmpdir(), 'bulkhead-journal-'))
afterAll(() => rmSync(dir, { recursive: true }))

const from = (session: string | null): NativeFrom => ({
  id: 'x',
  badge: { from: 'x', session, limits: {} },
  caps: [],
  part: () => {},
  signal: new AbortController().signal,
})
const call = (journal: ReturnType<typeof openJournal>, session: string | null, kind: string, body: unknown) =>
  journal.handle(kind, body as never, from(session)).then((reply) => reply.body)

test('entries are numbered per session and read back in order', async () => {
  const journal = openJournal(join(dir, 'a.sqlite'))
  expect(await call(journal, 's-1', 'append', { type: 'user', entry: { text: 'ü' } })).toEqual({ seq: 1 })
  expect(await call(journal, 's-2', 'append', { type: 'user', entry: 1 })).toEqual({ seq: 1 })
  expect(await call(journal, 's-1', 'append', { type: 'assistant', entry: [1] })).toEqual({ seq: 2 })
  expect(await call(journal, 's-1', 'read', { after: 1 })).toMatchObject({ entries: [{ seq: 2, type: 'assistant', entry: [1] }] })
  expect(await call(journal, null, 'sessions', {})).toMatchObject({ sessions: [{ entries: 2 }, { entries: 1 }] })
  journal.close()
})

test('the badge decides the session: a claim in the body is not believed, and no session is refused', async () => {
  const journal = openJournal(join(dir, 'b.sqlite'))
  await call(journal, 's-1', 'append', { type: 'user', entry: 'secret' })
  expect(await call(journal, 's-2', 'read', { session: 's-1' })).toEqual({ entries: [] })
  await expect(call(journal, null, 'append', { type: 'user', entry: 1 })).rejects.toMatchObject({ code: 'malformed' })
  journal.close()
})

describe('no acknowledged line is lost', () => {
  const sizes = fc.array(fc.nat(3_000), { minLength: 1, maxLength: 8 })
  let files = 0
  const fresh = () => join(dir, `cut-${files++}.sqlite`)

  /** Every line of every session, by session. */
  async function linesIn(file: string): Promise<Record<string, number[]>> {
    const journal = openJournal(file)
    const found: Record<string, number[]> = {}
    for (const session of ['s-1', 's-2']) {
      const { entries } = (await call(journal, session, 'read', { limit: 10_000 })) as { entries: { seq: number; entry: { n: number } }[] }
      // Numbered without a gap, and each line is the one that was written under its number.
      expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index + 1))
      found[session] = entries.map(({ entry }) => entry.n)
    }
    journal.close()
    return found
  }

  /**
   * What a crash leaves of a write-ahead log: everything up to the last sync, of what came after it some first part, and behind that anything.
   * Each batch is acknowledged together; the log is then cut somewhere behind any of these points.
   */
  test('wherever the write-ahead log is torn after the line was acknowledged', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(sizes, { minLength: 1, maxLength: 6 }),
        fc.nat(5),
        fc.nat(),
        fc.uint8Array({ maxLength: 200 }),
        async (batches, point, tear, rubbish) => {
          const file = fresh()
          const journal = openJournal(file)
          const written: Record<string, number[]> = { 's-1': [], 's-2': [] }
          const marks: { bytes: number; lines: Record<string, number> }[] = []
          let n = 0
          for (const batch of batches) {
            await Promise.all(
              batch.map((size) => {
                const session = size % 2 === 0 ? 's-1' : 's-2'
                written[session]?.push(n)
                return call(journal, session, 'append', { type: 't', entry: { n: n++, pad: 'x'.repeat(size) } })
              }),
            )
            marks.push({
              bytes: statSync(`${file}-wal`).size,
              lines: { 's-1': written['s-1']?.length ?? 0, 's-2': written['s-2']?.length ?? 0 },
            })
          }
          const { bytes, lines } = marks[point % marks.length] as (typeof marks)[number]
          const copy = fresh()
          copyFileSync(file, copy)
          const wal = readFileSync(`${file}-wal`)
          journal.close()
          const kept = bytes + (wal.length > bytes ? tear % (wal.length - bytes) : 0)
          writeFileSync(`${copy}-wal`, Buffer.concat([wal.subarray(0, kept), rubbish]))
          const found = await linesIn(copy)
          for (const session of ['s-1', 's-2']) {
            expect(found[session]?.length).toBeGreaterThanOrEqual(lines[session] ?? 0)
            expect(found[session]).toEqual(written[session]?.slice(0, found[session]?.length))
          }
          for (const path of [file, copy]) for (const part of ['', '-wal', '-shm']) if (existsSync(path + part)) rmSync(path + part)
        },
      ),
      { numRuns: 40 },
    )
  })

  /** Large lines, so that the log is written back into the database meanwhile: a kill falls into that as well. */
  test('whenever the process is killed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1_500 }),
        fc.integer({ min: 10, max: 20_000 }),
        fc.integer({ min: 1, max: 20 }),
        async (after, size, together) => {
          const file = fresh()
          const script = `
          import { openJournal } from ${JSON.stringify(new URL('./journal.ts', import.meta.url).href)}
          const journal = openJournal(${JSON.stringify(file)})
          const append = (n) => journal.handle('append', { type: 't', entry: { n, pad: 'x'.repeat(${size}) } }, { badge: { session: 's-1' } })
          for (let n = 0; ; n += ${together}) {
            const done = await Promise.all(Array.from({ length: ${together} }, (_, at) => append(n + at)))
            process.stdout.write(done.at(-1).body.seq + '\\n')
          }`
          const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
          let output = ''
          child.stdout.setEncoding('utf8').on('data', (text: string) => {
            output += text
            if (Number(output.trimEnd().split('\n').at(-1)) >= after) child.kill('SIGKILL')
          })
          await once(child, 'close')
          const acknowledged = Number(output.slice(0, output.lastIndexOf('\n')).split('\n').at(-1))
          const found = await linesIn(file)
          expect(found['s-1']?.length).toBeGreaterThanOrEqual(acknowledged)
          expect(found['s-1']).toEqual(found['s-1']?.map((_, index) => index))
        },
      ),
      { numRuns: 4 },
    )
  })
})

test('what comes in one turn shares one commit, numbered in order; a reader sees what was appended before it', async () => {
  const journal = openJournal(join(dir, 'd.sqlite'))
  const asked = Array.from({ length: 50 }, (_, n) => call(journal, n % 2 === 0 ? 's-1' : 's-2', 'append', { type: 't', entry: n }))
  expect(await call(journal, 's-1', 'read', {})).toMatchObject({ entries: { length: 25 } })
  expect((await Promise.all(asked)).map((reply) => (reply as { seq: number }).seq)).toEqual(asked.map((_, n) => Math.floor(n / 2) + 1))
  journal.close()
})

test('an entry too large is refused, and when the file cannot be written nobody is told that it was', async () => {
  const file = join(dir, 'e.sqlite')
  const journal = openJournal(file)
  await expect(call(journal, 's', 'append', { type: 't', entry: 'x'.repeat(maxEntryBytes) })).rejects.toMatchObject({ code: 'too-large' })
  const db = new DatabaseSync(file)
  db.exec('ALTER TABLE events RENAME TO elsewhere')
  const both = [call(journal, 's', 'append', { type: 't', entry: 1 }), call(journal, 's', 'append', { type: 't', entry: 2 })]
  expect(await Promise.allSettled(both)).toMatchObject([{ reason: { code: 'io-failed' } }, { reason: { code: 'io-failed' } }])
  db.exec('ALTER TABLE elsewhere RENAME TO events')
  db.close()
  expect(await call(journal, 's', 'append', { type: 't', entry: 3 })).toEqual({ seq: 1 })
  journal.close()
})

test('a journal of a newer version is not touched', () => {
  const file = join(dir, 'f.sqlite')
  openJournal(file).close()
  const db = new DatabaseSync(file)
  db.exec('PRAGMA user_version = 99')
  db.close()
  expect(() => openJournal(file)).toThrow(expect.objectContaining({ code: 'io-failed', remedy: 'Update Bulkhead.' }))
})

test('an older file is brought to the newest schema with what is in it; a step that fails leaves the version before', () => {
  const file = join(dir, 'g.sqlite')
  const first = 'CREATE TABLE things (name TEXT)'
  const open = (...steps: string[]): { rows: unknown; version: unknown } => {
    const db = new DatabaseSync(file)
    try {
      migrate(db, steps, 'test')
    } finally {
      db.exec("INSERT INTO things (name) VALUES ('one more')")
    }
    const rows = db.prepare('SELECT * FROM things').all().length
    const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
    db.close()
    return { rows, version }
  }
  expect(open(first)).toEqual({ rows: 1, version: 1 })
  const second = 'ALTER TABLE things ADD COLUMN size INTEGER DEFAULT 7'
  expect(() => open(first, second, 'DROP TABLE things; DROP TABLE nothing')).toThrow(/nothing/)
  // The second step was taken, the third undone as a whole, and the file is not left locked.
  expect(open(first, second)).toEqual({ rows: 3, version: 2 })
  expect(open(first, second, 'UPDATE things SET size = size + 1')).toEqual({ rows: 4, version: 3 })
})

test('beyond its size, sessions that rested long enough go, oldest first, and no other', async () => {
  const file = join(dir, 'h.sqlite')
  const journal = openJournal(file)
  const oldestFirst = ['oldest', 'older', 'newest']
  for (const session of oldestFirst) await call(journal, session, 'append', { type: 't', entry: 'x'.repeat(200_000) })
  journal.close()
  const db = new DatabaseSync(file)
  const hour = 3_600_000
  for (const [index, session] of oldestFirst.entries())
    db.prepare('UPDATE events SET ts = ? WHERE session = ?').run(Date.now() - (3 - index) * hour, session)
  db.close()
  const sessions = async (bounds: { bytes: number; restMs: number }): Promise<string[]> => {
    const opened = openJournal(file, bounds)
    const found = ((await call(opened, null, 'sessions', {})) as { sessions: { session: string }[] }).sessions.map(({ session }) => session)
    opened.close()
    return found.toSorted()
  }
  const all = ['newest', 'older', 'oldest']
  expect(await sessions({ bytes: 10_000_000, restMs: 0 })).toEqual(all)
  expect(await sessions({ bytes: 10_000, restMs: 4 * hour })).toEqual(all)
  expect(await sessions({ bytes: 500_000, restMs: 0 })).toEqual(['newest', 'older'])
  expect(await sessions({ bytes: 10_000, restMs: 1.5 * hour })).toEqual(['newest'])
})
