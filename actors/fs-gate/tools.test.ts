import * as fs from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Limits } from '../../kernel/index.ts'
import { tempPrefix } from './atomic-write.ts'
import { treeOf } from '../../test/harness/tree.ts'
import { editFile, multiEdit, previewChange, writeFile } from './change-tools.ts'
import { sha256Of } from './file-content.ts'
import { undoChanges } from './history-tools.ts'
import { limits } from './limits.ts'
import { deletePath, movePath } from './tree-tools.ts'
import { listFolder, readFile, statPath } from './read-tools.ts'
import { globFiles, grepFiles } from './search-tools.ts'
import { never, noLimits, openDescriptors, refusal, secret, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

const path = (...parts: string[]) => join(folder.root, ...parts)
const put = (name: string, content: string | Uint8Array) => {
  fs.mkdirSync(join(path(name), '..'), { recursive: true })
  fs.writeFileSync(path(name), content)
}
const on = (name: string) => fs.readFileSync(path(name), 'utf8')
const leftovers = () => fs.readdirSync(folder.root, { recursive: true }).filter((name) => String(name).includes(tempPrefix))
const write = (body: Parameters<typeof writeFile>[1], grant: Limits = noLimits) => writeFile(folder.gate, body, grant, never)
const edit = (body: Parameters<typeof editFile>[1], grant: Limits = noLimits) => editFile(folder.gate, body, grant, never)
const read = (body: Parameters<typeof readFile>[1], grant: Limits = noLimits) => readFile(folder.gate, body, grant, never)

describe('read', () => {
  test('whole, in windows, and what it says about the file', async () => {
    put('a.txt', 'one\ntwo\r\nthree')
    expect(await read({ path: 'a.txt' })).toEqual({
      text: 'one\ntwo\r\nthree',
      lines: 3,
      truncated: false,
      size: 14,
      sha256: sha256Of('one\ntwo\r\nthree'),
    })
    expect(await read({ path: 'a.txt', offset: 2, limit: 1 })).toMatchObject({ text: 'two\r\n', lines: 3, truncated: true })
    expect(await read({ path: 'a.txt', offset: 9 })).toMatchObject({ text: '', truncated: false })
    put('empty', '')
    expect(await read({ path: 'empty' })).toMatchObject({ text: '', lines: 0, size: 0 })
  })

  test('is exact over chunk borders', async () => {
    const text = 'äöü€😀\n'.repeat(200_000)
    put('big.txt', text)
    const reply = await read({ path: 'big.txt', offset: 150_000, limit: 3 })
    expect(reply).toMatchObject({ text: 'äöü€😀\n'.repeat(3), lines: 200_000, truncated: true, sha256: sha256Of(text) })
  })

  test('long lines are cut, never left out altogether', async () => {
    put('min.js', 'x'.repeat(2_000_000))
    const reply = await read({ path: 'min.js' })
    expect(reply.truncated).toBe(true)
    expect(reply.text.length).toBeGreaterThan(10_000)
  })

  test('what is not text is refused', async () => {
    put('a.bin', Uint8Array.from([0xff, 0xfe, 1]))
    put('b.bin', 'a\0b')
    put('c.bin', Buffer.concat([Buffer.from('a'.repeat(10)), Buffer.from([0xe2, 0x82, 1])]))
    for (const name of ['a.bin', 'b.bin', 'c.bin']) expect(await refusal(() => read({ path: name }))).toBe('not-text')
    expect(await refusal(() => read({ path: 'nothing' }))).toBe('not-found')
  })

  test('a cancel ends it and closes what was open', async () => {
    put('big', 'x\n'.repeat(10_000_000))
    const before = openDescriptors(folder.gate)
    const cancel = new AbortController()
    const reading = readFile(folder.gate, { path: 'big' }, noLimits, cancel.signal)
    while (openDescriptors(folder.gate) === before) await turn()
    cancel.abort()
    await expect(reading).rejects.toThrow(/abort/i)
    expect(openDescriptors(folder.gate)).toBe(before)
  })
})

test('list and stat', async () => {
  put('b/c/d.txt', 'x')
  put('a.txt', 'four')
  fs.symlinkSync(folder.outside, path('link'))
  fs.symlinkSync('a.txt', path('inside'))
  const names = async (body: Parameters<typeof listFolder>[1]) =>
    (await listFolder(folder.gate, body, noLimits, never)).entries.map(({ name, type }) => `${name} ${type}`)
  expect(await names({ path: '' })).toEqual(['a.txt file', 'b folder', 'inside symlink', 'link symlink'])
  expect(await names({ path: 'b/', depth: 2 })).toEqual(['b/c folder', 'b/c/d.txt file'])
  expect(await names({ path: '', depth: 16 })).toEqual([
    'a.txt file',
    'b folder',
    'b/c folder',
    'b/c/d.txt file',
    'inside symlink',
    'link symlink',
  ])
  expect(await refusal(() => names({ path: 'link' }))).toBe('symlink-escape')
  expect(await refusal(() => names({ path: 'a.txt' }))).toBe('not-a-folder')
  fs.chmodSync(path('a.txt'), 0o640)
  expect(await statPath(folder.gate, { path: 'inside' }, noLimits)).toMatchObject({
    path: 'a.txt',
    type: 'file',
    size: 4,
    mode: 0o640,
    link: 'a.txt',
  })
  expect(await statPath(folder.gate, { path: '' }, noLimits)).toMatchObject({ path: '', type: 'folder' })
})

describe('search', () => {
  beforeEach(() => {
    put('src/a.ts', 'const alpha = 1\r\nconst beta = 2\r\nalpha()\r\n')
    put('src/deep/b.ts', 'no match here\n')
    put('notes.md', 'Alpha\nbeta\n')
    put('bin', 'alpha\0alpha')
    fs.symlinkSync(folder.outside, path('src/out'))
    fs.symlinkSync('..', path('src/up'))
  })
  const grep = (body: Parameters<typeof grepFiles>[1]) => grepFiles(folder.gate, body, noLimits, never)

  test('glob finds by name, never through links, newest first', async () => {
    fs.utimesSync(path('src/deep/b.ts'), 1, 1)
    const glob = async (pattern: string, from?: string) =>
      (await globFiles(folder.gate, { pattern, ...(from === undefined ? {} : { path: from }) }, noLimits, never)).paths
    expect(await glob('**/*.ts')).toEqual(['src/a.ts', 'src/deep/b.ts'])
    expect(await glob('*.ts', 'src')).toEqual(['src/a.ts'])
    expect(await glob('**/secret.txt')).toEqual([])
  })

  test('grep in its three modes', async () => {
    expect(await grep({ pattern: '^alpha\\(\\)$', context: 1 })).toEqual({
      matches: [{ path: 'src/a.ts', line: 3, text: 'alpha()', before: ['const beta = 2'] }],
      truncated: false,
      skipped: 0,
    })
    expect((await grep({ pattern: 'ALPHA', ignoreCase: true, mode: 'files' })).matches).toEqual([
      { path: 'notes.md' },
      { path: 'src/a.ts' },
    ])
    expect((await grep({ pattern: 'alpha', mode: 'count' })).matches).toEqual([{ path: 'src/a.ts', count: 2 }])
    expect((await grep({ pattern: 'beta', glob: '*.md' })).matches).toEqual([{ path: 'notes.md', line: 2, text: 'beta' }])
    expect((await grep({ pattern: 'beta', path: 'notes.md' })).matches).toHaveLength(1)
    expect(await grep({ pattern: 'a', maxMatches: 2 })).toMatchObject({ truncated: true, matches: [{}, {}] })
    expect(JSON.stringify(await grep({ pattern: secret }))).not.toContain(secret)
  })

  test('what is cut is gone on with, to the end and without a gap', async () => {
    for (let n = 0; n < 30; n++) put(`many/${String(n).padStart(2, '0')}.txt`, `one ${n}\ntwo ${n}\nthree\n`)
    for (let n = 0; n < 30; n++) fs.utimesSync(path(`many/${String(n).padStart(2, '0')}.txt`), 1, 1_000 - n)
    const pages = async <T>(ask: (skip: number) => Promise<{ truncated: boolean; next?: number | undefined; found: T[] }>) => {
      const all: T[] = []
      let requests = 0
      for (let skip: number | undefined = 0; skip !== undefined; requests++) {
        const { found, next, truncated } = await ask(skip)
        expect(truncated).toBe(next !== undefined)
        all.push(...found)
        skip = next
      }
      return { all, requests }
    }
    const globbed = await pages(async (skip) => {
      const { paths, ...rest } = await globFiles(folder.gate, { pattern: 'many/*', skip, limit: 7 }, noLimits, never)
      return { ...rest, found: paths }
    })
    expect([globbed.requests, globbed.all]).toEqual([5, Array.from({ length: 30 }, (_, n) => `many/${String(n).padStart(2, '0')}.txt`)])
    for (const mode of ['content', 'files', 'count'] as const) {
      const found = await pages(async (skip) => {
        const { matches, ...rest } = await grep({ pattern: 'one|two', path: 'many', mode, maxMatches: 7, skip })
        return { ...rest, found: matches }
      })
      const whole = await grep({ pattern: 'one|two', path: 'many', mode, maxMatches: 5_000 })
      expect(found.all).toEqual(whole.matches)
      expect([whole.matches.length, found.requests]).toEqual(mode === 'content' ? [60, 9] : [30, 5])
    }
    expect(await grep({ pattern: 'one', path: 'many', skip: 30 })).toMatchObject({ matches: [], truncated: false })
  })

  test('expressions that could run away are refused or linear', async () => {
    expect(await refusal(() => grep({ pattern: '(a)\\1' }))).toBe('bad-pattern')
    expect(await refusal(() => grep({ pattern: '(?=a)' }))).toBe('bad-pattern')
    expect(await refusal(() => grep({ pattern: '(' }))).toBe('bad-pattern')
    put('long', `${'a'.repeat(50_000)}b\n`)
    expect((await grep({ pattern: '(a*)*(a|aa)+$', path: 'long' })).matches).toEqual([])
  })
})

describe('write', () => {
  test('creates with missing folders, replaces, keeps mode and leaves nothing behind', async () => {
    const before = openDescriptors(folder.gate)
    expect(await write({ path: 'x/y/new.txt', content: 'hi' })).toEqual({ sha256: sha256Of('hi'), bytes: 2, created: true })
    fs.chmodSync(path('x/y/new.txt'), 0o4750)
    const held = fs.openSync(path('x/y/new.txt'), 'r')
    expect(await write({ path: 'x/y/new.txt', content: 'hü' })).toMatchObject({ bytes: 3, created: false })
    expect(on('x/y/new.txt')).toBe('hü')
    expect(fs.readFileSync(held, 'utf8')).toBe('hi')
    fs.closeSync(held)
    expect(fs.statSync(path('x/y/new.txt')).mode & 0o7777).toBe(0o750)
    expect(leftovers()).toEqual([])
    expect(openDescriptors(folder.gate)).toBe(before)
  })

  test('keeps the owner, and gives new files to the owner of their folder', async () => {
    if (process.geteuid?.() !== 0) return
    put('d/old', 'x')
    fs.chownSync(path('d'), 1234, 1235)
    fs.chownSync(path('d/old'), 4321, 4322)
    await write({ path: 'd/old', content: 'y' })
    await write({ path: 'd/n/new', content: 'y' })
    const owner = (name: string) => [fs.statSync(path(name)).uid, fs.statSync(path(name)).gid]
    expect(owner('d/old')).toEqual([4321, 4322])
    expect(owner('d/n')).toEqual([1234, 1235])
    expect(owner('d/n/new')).toEqual([1234, 1235])
  })

  test('what is expected of the old file', async () => {
    put('a', 'one\n')
    expect(await refusal(() => write({ path: 'a', content: 'x', expect: null }))).toBe('already-exists')
    expect(await refusal(() => write({ path: 'b', content: 'x', expect: sha256Of('') }))).toBe('changed-since-read')
    const { sha256 } = await read({ path: 'a' })
    put('a', 'two\n')
    const refused = await write({ path: 'a', content: 'mine\n', expect: sha256 }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'changed-since-read', cause: expect.stringContaining('-one\n+two') as string })
    expect(on('a')).toBe('two\n')
    await write({ path: 'a', content: 'mine\n', expect: sha256Of('two\n') })
    await write({ path: 'new', content: 'mine\n', expect: null })
    expect(on('a') + on('new')).toBe('mine\nmine\n')
    expect(leftovers()).toEqual([])
  })

  test('of many writers with one expectation, one wins', async () => {
    put('a', 'start')
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => write({ path: i % 2 === 0 ? 'a' : './a', content: `by ${i}`, expect: sha256Of('start') })),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const made = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => write({ path: 'fresh', content: `by ${i}`, expect: null })))
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(leftovers()).toEqual([])
  })

  test('through a link inside, the link stays', async () => {
    put('real/file', 'old')
    fs.symlinkSync('real/file', path('link'))
    await write({ path: 'link', content: 'new' })
    expect(on('real/file')).toBe('new')
    expect(fs.lstatSync(path('link')).isSymbolicLink()).toBe(true)
  })

  test('a hard link to a file outside is cut, not written through', async () => {
    fs.linkSync(join(folder.outside, 'secret.txt'), path('hard'))
    await write({ path: 'hard', content: 'new' })
    expect(fs.readFileSync(join(folder.outside, 'secret.txt'), 'utf8')).toBe(secret)
  })

  test('folders are not replaced', async () => {
    fs.mkdirSync(path('d'))
    put('f', '')
    expect(await refusal(() => write({ path: 'd', content: '' }))).toBe('not-a-file')
    expect(await refusal(() => write({ path: '', content: '' }))).toBe('not-a-file')
    expect(await refusal(() => write({ path: 'f/x', content: '' }))).toBe('not-a-folder')
    expect(await refusal(() => write({ path: 'none/../x', content: '' }))).toBe('not-found')
    expect(await refusal(() => write({ path: 'big', content: '€'.repeat(2_000_000) }))).toBe('too-large')
  })
})

