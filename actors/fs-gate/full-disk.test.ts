/**
 * A disk that fills up in the middle of a change, at every point where it can: what the change was to replace is there whole, or what it was to
 * become, never a mix, and what was kept can be given back once there is room. The disk is a tmpfs of 2 MB that bwrap makes for a child
 * process; on it lie the folder, what is kept of its changes, or both. Full is it of bytes, or of files: then nothing new can be made on it.
 */
import { execFile } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

/** Runs in the jail. Its one line of output: what was tried, how often the disk was full, and what was neither old nor new. */
const program = `
import * as fs from 'node:fs'
import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
const [here, full, of] = process.argv.slice(2)
const folder = full === 'store' ? '/other/work' : '/full/work'
const stores = full === 'folder' ? '/other/store/' : '/full/store/'
const load = (name) => import(pathToFileURL(here + '/' + name).href)
const { openGate, closeGate } = await load('gate.ts')
const { writeFile, editFile, multiEdit } = await load('change-tools.ts')
const { deletePath, movePath } = await load('tree-tools.ts')
const { undoChanges, redoChanges, markCall } = await load('history-tools.ts')
const { NinepConnections } = await load('ninep-connections.ts')
const { TestClient } = await load('test-client.ts')

const never = new AbortController().signal
const old = 'old\\n'.repeat(20_000)
const fresh = 'new\\n'.repeat(25_000)
let count = 0
const tried = {}
const wrong = []

/** The disk with room for so many files, the work, then room again. */
async function squeezedOfFiles(room, work) {
  fs.mkdirSync('/full/filler')
  let made = 0
  try {
    for (;;) {
      fs.closeSync(fs.openSync('/full/filler/' + made, 'w'))
      made += 1
    }
  } catch (error) {
    if (error.code !== 'ENOSPC') throw error
  }
  for (let i = 0; i < room; i += 1) fs.rmSync('/full/filler/' + i)
  try {
    return await work().then(() => '', (error) => error.code + ': ' + error.message)
  } finally {
    fs.rmSync('/full/filler', { recursive: true })
  }
}

/** The disk with so many bytes free, the work, then room again. */
async function squeezedOfBytes(room, work) {
  const { bsize, bavail } = fs.statfsSync('/full')
  const filler = fs.openSync('/full/filler', 'w')
  const fill = bsize * bavail - room
  try {
    for (let done = 0; done < fill; ) done += fs.writeSync(filler, Buffer.alloc(Math.min(65_536, fill - done)))
  } catch {}
  fs.closeSync(filler)
  try {
    return await work().then(() => '', (error) => error.code + ': ' + error.message)
  } finally {
    fs.rmSync('/full/filler')
  }
}
const squeezed = of === 'files' ? squeezedOfFiles : squeezedOfBytes
const rooms = of === 'files' ? [0, 1, 2, 3, 4, 8] : [0, 4_096, 16_384, 49_152, 90_112, 114_688, 131_072, 163_840, 229_376, 360_448, 1_300_000]
const at = (name) => fs.readFileSync(folder + '/' + name, 'utf8')
const there = (name) => fs.existsSync(folder + '/' + name)
const ifThere = (name) => there(name) ? at(name) : ''
/** Closed after each try: what a guest holds open keeps its room on the disk. */
const guests = []
const guest = (gate) => {
  const connections = new NinepConnections(gate)
  guests.push(connections)
  return new TestClient(connections).attach()
}
const attributes = { mode: 0, uid: 4711, gid: 4711, size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }
const taken = async (undoing) => {
  const { kept } = await undoing
  if (kept.length > 0) throw Object.assign(new Error(kept[0].cause), { code: kept[0].why })
}

const kinds = {
  write: { work: (gate) => writeFile(gate, { path: 'f', content: fresh }, {}, never), ends: () => [at('f')], either: [[old], [fresh]] },
  'write something new': {
    work: (gate) => writeFile(gate, { path: 'd/e/g', content: fresh }, {}, never),
    ends: () => [there('d/e/g') ? at('d/e/g') : '', at('f')],
    either: [['', old], [fresh, old]],
  },
  edit: {
    work: (gate) => editFile(gate, { path: 'f', oldText: 'old', newText: 'newer', replaceAll: true }, {}, never),
    ends: () => [at('f')],
    either: [[old], [old.replaceAll('old', 'newer')]],
  },
  move: {
    work: (gate) => movePath(gate, { path: 'f', to: 'x/y' }, {}, never),
    ends: () => [there('f') ? at('f') : at('x/y')],
    either: [[old]],
  },
  delete: {
    work: (gate) => deletePath(gate, { path: 'f' }, {}, never),
    ends: () => [there('f') ? at('f') : ''],
    either: [[old], ['']],
  },
  'rename over, from the workspace': {
    work: async (gate) => {
      const client = guest(gate)
      client.ask('renameat', { oldDir: 0, oldName: 'other', newDir: 0, newName: 'f' })
    },
    ends: () => [at('f'), there('other') ? at('other') : ''],
    either: [[old, 'other'], ['other', '']],
  },
  'remove, from the workspace': {
    work: async (gate) => {
      const client = guest(gate)
      client.ask('unlinkat', { fid: 0, name: 'f', flags: 0 })
    },
    ends: () => [there('f') ? at('f') : ''],
    either: [[old], ['']],
  },
  'write from the workspace': {
    // A program's own write may be cut short, as on any disk: what it was before is kept, or nothing was written.
    work: async (gate) => {
      const client = guest(gate)
      const fid = client.open('f', 0o1001)
      for (let i = 0; i < 4; i += 1) client.write(fid, fresh.slice(0, 25_000), i * 25_000)
      client.ask('clunk', { fid })
    },
    ends: () => [],
    either: [[]],
  },
  undo: {
    before: (gate) => writeFile(gate, { path: 'f', content: fresh }, {}, never),
    work: (gate) => taken(undoChanges(gate, { to: 0 }, {}, never)),
    ends: () => [at('f')],
    either: [[old], [fresh]],
  },
  'undo of a deletion': {
    before: (gate) => deletePath(gate, { path: 'f' }, {}, never),
    work: (gate) => taken(undoChanges(gate, { to: 0 }, {}, never)),
    ends: () => [ifThere('f')],
    either: [[''], [old]],
  },
  redo: {
    before: async (gate) => {
      await writeFile(gate, { path: 'f', content: fresh }, {}, never)
      await undoChanges(gate, { to: 0 }, {}, never)
    },
    work: (gate) => taken(redoChanges(gate, {}, {}, never)),
    ends: () => [at('f')],
    either: [[old], [fresh]],
  },
  'multi-edit': {
    work: (gate) => {
      const edits = [{ oldText: 'old', newText: 'newer' }, { oldText: 'newer', newText: 'newest' }]
      return multiEdit(gate, { path: 'f', edits: edits.map((edit) => ({ ...edit, replaceAll: true })) }, {}, never)
    },
    ends: () => [at('f')],
    either: [[old], [old.replaceAll('old', 'newest')]],
  },
  'deletion of a tree': {
    work: (gate) => deletePath(gate, { path: 't', recursive: true }, {}, never),
    // File by file: one may have gone before the disk was full.
    ends: () => [ifThere('t/a'), ifThere('t/b')],
    either: [[old, 'b'], [old, ''], ['', 'b'], ['', '']],
  },
  'cut short, from the workspace': {
    work: async (gate) => {
      const client = guest(gate)
      client.ask('setattr', { ...attributes, fid: client.walk('f'), valid: 8, size: 7n })
    },
    ends: () => [at('f')],
    either: [[old], [old.slice(0, 7)]],
  },
  'change of mode, from the workspace': {
    work: async (gate) => {
      const client = guest(gate)
      client.ask('setattr', { ...attributes, fid: client.walk('f'), valid: 1, mode: 0o700 })
    },
    ends: () => [at('f'), fs.statSync(folder + '/f').mode & 0o777],
    either: [[old, 0o640], [old, 0o700]],
  },
  'make and write, from the workspace': {
    // What it writes itself may be cut short: what is there beside it stays.
    work: async (gate) => {
      const client = guest(gate)
      const fid = client.create('t', 'made')
      for (let i = 0; i < 4; i += 1) client.write(fid, fresh.slice(0, 25_000), i * 25_000)
      client.ask('clunk', { fid })
    },
    ends: () => [at('f'), at('t/a'), at('t/b')],
    either: [[old, old, 'b']],
  },
}

const planted = { f: old, other: 'other', 't/a': old, 't/b': 'b' }
for (const [kind, { before, work, ends, either }] of Object.entries(kinds)) {
  tried[kind] = { full: 0, done: 0 }
  for (const room of rooms) {
    count += 1
    fs.rmSync(folder, { recursive: true, force: true })
    fs.rmSync(stores, { recursive: true, force: true })
    fs.mkdirSync(folder)
    fs.mkdirSync(folder + '/t')
    for (const [name, content] of Object.entries(planted)) fs.writeFileSync(folder + '/' + name, content)
    fs.chmodSync(folder + '/f', 0o640)
    const gate = openGate(folder, 'work', 'rw', stores + count)
    await markCall(gate, { turn: 't', call: 'c', title: '' }, { session: 's' })
    await before?.(gate)
    const failure = await squeezed(room, () => work(gate))
    for (const connections of guests.splice(0)) connections.closeAll()
    tried[kind][failure === '' ? 'done' : 'full'] += 1
    const said = (what) => wrong.push(kind + ' with room for ' + room + ' ' + of + ': ' + what + ' (' + failure + ')')
    const end = JSON.stringify(ends())
    if (!either.some((one) => JSON.stringify(one) === end)) said('a mix')
    if (failure !== '' && !/ENOSPC|no space left|store-full|failed/.test(failure)) said('another failure')
    const temps = fs.readdirSync(folder).filter((name) => name.includes('.bulkhead-'))
    if (temps.length > 0) said('left ' + temps)
    // With room again all of it is taken back.
    try {
      await undoChanges(gate, { to: 0 }, {}, never)
    } catch (error) {
      if (error.code !== 'nothing-to-undo') said('undo failed: ' + error.message)
    }
    for (const [name, content] of Object.entries(planted)) if (ifThere(name) !== content) said('not undone: ' + name)
    if ((fs.statSync(folder + '/f').mode & 0o777) !== 0o640) said('another mode')
    if (there('t/made')) said('not undone: t/made')
    closeGate(gate)
  }
}
console.log(JSON.stringify({ tried, wrong }))
`

