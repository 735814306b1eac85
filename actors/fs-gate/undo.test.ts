import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ChangeLog } from './change-log.ts'
import { ChangeStore } from './change-store.ts'
import { editFile, writeFile } from './change-tools.ts'
import { closeGate, openGate } from './gate.ts'
import { openRoot } from './handles.ts'
import { listChanges, markCall, redoChanges, settleHistory, undoChanges } from './history-tools.ts'
import { NinepConnections } from './ninep-connections.ts'
import { rootFid, TestClient, uid } from './test-client.ts'
import { treeOf } from '../../test/harness/tree.ts'
import { deletePath } from './tree-tools.ts'
import { never, noLimits, refusal, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

const path = (...parts: string[]) => join(folder.root, ...parts)
const on = (name: string) => fs.readFileSync(path(name), 'utf8')
const write = (name: string, content: string) => writeFile(folder.gate, { path: name, content }, noLimits, never)
const edit = (name: string, oldText: string, newText: string) => editFile(folder.gate, { path: name, oldText, newText }, noLimits, never)
const mark = (turn: string, call: string | null = null) => markCall(folder.gate, { turn, call, title: '' }, { session: 's-1' })
const changes = async () => (await listChanges(folder.gate, {})).changes
const undo = (body: Parameters<typeof undoChanges>[1]) => undoChanges(folder.gate, body, noLimits, never)
const redo = () => redoChanges(folder.gate, {}, noLimits, never)

const tree = () => treeOf(folder.root)

test('a tree with more folders than are held open at a time comes back as it was', async () => {
  for (let i = 0; i < 700; i += 1) {
    fs.mkdirSync(path('tree', `d${i}`, 'e'), { recursive: true })
    fs.writeFileSync(path('tree', `d${i}`, 'e/f'), `file ${i}`)
  }
  const before = tree()
  await deletePath(folder.gate, { path: 'tree', recursive: true }, noLimits, never)
  expect(tree()).toEqual({})
  expect(await undo({ to: 0 })).toMatchObject({ kept: [], undone: 2101 })
  expect(tree()).toEqual(before)
  await redo()
  expect(tree()).toEqual({})
})

describe('changes by tools', () => {
  test('one change, one call, one turn, back to a point, and all of it again', async () => {
    fs.writeFileSync(path('a'), 'first\n', { mode: 0o640 })
    const start = tree()
    await mark('s-1.0', 'call-1')
    await write('a', 'second\n')
    await write('new/deep/b', 'b\n')
    await mark('s-1.4', 'call-2')
    await edit('a', 'second', 'third')
    const after = tree()
    const rows = await changes()
    expect(rows.map(({ what, path: at, turn, call }) => [what, at, turn, call])).toEqual([
      ['changed', 'a', 's-1.0', 'call-1'],
      ['created', 'new', 's-1.0', 'call-1'],
      ['created', 'new/deep', 's-1.0', 'call-1'],
      ['created', 'new/deep/b', 's-1.0', 'call-1'],
      ['changed', 'a', 's-1.4', 'call-2'],
    ])
    expect(await undo({ what: 's-1.4' })).toMatchObject({ undone: 1, kept: [], steps: [{ do: 'restore', path: 'a' }] })
    expect(on('a')).toBe('second\n')
    expect(await undo({ what: 'call-1' })).toMatchObject({ undone: 4, kept: [] })
    expect(tree()).toEqual(start)
    expect(await refusal(() => undo({ what: 's-1.4' }))).toBe('nothing-to-undo')
    await redo()
    expect(on('a')).toBe('second\n')
    await redo()
    expect(tree()).toEqual(after)
    expect(await refusal(redo)).toBe('nothing-to-undo')
    await undo({ to: rows[0]?.id ?? '' })
    expect(tree()).toEqual({ a: 'file 640 second\n' })
    await undo({ to: 0 })
    expect(tree()).toEqual(start)
  })

  test('what the member changed later is kept and named; what hangs on it as well', async () => {
    fs.writeFileSync(path('a'), 'mine\n')
    await mark('t')
    await write('a', 'theirs\n')
    await write('d/b', 'b\n')
    await write('d/c', 'c\n')
    fs.writeFileSync(path('a'), 'mine again\n')
    fs.writeFileSync(path('d/own'), 'own\n')
    const preview = await undo({ what: 't', preview: true })
    expect(preview.run).toBe(null)
    expect(preview.kept.map(({ path: at, why }) => [at, why])).toEqual([
      ['a', 'changed-later'],
      ['d', 'not-empty'],
    ])
    const done = await undo({ what: 't' })
    expect(done.kept).toEqual(preview.kept)
    expect(tree()).toEqual({ a: expect.stringContaining('mine again') as string, d: 'folder 755', 'd/own': expect.any(String) as string })
    expect((await undo({ what: 't', force: true })).kept.map(({ path: at }) => at)).toEqual(['d'])
    expect(on('a')).toBe('mine\n')
    await redo()
    expect(on('a')).toBe('mine again\n')
  })

  test('a preview shows differences and does nothing', async () => {
    fs.writeFileSync(path('a'), 'one\ntwo\n')
    await mark('t')
    await edit('a', 'two', 'three')
    const preview = await undo({ what: 't', preview: true })
    expect(preview.steps[0]?.diff).toContain('-three\n+two')
    expect(on('a')).toBe('one\nthree\n')
  })

  test('the store is outside the folder, and outlives the process', async () => {
    fs.writeFileSync(path('a'), 'first\n')
    await mark('t')
    await write('a', 'second\n')
    expect(Object.keys(tree())).toEqual(['a'])
    folder.reopen()
    expect(await changes()).toHaveLength(1)
    await undo({ what: 't' })
    expect(on('a')).toBe('first\n')
  })
})

describe('changes from the workspace', () => {
  let client: TestClient
  beforeEach(async () => {
    client = new TestClient(new NinepConnections(folder.gate)).attach()
    await mark('t', 'c')
  })

  const noTimes = { size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }
  const remove = (name: string) => {
    const parts = name.split('/')
    const last = parts.pop() as string
    const fid = client.walk(parts.join('/'))
    client.ask('unlinkat', { fid, name: last, flags: fs.lstatSync(path(name)).isDirectory() ? 0x200 : 0 })
    client.ask('clunk', { fid })
  }
  const rmrf = (name: string) => {
    if (fs.lstatSync(path(name)).isDirectory()) for (const child of fs.readdirSync(path(name))) rmrf(`${name}/${child}`)
    remove(name)
  }

  test('rm -rf of a tree with modes, links and empty folders', async () => {
    for (let i = 0; i < 300; i += 1) {
      fs.mkdirSync(path(`tree/d${i % 7}`), { recursive: true })
      fs.writeFileSync(path(`tree/d${i % 7}/f${i}`), `content ${i % 40}\n`.repeat(i % 13))
    }
    fs.mkdirSync(path('tree/empty'), { mode: 0o700 })
    fs.symlinkSync('d1/f1', path('tree/link'))
    fs.chmodSync(path('tree/d0/f0'), 0o755)
    fs.chmodSync(path('tree/d2/f2'), 0o400)
    // More than the umask lets a new file have.
    fs.chmodSync(path('tree/d3/f3'), 0o666)
    fs.writeFileSync(path('tree/unreadable'), 'secret', { mode: 0o000 })
    fs.utimesSync(path('tree/d1/f1'), 1_000_000, 1_234_567.25)
    const readable = () => {
      fs.chmodSync(path('tree/unreadable'), 0o400)
      const found = tree()
      fs.chmodSync(path('tree/unreadable'), 0o000)
      return found
    }
    const before = readable()
    rmrf('tree')
    expect(tree()).toEqual({})
    const result = await undo({ what: 'c' })
    expect(result.kept).toEqual([])
    expect(fs.statSync(path('tree/unreadable')).mode & 0o777).toBe(0)
    expect(readable()).toEqual(before)
    expect(fs.statSync(path('tree/d1/f1')).mtimeMs).toBe(1_234_567_250)
    await redo()
    expect(tree()).toEqual({})
    await undo({ what: 't' })
    expect(readable()).toEqual(before)
  })

  test('overwritten, truncated, appended, grown: the file before the first of them', async () => {
    fs.writeFileSync(path('a'), 'original content\n')
    const fid = client.open('a', 1)
    client.write(fid, 'XX', 3)
    client.write(fid, 'YY', 100)
    client.ask('clunk', { fid })
    const again = client.open('a', 0o1001)
    client.write(again, 'all new')
    client.ask('clunk', { fid: again })
    expect(await changes()).toMatchObject([{ what: 'changed', path: 'a', source: 'workspace' }])
    await undo({ what: 't' })
    expect(on('a')).toBe('original content\n')
    await redo()
    expect(on('a')).toBe('all new')
  })

  test('renames of files and folders, over others, and changes after them', async () => {
    fs.mkdirSync(path('d/e'), { recursive: true })
    fs.writeFileSync(path('d/e/f'), 'f\n')
    fs.writeFileSync(path('x'), 'x\n')
    fs.writeFileSync(path('y'), 'y\n')
    const before = tree()
    const rename = (from: string, to: string) => {
      const at = (name: string) => client.walk(name.split('/').slice(0, -1).join('/'))
      const last = (name: string) => name.split('/').at(-1) as string
      client.ask('renameat', { oldDir: at(from), oldName: last(from), newDir: at(to), newName: last(to) })
    }
    rename('x', 'y')
    rename('d', 'moved')
    const fid = client.open('moved/e/f', 1)
    client.write(fid, 'changed\n')
    client.ask('clunk', { fid })
    rename('moved/e/f', 'moved/f')
    rename('moved/e', 'x')
    client.ask('clunk', { fid: client.create('x', 'new') })
    const after = tree()
    expect((await undo({ what: 't', preview: true })).kept).toEqual([])
    expect(await undo({ what: 't' })).toMatchObject({ kept: [] })
    expect(tree()).toEqual(before)
    await redo()
    expect(tree()).toEqual(after)
    expect(leftovers()).toEqual([])
  })

  test('two that change places come back to theirs', async () => {
    fs.writeFileSync(path('a'), 'a\n')
    fs.writeFileSync(path('b'), 'b\n')
    for (const [from, to] of [
      ['a', 'tmp'],
      ['b', 'a'],
      ['tmp', 'b'],
    ] as const)
      client.ask('renameat', { oldDir: rootFid, oldName: from, newDir: rootFid, newName: to })
    expect([on('a'), on('b')]).toEqual(['b\n', 'a\n'])
    await undo({ what: 't' })
    expect([on('a'), on('b')]).toEqual(['a\n', 'b\n'])
  })

  test('modes and times', async () => {
    fs.writeFileSync(path('a'), 'a\n', { mode: 0o644 })
    fs.mkdirSync(path('d'), { mode: 0o755 })
    fs.utimesSync(path('a'), 1_000, 2_000)
    client.ask('setattr', { fid: client.walk('a'), valid: 1 | 0x20 | 0x100, mode: 0o700, uid: 0, gid: 0, ...noTimes, mtimeSec: 5_000n })
    client.ask('setattr', { fid: client.walk('d'), valid: 1, mode: 0o500, uid: 0, gid: 0, ...noTimes })
    expect((await changes()).map(({ what }) => what)).toEqual(['attributes', 'attributes'])
    await undo({ what: 't' })
    expect([fs.statSync(path('a')).mode & 0o777, fs.statSync(path('a')).mtimeMs, fs.statSync(path('d')).mode & 0o777]).toEqual([
      0o644, 2_000_000, 0o755,
    ])
  })

  test('what is made and removed within a call leaves nothing; what is made and renamed is one change', async () => {
    fs.writeFileSync(path('kept'), 'old\n')
    for (let i = 0; i < 20; i += 1) {
      const fid = client.create('', `tmp${i}`)
      client.write(fid, 'x')
      client.ask('clunk', { fid })
      remove(`tmp${i}`)
    }
    const fid = client.create('', 'tmp')
    client.write(fid, 'new\n')
    client.ask('clunk', { fid })
    client.ask('renameat', { oldDir: rootFid, oldName: 'tmp', newDir: rootFid, newName: 'final' })
    // As git does it.
    const object = client.create('', 'tmp_obj')
    client.ask('link', { dfid: rootFid, fid: object, name: 'object' })
    remove('tmp_obj')
    expect((await changes()).map(({ what, path: at }) => [what, at])).toEqual([
      ['created', 'final'],
      ['created', 'object'],
    ])
    expect(await undo({ what: 't' })).toMatchObject({ kept: [] })
    expect(tree()).toEqual({ kept: 'file 644 old\n' })
  })

  test('as git leaves it: locks renamed over each other, objects moved into folders made later, a link with a time of its own', async () => {
    client.ask('mkdir', { fid: rootFid, name: 'repo', mode: 0o755, gid: uid })
    for (let i = 0; i < 4; i += 1) {
      const fid = client.create('repo', 'index.lock')
      client.write(fid, `index ${i}`)
      client.ask('clunk', { fid })
      const dir = client.walk('repo')
      client.ask('renameat', { oldDir: dir, oldName: 'index.lock', newDir: dir, newName: 'index' })
    }
    const object = client.create('repo', 'tmp_obj')
    client.ask('mkdir', { fid: client.walk('repo'), name: 'ab', mode: 0o755, gid: uid })
    client.ask('renameat', { oldDir: client.walk('repo'), oldName: 'tmp_obj', newDir: client.walk('repo/ab'), newName: 'cdef' })
    client.write(object, 'still open')
    client.ask('symlink', { fid: client.walk('repo'), name: 'link', target: 'index', gid: uid })
    client.ask('setattr', { fid: client.walk('repo/link'), valid: 0x20 | 0x100, mode: 0, uid, gid: uid, ...noTimes, mtimeSec: 5_000n })
    await mark('t', 'next')
    client.ask('clunk', { fid: object })
    const after = tree()
    expect(await undo({ to: 0 })).toMatchObject({ kept: [] })
    expect(tree()).toEqual({})
    await redo()
    expect(tree()).toEqual(after)
  })

  test('what someone else changed within a call is kept as well; a number used again is not taken for the old file', async () => {
    const made = client.create('', 'a')
    client.write(made, 'by the program')
    client.ask('clunk', { fid: made })
    fs.writeFileSync(path('a'), 'by the member')
    const fid = client.open('a', 0o1001)
    client.write(fid, 'again')
    client.ask('clunk', { fid })
    expect((await changes()).map(({ what, path: at }) => [what, at])).toEqual([
      ['created', 'a'],
      ['changed', 'a'],
    ])
    await undo({ what: (await changes()).at(-1)?.id ?? '' })
    expect(on('a')).toBe('by the member')
    expect((await undo({ to: 0 })).kept).toMatchObject([{ path: 'a', why: 'changed-later' }])
  })

  test('a file with several names is one file: what is changed through one is taken back at all', async () => {
    fs.writeFileSync(path('mine'), 'mine\n')
    client.ask('link', { dfid: rootFid, fid: client.walk('mine'), name: 'alias' })
    const fid = client.open('alias', 0o1001)
    client.write(fid, 'theirs\n')
    client.ask('clunk', { fid })
    remove('alias')
    expect(on('mine')).toBe('theirs\n')
    expect(await undo({ what: 't' })).toMatchObject({ kept: [] })
    expect(tree()).toEqual({ mine: 'file 644 mine\n' })
  })

  test('each call keeps what it found, so each can be undone', async () => {
    fs.writeFileSync(path('a'), '0')
    for (const call of ['c1', 'c2', 'c3']) {
      await mark('t', call)
      const fid = client.open('a', 0o1001)
      client.write(fid, call)
      client.ask('clunk', { fid })
    }
    await undo({ what: 'c3' })
    expect(on('a')).toBe('c2')
    expect((await undo({ what: 'c1' })).kept).toMatchObject([{ path: 'a', why: 'changed-later' }])
    await undo({ what: 't' })
    expect(on('a')).toBe('0')
  })

  test('a process killed between a change and its note', async () => {
    fs.writeFileSync(path('a'), 'old\n')
    fs.writeFileSync(path('b'), 'old\n')
    client.write(client.open('a', 1), 'new\n')
    remove('b')
    // A copy of the store as it is on disk now is what a killed process would have left.
    const killed = `${folder.store}-killed`
    fs.cpSync(folder.store, killed, { recursive: true })
    const gate = openGate(folder.root, 'work', 'rw', killed)
    await settleHistory(gate, never)
    expect(await undoChanges(gate, { what: 't' }, noLimits, never)).toMatchObject({ kept: [] })
    closeGate(gate)
    expect(tree()).toEqual({ a: 'file 644 old\n', b: 'file 644 old\n' })
  })
})

const leftovers = () => Object.keys(tree()).filter((name) => name.includes('.bulkhead-'))

describe('the store', () => {
  test('of the first version is read', () => {
    const dir = `${folder.store}-first`
    new ChangeStore(dir, { root: folder.root, name: 'work' }).close()
    const first = new DatabaseSync(join(dir, 'changes.sqlite'))
    first.exec('ALTER TABLE runs DROP COLUMN holder; DROP TABLE temps; PRAGMA user_version = 1')
    first.exec("INSERT INTO runs (at, kind, what, done) VALUES (1, 'undo', 'broken', 0)")
    first.close()
    const store = new ChangeStore(dir, { root: folder.root, name: 'work' })
    expect(store.brokenRuns()).toEqual([{ id: 1, what: 'broken', holder: null }])
    store.close()
  })

  test('leaves what another process is at to that, and clears up after one that was killed', async () => {
    const dir = `${folder.store}-shared`
    const store = new ChangeStore(dir, { root: folder.root, name: 'work' })
    const program = `
      import { ChangeStore } from ${JSON.stringify(new URL('change-store.ts', import.meta.url).href)}
      const store = new ChangeStore(${JSON.stringify(dir)}, { root: '/', name: 'work' })
      store.noteTemp('.bulkhead-x.tmp')
      store.startRun('undo', 'theirs', 1)
      process.stdout.write('noted')
      setInterval(() => {}, 1_000)`
    const other = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(other.stdout, 'data')
    expect([store.brokenRuns(), store.leftTemps()]).toEqual([[], []])
    other.kill('SIGKILL')
    await once(other, 'exit')
    expect([store.brokenRuns(), store.leftTemps()]).toEqual([[expect.objectContaining({ what: 'theirs' })], ['.bulkhead-x.tmp']])
    store.startRun('undo', 'mine', 2)
    expect(store.brokenRuns()).toHaveLength(2)
    store.close()
    const next = new ChangeStore(dir, { root: folder.root, name: 'work' })
    // It and nobody else.
    expect(fs.readdirSync(join(dir, 'open'))).toHaveLength(1)
    next.close()
    expect(fs.readdirSync(join(dir, 'open'))).toEqual([])
  })

  test('forgets the oldest beyond its quota, keeps what one change needs, and refuses what it could not keep', () => {
    const dir = `${folder.store}-small`
    const store = new ChangeStore(dir, { root: folder.root, name: 'work' }, 1_000_000)
    const log = new ChangeLog(store)
    const held = openRoot(folder.root)
    const put = (name: string, content: Uint8Array) =>
      log.put({ folder: held, name, parts: [name] }, null, () => fs.writeFileSync(path(name), content))
    put('a', new Uint8Array())
    for (let i = 0; i < 30; i += 1) put('a', randomBytes(100_000))
    expect(store.usage().bytes).toBeLessThanOrEqual(1_000_000)
    expect(store.changes().at(-1)?.before).toMatchObject({ kind: 'file', size: 100_000 })
    expect(store.changes().length).toBeLessThan(15)
    fs.writeFileSync(path('huge'), randomBytes(600_000))
    const before = fs.readFileSync(path('huge'))
    expect(() => put('huge', new Uint8Array())).toThrow(expect.objectContaining({ code: 'store-full' }) as Error)
    expect(fs.readFileSync(path('huge'))).toEqual(before)
    log.close()
    fs.closeSync(held)
  })

  test('many small edits of one file cost little more than the file', () => {
    const content = randomBytes(2_000_000)
    fs.writeFileSync(path('a'), content)
    for (let i = 0; i < 50; i += 1) {
      content.writeUInt32LE(i, (i * 39_916_801) % 1_999_000)
      const held = openRoot(folder.root)
      folder.gate.log.put({ folder: held, name: 'a', parts: ['a'] }, null, () => fs.writeFileSync(path('a'), content))
      fs.closeSync(held)
    }
    expect(folder.gate.log.store?.usage().bytes).toBeLessThan(2_000_000 * 5)
  })
})