describe('edit and preview', () => {
  test('replace, once or all', async () => {
    put('a', 'one two two\n')
    const diff = '--- a/a\n+++ b/a\n@@ -1,1 +1,1 @@\n-one two two\n+1 two two\n'
    expect(await previewChange(folder.gate, { path: 'a', oldText: 'one', newText: '1' }, { kinds: [] }, never)).toMatchObject({
      path: 'a',
      diff,
      created: false,
    })
    expect(await edit({ path: 'a', oldText: 'one', newText: '1' })).toEqual({ sha256: sha256Of('1 two two\n'), replacements: 1, diff })
    expect(await refusal(() => edit({ path: 'a', oldText: 'two', newText: '2' }))).toBe('ambiguous-match')
    expect(await refusal(() => edit({ path: 'a', oldText: 'three', newText: '3' }))).toBe('no-match')
    expect(await edit({ path: 'a', oldText: 'two', newText: '$&', replaceAll: true })).toMatchObject({ replacements: 2 })
    expect(on('a')).toBe('1 $& $&\n')
    expect(await refusal(() => edit({ path: 'a', oldText: '1', newText: '2', expect: sha256Of('other') }))).toBe('changed-since-read')
  })

  test('a preview shows where it lands and changes nothing', async () => {
    put('real', 'a\n')
    fs.symlinkSync('real', path('link'))
    expect(await previewChange(folder.gate, { path: 'link', content: 'b\n' }, noLimits, never)).toMatchObject({
      path: 'real',
      created: false,
    })
    expect(await previewChange(folder.gate, { path: 'x/y', content: 'b\n' }, noLimits, never)).toMatchObject({
      path: 'x/y',
      diff: '--- /dev/null\n+++ b/x/y\n@@ -0,0 +1,1 @@\n+b\n',
      created: true,
    })
    put('bin', Uint8Array.from([255, 0]))
    expect((await previewChange(folder.gate, { path: 'bin', content: 'b' }, noLimits, never)).diff).toContain('not text')
    expect(on('real')).toBe('a\n')
    expect(fs.existsSync(path('x'))).toBe(false)
  })

  test('concurrent edits all arrive', async () => {
    put('a', Array.from({ length: 10 }, (_, i) => `<${i}>`).join(''))
    await Promise.all(Array.from({ length: 10 }, (_, i) => edit({ path: 'a', oldText: `<${i}>`, newText: `[${i}]` })))
    expect(on('a')).toBe(Array.from({ length: 10 }, (_, i) => `[${i}]`).join(''))
  })
})