const disk = { size: 2_000_000, files: 64 }

test.each([
  ['both', 'bytes'],
  ['folder', 'bytes'],
  ['store', 'bytes'],
  ['both', 'files'],
  ['folder', 'files'],
  ['store', 'files'],
] as const)('old or new, never a mix; on the full disk: %s; full of %s', async (full, of) => {
  const dir = fs.mkdtempSync(join(tmpdir(), 'full-disk-'))
  try {
    fs.writeFileSync(join(dir, 'program.mjs'), program)
    const jail = ['--bind', '/', '/', '--dev', '/dev', '--tmpfs', '/full', '--tmpfs', '/other', '--bind', dir, '/tmp']
    const rights = ['--unshare-user', '--uid', '0', '--gid', '0', '--cap-add', 'CAP_SYS_ADMIN']
    const mount = `mount -t tmpfs -o size=${disk.size},nr_inodes=${disk.files} none /full && exec "$@"`
    const run = ['sh', '-c', mount, 'sh', process.execPath, '/tmp/program.mjs', import.meta.dirname, full, of]
    const { stdout } = await promisify(execFile)('bwrap', [...rights, ...jail, ...run], { maxBuffer: 1024 * 1024 })
    const { tried, wrong } = JSON.parse(stdout) as { tried: Record<string, { full: number; done: number }>; wrong: string[] }
    expect(wrong).toEqual([])
    expect(Object.keys(tried)).toHaveLength(16)
    // Each was stopped by the full disk, and got through once there was room.
    for (const [kind, { full: stopped, done }] of Object.entries(tried)) {
      // What takes away, or truncates first, needs room for what is kept, and for nothing else; what makes something new needs none for that.
      const writes = /^(write$|write something|edit|multi-edit|undo|redo|make)/.test(kind)
      const bytes = { both: true, folder: writes, store: kind !== 'write something new' }
      // The store makes no file for a change; a move makes a folder.
      const files = { both: writes || kind === 'move', store: false }
      const needsRoom = of === 'bytes' ? bytes : { ...files, folder: files.both }
      if (needsRoom[full]) expect(stopped, kind).toBeGreaterThan(0)
      if (of === 'files' && full === 'store') expect(stopped, kind).toBe(0)
      expect(done, kind).toBeGreaterThan(0)
    }
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
})
