/** What the message log keeps when it would grow beyond its bound. That it is complete, and survives a crash, is in replay.test.ts. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openMessageLog } from './message-log.ts'

const line = { event: 'x'.repeat(10_000), value: '"on"', did: [], digest: 'd', error: null }

test('beyond its size the oldest spans go with their lines, and the newest of each actor stays', () => {
  const bytes = 200_000
  const log = openMessageLog(':memory:', { version: 'test', bounds: { bytes, everyChars: 50_000 } })
  const begin = (actor: string): number => log.begin({ actor, kind: actor, incarnation: 1, session: 's-1', begins: '{}' }) as number
  const quiet = begin('quiet')
  log.add(quiet, 0, 's-1', line)
  const spans = Array.from({ length: 12 }, () => {
    const span = begin('busy')
    for (let n = 0; n < 5; n++) log.add(span, n, 's-1', line)
    // Who reads has it written.
    log.allSpans()
    return span
  })
  const kept = log.allSpans().map(({ id }) => id)
  // In order, a gap at the beginning only, and what has long been quiet is still there.
  expect(kept[0]).toBe(quiet)
  expect(kept.slice(1)).toEqual(spans.slice(-(kept.length - 1)))
  expect(kept.length).toBeLessThan(spans.length)
  expect(kept.length).toBeGreaterThan(1)
  const size = kept.reduce((sum, id) => sum + [...log.linesOf(id)].length * line.event.length, 0)
  expect(size).toBeLessThan(bytes + 50_000)
  for (const id of kept.slice(1)) expect([...log.linesOf(id)].map(({ n }) => n)).toEqual([0, 1, 2, 3, 4])
  expect(spans.filter((id) => !kept.includes(id)).flatMap((id) => [...log.linesOf(id)])).toEqual([])
  expect(log.failure()).toBeNull()
  log.close()
})

test('its write-ahead log is begun when it is opened: no first step waits for that', () => {
  const dir = mkdtempSync(join(tmpdir(), 'bulkhead-log-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'messages.sqlite')
  openMessageLog(file, { version: 'test' }).close()
  const log = openMessageLog(file, { version: 'test' })
  expect(statSync(`${file}-wal`).size).toBeGreaterThan(0)
  log.close()
})