describe('what a capability allows', () => {
  test('mode', async () => {
    put('a', 'x')
    expect(await refusal(() => write({ path: 'a', content: '' }, { mode: 'ro' }))).toBe('read-only')
    const other = testFolder('ro')
    try {
      expect(await refusal(() => writeFile(other.gate, { path: 'a', content: '' }, { mode: 'rw' }, never))).toBe('read-only')
      expect(await refusal(() => editFile(other.gate, { path: 'a', oldText: 'a', newText: 'b' }, noLimits, never))).toBe('read-only')
    } finally {
      other.remove()
    }
  })

  test('path, judged where it really leads', async () => {
    put('sub/a', 'x')
    put('subway/b', 'x')
    fs.symlinkSync('../subway/b', path('sub/link'))
    fs.symlinkSync('sub', path('alias'))
    const grant = { path: 'sub' }
    for (const [given, code] of [
      ['subway/b', 'attenuated'],
      ['sub/link', 'attenuated'],
      ['sub/../subway/b', 'attenuated'],
      ['', 'attenuated'],
      ['new', 'attenuated'],
    ] as const) {
      expect(await refusal(() => write({ path: given, content: '' }, grant)), given).toBe(code)
    }
    expect((await read({ path: 'alias/a' }, grant)).text).toBe('x')
    await write({ path: 'sub/deep/new', content: 'y' }, grant)
    await write({ path: 'one.txt', content: 'y' }, { path: 'one.txt' })
    expect(await refusal(() => write({ path: 'one.txt.bak', content: 'y' }, { path: 'one.txt' }))).toBe('attenuated')
    expect(fs.existsSync(path('new'))).toBe(false)
  })
})

