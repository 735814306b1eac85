/** The audit chain on a real folder: written, damaged in every way, verified; opened again after crashes. */
import { appendFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lineText } from './audit-chain.ts'
import { type AuditLimits, openAudit } from './audit-store.ts'
import { headFile, keyFile, type Verdict, verifyAudit } from './audit-verify.ts'

const small: AuditLimits = { segmentBytes: 1_500, segments: 100 }
const base = mkdtempSync(join(tmpdir(), 'audit-'))
let dir: string
let count = 0
beforeEach(() => {
  dir = join(base, String(++count))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
afterAll(() => rmSync(base, { recursive: true, force: true }))

async function fill(n: number, limits: AuditLimits = small): Promise<void> {
  const store = openAudit(dir, limits)
  for (let i = 0; i < n; i++)
    await store.append({ from: 'consent', session: 's-1', action: 'permission.allowed', data: { i, path: `ä/${i}` } })
  await store.close()
}
const segments = () =>
  readdirSync(dir)
    .filter((name) => name.endsWith('.jsonl'))
    .toSorted()
const path = (name: string | undefined) => join(dir, name ?? '')

/** Damages a copy of the folder and verifies that. */
function verdictAfter(damage: (copy: string) => void): Verdict {
  const copy = `${dir}.copy`
  rmSync(copy, { recursive: true, force: true })
  cpSync(dir, copy, { recursive: true })
  try {
    damage(copy)
    return verifyAudit(copy)
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

test('what was appended is there, in order, across files, and verifies', async () => {
  await fill(20)
  expect(segments().length).toBeGreaterThan(2)
  const seen: unknown[] = []
  const verdict = verifyAudit(dir, {}, ({ data }) => seen.push(data['i']))
  expect(verdict).toMatchObject({ ok: true, entries: 20, first: 1, last: { n: 20 }, afterHead: 0, broken: null })
  expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i))
  await fill(3)
  expect(verifyAudit(dir)).toMatchObject({ ok: true, entries: 23 })
})

test('entries that come together are all written, each once', async () => {
  const store = openAudit(dir, small)
  const links = await Promise.all(
    Array.from({ length: 300 }, (_, i) => store.append({ from: 'x', session: null, action: 'a', data: { i } })),
  )
  expect(links.map(({ n }) => n)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1))
  expect(store.head()).toEqual(links.at(-1))
  await store.close()
  expect(verifyAudit(dir)).toMatchObject({ ok: true, entries: 300 })
})

describe('any damage is found', () => {
  test('a flipped bit, in any file', async () => {
    await fill(12)
    const files = readdirSync(dir).filter((name) => name !== keyFile)
    fc.assert(
      fc.property(fc.constantFrom(...files), fc.nat(), fc.integer({ min: 0, max: 7 }), (file, at, bit) => {
        const verdict = verdictAfter((copy) => {
          const bytes = readFileSync(join(copy, file))
          const index = at % bytes.length
          bytes[index] = (bytes[index] ?? 0) ^ (1 << bit)
          writeFileSync(join(copy, file), bytes)
        })
        expect(verdict.ok).toBe(false)
        expect(verdict.broken?.file).toBeDefined()
      }),
      { numRuns: 150 },
    )
  })

  test('a dropped line, and the first broken line is named', async () => {
    await fill(12)
    fc.assert(
      fc.property(fc.nat({ max: 11 }), (victim) => {
        const verdict = verdictAfter((copy) => rewrite(copy, (lines) => lines.filter((_, index) => index !== victim)))
        expect(verdict.broken).toMatchObject({ n: victim + 1 })
      }),
      { numRuns: 12 },
    )
  })

  test('reordered, doubled and cut off lines', async () => {
    await fill(12)
    fc.assert(
      fc.property(fc.nat({ max: 10 }), fc.nat({ max: 11 }), fc.boolean(), (a, b, double) => {
        const from = Math.min(a, b)
        const to = Math.max(a + 1, b)
        const verdict = verdictAfter((copy) =>
          rewrite(copy, (lines) => {
            if (double) return lines.toSpliced(to, 0, lines[from] as string)
            const changed = [...lines]
            changed[from] = lines[to] as string
            changed[to] = lines[from] as string
            return changed
          }),
        )
        expect(verdict.ok).toBe(false)
        if (!double) expect(verdict.broken).toMatchObject({ n: from + 1 })
      }),
      { numRuns: 40 },
    )
    const last = segments().at(-1) ?? ''
    const { length } = readFileSync(path(last))
    fc.assert(
      fc.property(fc.integer({ min: 0, max: length - 1 }), (bytes) => {
        expect(verdictAfter((copy) => truncateSync(join(copy, last), bytes)).ok).toBe(false)
      }),
      { numRuns: 60 },
    )
  })

  test('a removed file, a removed head, a head from before', async () => {
    await fill(6)
    const before = readFileSync(path(headFile))
    await fill(6)
    for (const name of segments()) expect(verdictAfter((copy) => unlinkSync(join(copy, name))).ok).toBe(false)
    expect(verdictAfter((copy) => unlinkSync(join(copy, headFile))).broken?.file).toBe(headFile)
    // Lines after the head are not an error by themselves, a crash leaves them, but they are said.
    expect(verdictAfter((copy) => writeFileSync(join(copy, headFile), before))).toMatchObject({ ok: true, afterHead: 6 })
  })

  test('a log that was rewritten and signed with another key, or cut together with its head, is found by what was noted elsewhere', async () => {
    await fill(6)
    const good = verifyAudit(dir)
    const early = `${dir}.early`
    cpSync(dir, early, { recursive: true })
    await fill(6)
    const link = verifyAudit(dir).last ?? { n: 0, hash: '' }
    expect(verifyAudit(dir, { link, key: good.key ?? '' }).ok).toBe(true)
    expect(verifyAudit(early).ok).toBe(true)
    expect(verifyAudit(early, { link }).broken).toMatchObject({ n: 12, why: 'entry 12 is not there' })
    rmSync(early, { recursive: true })
    rmSync(dir, { recursive: true })
    await fill(12)
    expect(verifyAudit(dir).ok).toBe(true)
    expect(verifyAudit(dir, { key: good.key ?? '' }).broken?.file).toBe(headFile)
    expect(verifyAudit(dir, { link }).broken).toMatchObject({ n: 12 })
  })
})

describe('opened again', () => {
  test('after a crash between a line and the head, and within a line', async () => {
    await fill(3, { segmentBytes: 100_000, segments: 10 })
    const [name] = segments()
    const { last } = verifyAudit(dir)
    const { text } = lineText(last ?? { n: 0, hash: '' }, new Date(0).toISOString(), { from: 'x', session: null, action: 'a', data: {} })
    appendFileSync(path(name), `${text}\n{"n":5,"at`)
    expect(verifyAudit(dir)).toMatchObject({ ok: true, entries: 4, afterHead: 1 })
    await fill(1, { segmentBytes: 100_000, segments: 10 })
    const actions: string[] = []
    expect(verifyAudit(dir, {}, ({ action }) => actions.push(action))).toMatchObject({ ok: true, entries: 6, afterHead: 0 })
    expect(actions.slice(3)).toEqual(['a', 'audit.unsigned', 'permission.allowed'])
  })

  test.each([
    ['cut', () => truncateSync(path(segments().at(-1)), 300)],
    ['emptied', () => truncateSync(path(segments().at(-1)), 0)],
    ['without its head', () => unlinkSync(path(headFile))],
    ['without its files', () => segments().forEach((name) => unlinkSync(path(name)))],
    [
      'changed in the middle',
      () => writeFileSync(path(segments().at(-1)), readFileSync(path(segments().at(-1)), 'utf8').replace('"i":', '"j":')),
    ],
  ])('%s: it goes on, keeps what it found, and says so for good', async (_what, damage) => {
    await fill(9)
    damage()
    const kept = segments().map((name) => readFileSync(path(name), 'utf8'))
    await fill(2)
    expect(
      segments()
        .map((name) => readFileSync(path(name), 'utf8'))
        .slice(0, kept.length)
        .every((text, i) => text.startsWith(kept[i] ?? '')),
    ).toBe(true)
    const verdict = verifyAudit(dir)
    expect(verdict.ok).toBe(false)
    await fill(2)
    expect(verifyAudit(dir).broken).toEqual(verdict.broken)
  })

  test('old files are removed beyond the limit, and what is left verifies', async () => {
    await fill(60, { segmentBytes: 1_000, segments: 3 })
    expect(segments().length).toBe(3)
    const verdict = verifyAudit(dir)
    expect(verdict).toMatchObject({ ok: true, last: { n: 60 } })
    expect(verdict.first).toBeGreaterThan(1)
    expect(verdictAfter((copy) => unlinkSync(join(copy, segments()[0] ?? ''))).ok).toBe(false)
  })

  test('a folder that cannot be written refuses with audit-failed and works again when it can', async () => {
    await fill(1, { segmentBytes: 10, segments: 10 })
    const store = openAudit(dir, { segmentBytes: 10, segments: 10 })
    const away = `${dir}.away`
    cpSync(dir, away, { recursive: true })
    rmSync(dir, { recursive: true })
    const entry = { from: 'x', session: null, action: 'a', data: {} }
    await expect(store.append(entry)).rejects.toMatchObject({ code: 'audit-failed' })
    expect(store.trouble()).toContain('ENOENT')
    cpSync(away, dir, { recursive: true })
    rmSync(away, { recursive: true })
    await expect(store.append(entry)).resolves.toMatchObject({ n: 2 })
    expect(store.trouble()).toBeNull()
    await store.close()
    expect(verifyAudit(dir)).toMatchObject({ ok: true, entries: 2 })
  })
})

/** Changes the lines of all files as if they were one, keeping each file's share of lines. */
function rewrite(copy: string, change: (lines: string[]) => string[]): void {
  const names = readdirSync(copy)
    .filter((name) => name.endsWith('.jsonl'))
    .toSorted()
  const texts = names.map((name) => readFileSync(join(copy, name), 'utf8').split('\n').slice(0, -1))
  const changed = change(texts.flat())
  let at = 0
  for (const [index, name] of names.entries()) {
    const share = index === names.length - 1 ? changed.length : at + (texts[index]?.length ?? 0)
    writeFileSync(
      join(copy, name),
      changed
        .slice(at, share)
        .map((line) => `${line}\n`)
        .join(''),
    )
    at = share
  }
}
