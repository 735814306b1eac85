import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { openJournal } from './journal.ts'
import type { NativeFrom } from './kernel.ts'
import { maxEntryBytes } from './limits.ts'

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

test('kill -9 loses nothing that was acknowledged', async () => {
  const file = join(dir, 'c.sqlite')
  const script = `
    import { openJournal } from ${JSON.stringify(new URL('./journal.ts', import.meta.url).href)}
    const journal = openJournal(${JSON.stringify(file)})
    for (;;) {
      const { body } = await journal.handle('append', { type: 't', entry: 'x'.repeat(500) }, { badge: { session: 's' } })
      process.stdout.write(body.seq + '\\n')
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (output.length > 200) child.kill('SIGKILL')
  })
  await once(child, 'close')
  const acknowledged = Number(output.trimEnd().split('\n').at(-1))
  const journal = openJournal(file)
  const { entries } = (await call(journal, 's', 'read', { limit: 10_000 })) as { entries: { seq: number }[] }
  expect(entries.length).toBeGreaterThanOrEqual(acknowledged)
  expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index + 1))
  journal.close()
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