describe('move, delete, several edits', () => {
  const move = (body: Parameters<typeof movePath>[1], grant: Limits = noLimits) => movePath(folder.gate, body, grant, never)
  const remove = (body: Parameters<typeof deletePath>[1], grant: Limits = noLimits) => deletePath(folder.gate, body, grant, never)
  const preview = (body: Parameters<typeof previewChange>[1]) => previewChange(folder.gate, body, noLimits, never)
  const undo = () => undoChanges(folder.gate, { to: 0 }, noLimits, never)

  test('a move makes the folders it needs, replaces nothing, and can be undone', async () => {
    put('a', 'a')
    put('taken', 'taken')
    put('tree/b', 'b')
    const before = treeOf(folder.root)
    expect(await move({ path: 'a', to: 'new/deep/a' })).toEqual({ path: 'a', to: 'new/deep/a' })
    await move({ path: 'tree', to: 'new/tree' })
    expect([on('new/deep/a'), on('new/tree/b')]).toEqual(['a', 'b'])
    expect(await refusal(() => move({ path: 'new/deep/a', to: 'taken' }))).toBe('already-exists')
    expect(await refusal(() => move({ path: 'new', to: 'new/tree/inside' }))).toBe('bad-path')
    expect(await refusal(() => move({ path: '', to: 'x' }))).toBe('bad-path')
    expect(await refusal(() => move({ path: 'taken', to: '../outside/x' }))).toBe('outside-folder')
    expect(await refusal(() => move({ path: 'taken', to: 'new/x' }, { path: 'new' }))).toBe('attenuated')
    expect(await undo()).toMatchObject({ kept: [] })
    expect(treeOf(folder.root)).toEqual(before)
  })

  test('a folder moves with all that is in it, named and counted; much of it only on an approval of just that', async () => {
    for (let i = 0; i < limits.massEntries; i += 1) put(`tree/f${i}`, 'x')
    const few = await preview({ path: 'tree', to: 'other' })
    expect(few.mass).toBe(undefined)
    expect(few.diff).toMatch(/^Moves tree\/ to other, with 20 files, 20 bytes:\n {2}tree\/f0 \(1 bytes\)\n/)
    expect(few.diff.trimEnd().split('\n')).toHaveLength(21)
    put('tree/one-more', 'x')
    expect(await refusal(() => move({ path: 'tree', to: 'other' }))).toBe('mass-change')
    const many = await preview({ path: 'tree', to: 'other' })
    expect(many.mass).toBe(21)
    const approved = { tools: ['mass'] }
    put('tree/f0', 'changed after it was shown')
    expect(await refusal(() => move({ path: 'tree', to: 'other', identity: many.identity }, approved))).toBe('changed-since-read')
    const { identity } = await preview({ path: 'tree', to: 'other' })
    await move({ path: 'tree', to: 'other', identity }, approved)
    expect(fs.readdirSync(path('other'))).toHaveLength(21)
    expect(fs.existsSync(path('tree'))).toBe(false)
  })

  test('a link is moved and deleted as a link, and not to where it would lead out', async () => {
    put('d/e/x', 'x')
    fs.symlinkSync('../x', path('d/e/up'))
    expect(await refusal(() => move({ path: 'd/e/up', to: 'up' }))).toBe('symlink-escape')
    fs.symlinkSync(join(folder.outside, 'secret.txt'), path('out'))
    await remove({ path: 'out' })
    expect(fs.readFileSync(join(folder.outside, 'secret.txt'), 'utf8')).toBe(secret)
    expect(fs.existsSync(path('out'))).toBe(false)
  })

  test('a deletion shows exactly what goes, with the count, and is refused when that has changed', async () => {
    for (let i = 0; i < 30; i += 1) put(`d/sub${i % 3}/f${i}`, `${i}`)
    const before = treeOf(folder.root)
    const shown = await preview({ path: 'd', remove: true })
    expect(shown.diff).toMatch(/^Deletes 30 files and 4 folders, 50 bytes:\n {2}d\/\n {2}d\/sub0\/\n {2}d\/sub0\/f0 \(1 bytes\)/)
    put('d/late', 'late')
    expect(await refusal(() => remove({ path: 'd', recursive: true, identity: shown.identity }))).toBe('changed-since-read')
    fs.rmSync(path('d/late'))
    expect(await refusal(async () => remove({ path: 'd', identity: (await preview({ path: 'd', remove: true })).identity }))).toBe(
      'not-a-file',
    )
    const again = await preview({ path: 'd', remove: true })
    expect(await remove({ path: 'd', recursive: true, identity: again.identity })).toEqual({ path: 'd', files: 30, folders: 4, bytes: 50 })
    expect(treeOf(folder.root)).toEqual({})
    expect(await undo()).toMatchObject({ undone: 34, kept: [] })
    expect(treeOf(folder.root)).toEqual(before)
  })

  test('what was approved is what is changed: another file under the same name is refused', async () => {
    put('a', 'a')
    const written = await preview({ path: 'a', content: 'b' })
    const moved = await preview({ path: 'a', to: 'b' })
    fs.rmSync(path('a'))
    put('a', 'a')
    expect(await refusal(() => writeFile(folder.gate, { path: 'a', content: 'b', identity: written.identity }, noLimits, never))).toBe(
      'changed-since-read',
    )
    expect(await refusal(() => move({ path: 'a', to: 'b', identity: moved.identity }))).toBe('changed-since-read')
    const missing = await preview({ path: 'new', content: 'x' })
    put('new', 'theirs')
    expect(await refusal(() => writeFile(folder.gate, { path: 'new', content: 'x', identity: missing.identity }, noLimits, never))).toBe(
      'changed-since-read',
    )
    expect([on('a'), on('new')]).toEqual(['a', 'theirs'])
  })

  test('device and inode are what was approved: another file that looks the same, another folder for what is new', async () => {
    put('a', 'same')
    put('d/x', 'x')
    const asked = await Promise.all([
      preview({ path: 'a', content: 'b' }),
      preview({ path: 'a', oldText: 'same', newText: 'b' }),
      preview({ path: 'a', to: 'b' }),
      preview({ path: 'a', remove: true }),
      preview({ path: 'd', to: 'e' }),
      preview({ path: 'd/new/file', content: 'x' }),
    ])
    const [written, edited, moved, removed, folderMoved, made] = asked.map(({ identity }) => identity)
    const { dev, ino } = fs.statSync(path('a'))
    for (const identity of [written, edited, moved]) expect(identity).toMatch(new RegExp(`^${dev}:file:${ino}:`))
    // Of the same name, size, mode and time, and the old one still there, so that its number is not used again.
    const { mtime } = fs.statSync(path('a'))
    fs.renameSync(path('a'), join(folder.outside, 'a'))
    put('a', 'same')
    fs.utimesSync(path('a'), mtime, mtime)
    fs.renameSync(path('d'), join(folder.outside, 'd'))
    put('d/x', 'x')
    const { gate } = folder
    const after: Record<string, () => Promise<unknown>> = {
      write: () => writeFile(gate, { path: 'a', content: 'b', identity: written }, noLimits, never),
      edit: () => editFile(gate, { path: 'a', oldText: 'same', newText: 'b', identity: edited }, noLimits, never),
      'multi-edit': () => multiEdit(gate, { path: 'a', edits: [{ oldText: 'same', newText: 'b' }], identity: edited }, noLimits, never),
      move: () => move({ path: 'a', to: 'b', identity: moved }),
      delete: () => remove({ path: 'a', identity: removed }),
      'move of a folder': () => move({ path: 'd', to: 'e', identity: folderMoved }),
      'a new file': () => writeFile(gate, { path: 'd/new/file', content: 'x', identity: made }, noLimits, never),
    }
    const before = treeOf(folder.root)
    for (const [what, change] of Object.entries(after)) expect(await refusal(change), what).toBe('changed-since-read')
    expect(treeOf(folder.root)).toEqual(before)
  })

  test('several edits: each on what those before it left, all or none', async () => {
    put('a', 'one two three\n')
    const edits = [
      { oldText: 'one', newText: 'two' },
      { oldText: 'two', newText: '2', replaceAll: true },
    ]
    expect((await preview({ path: 'a', edits })).diff).toContain('+2 2 three')
    expect(await multiEdit(folder.gate, { path: 'a', edits }, noLimits, never)).toMatchObject({ replacements: 3 })
    expect(on('a')).toBe('2 2 three\n')
    const failing = [
      { oldText: 'three', newText: '3' },
      { oldText: 'none', newText: '' },
    ]
    expect(await refusal(() => multiEdit(folder.gate, { path: 'a', edits: failing }, noLimits, never))).toBe('no-match')
    expect(on('a')).toBe('2 2 three\n')
  })
})
