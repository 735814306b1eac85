/**
 * `kill -9` of a folder's gate before each of the steps that a change consists of, by tools and from the workspace, and those of undo and redo: what
 * was there is there whole, or what it was to become, and after a restart all of it can be taken back. The daemon's end is the gate's
 * (`daemon.test.ts`).
 */
import { execFile } from 'node:child_process'
import { hash } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { closeGate, openGate } from '../../actors/fs-gate/gate.ts'
import { settleHistory, undoChanges } from '../../actors/fs-gate/history-tools.ts'
import { checkout } from '../harness/product.ts'
import { treeOf } from '../harness/tree.ts'

/**
 * Makes one change, and kills itself right before the `point`th call that changes something on the disk. Ends by itself when there are fewer.
 */
const program = `
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
const [here, folder, store, kind, point] = process.argv.slice(2)
const again = 'the way back from half an undo'
let left = Infinity
const dying = (object, name, counts = () => true) => {
  const real = object[name]
  object[name] = function (...args) {
    if (counts(args)) {
      left -= 1
      if (left === 0) process.kill(process.pid, 'SIGKILL')
    }
    return real.apply(this, args)
  }
}
const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC } = fs.constants
const steps = ['writeSync', 'fsyncSync', 'renameSync', 'linkSync', 'unlinkSync', 'mkdirSync', 'rmdirSync', 'rmSync', 'symlinkSync', 'ftruncateSync', 'chmodSync', 'utimesSync', 'copyFileSync']
for (const name of steps) dying(fs, name)
dying(fs, 'openSync', ([, flags]) => ((flags ?? 0) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) !== 0)
// What a transaction holds is on the disk with its end, and not before.
let within = false
dying(DatabaseSync.prototype, 'exec', ([sql]) => {
  if (/^(BEGIN|COMMIT|ROLLBACK)/.test(sql)) within = sql.startsWith('BEGIN')
  return !within
})
dying(StatementSync.prototype, 'run', () => !within)
syncBuiltinESMExports()
const load = (name) => import(pathToFileURL(here + '/' + name).href)
const { openGate, closeGate } = await load('gate.ts')
const { writeFile, editFile, multiEdit } = await load('change-tools.ts')
const { deletePath, movePath } = await load('tree-tools.ts')
const { markCall, undoChanges, redoChanges, settleHistory } = await load('history-tools.ts')
const { treeOf } = await load('../../test/harness/tree.ts')
const { NinepConnections } = await load('ninep-connections.ts')
const { TestClient } = await load('test-client.ts')

const never = new AbortController().signal
const fresh = 'new\\n'.repeat(25_000)
const guest = (gate) => new TestClient(new NinepConnections(gate)).attach()
const attributes = { mode: 0, uid: 4711, gid: 4711, size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }
const kinds = {
  write: (gate) => writeFile(gate, { path: 'f', content: fresh }, {}, never),
  move: (gate) => movePath(gate, { path: 'f', to: 'x/y' }, {}, never),
  delete: (gate) => deletePath(gate, { path: 'f' }, {}, never),
  'write something new': (gate) => writeFile(gate, { path: 'd/e/g', content: fresh }, {}, never),
  edit: (gate) => editFile(gate, { path: 'f', oldText: 'old', newText: 'new', replaceAll: true }, {}, never),
  'multi-edit': (gate) => multiEdit(gate, { path: 'f', edits: [{ oldText: 'old', newText: 'newer', replaceAll: true }, { oldText: 'newer', newText: 'new', replaceAll: true }] }, {}, never),
  'move of a folder': (gate) => movePath(gate, { path: 't', to: 'x/y' }, {}, never),
  'deletion of a tree': (gate) => deletePath(gate, { path: 't', recursive: true }, {}, never),
  undo: (gate) => undoChanges(gate, { to: 0 }, {}, never),
  redo: (gate) => redoChanges(gate, {}, {}, never),
  [again]: (gate) => settleHistory(gate, never),
  'make and write, from the workspace': async (gate) => {
    const client = guest(gate)
    const fid = client.create('t', 'made')
    client.write(fid, fresh.slice(0, 20_000), 0)
    client.ask('clunk', { fid })
  },
  'write over, from the workspace': async (gate) => {
    const client = guest(gate)
    const fid = client.open('f', 1)
    client.write(fid, 'new', 0)
    client.ask('clunk', { fid })
  },
  'rename over, from the workspace': async (gate) => void guest(gate).ask('renameat', { oldDir: 0, oldName: 'other', newDir: 0, newName: 'f' }),
  'remove, from the workspace': async (gate) => void guest(gate).ask('unlinkat', { fid: 0, name: 'f', flags: 0 }),
  'change of mode, from the workspace': async (gate) => {
    const client = guest(gate)
    client.ask('setattr', { ...attributes, fid: client.walk('f'), valid: 1, mode: 0o700 })
  },
  'cut short, from the workspace': async (gate) => {
    const client = guest(gate)
    client.ask('setattr', { ...attributes, fid: client.walk('f'), valid: 8, size: 7n })
  },
}
const gate = openGate(folder, 'work', 'rw', store)
if (kind !== again) await markCall(gate, { turn: 't', call: 'c', title: '' }, { session: 's' })
if (kind === 'undo' || kind === 'redo') {
  // One of each kind of step: a text, a mode, a file and a folder gone, a folder and a file elsewhere, a file and a folder that are new.
  await kinds.write(gate)
  await kinds['deletion of a tree'](gate)
  await movePath(gate, { path: 'm', to: 'other place/m' }, {}, never)
  await writeFile(gate, { path: 'm', content: 'in its place' }, {}, never)
  const client = guest(gate)
  client.ask('setattr', { ...attributes, fid: client.walk('other'), valid: 1, mode: 0o700 })
}
if (kind !== again) fs.writeFileSync(store + '-changed', JSON.stringify(treeOf(folder)))
if (kind === 'redo') await undoChanges(gate, { to: 0 }, {}, never)
left = Number(point)
await kinds[kind](gate)
closeGate(gate)
console.log('done')
`

const again = 'the way back from half an undo'
/** A step in the middle of an undo. */
const halfway = 12
const run = promisify(execFile)
const old = 'old\n'.repeat(20_000)
const never = new AbortController().signal
let dir: string

beforeAll(() => {
  // In memory, where there is such a disk: what a kill leaves is the same there, and nothing waits for the disk.
  const place = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  dir = fs.realpathSync(fs.mkdtempSync(join(place, 'files-killed-')))
  fs.writeFileSync(join(dir, 'program.mjs'), program)
})
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }))

/** Whether it was killed. */
async function killedAt(folder: string, store: string, kind: string, point: number): Promise<boolean> {
  try {
    const args = [
      '--disable-warning=ExperimentalWarning',
      join(dir, 'program.mjs'),
      join(checkout, 'actors', 'fs-gate'),
      folder,
      store,
      kind,
      String(point),
    ]
    // Started anew for each point: what it loads is compiled once.
    const env = { ...process.env, NODE_COMPILE_CACHE: join(dir, 'compiled') }
    const { stdout } = await run(process.execPath, args, { env })
    expect(stdout).toBe('done\n')
    return false
  } catch (error) {
    if ((error as { signal?: string }).signal !== 'SIGKILL') throw error
    return true
  }
}

function planted(folder: string): void {
  fs.mkdirSync(join(folder, 't'), { recursive: true })
  fs.writeFileSync(join(folder, 'f'), old, { mode: 0o640 })
  fs.writeFileSync(join(folder, 'other'), 'other')
  fs.mkdirSync(join(folder, 'm'), { mode: 0o750 })
  fs.writeFileSync(join(folder, 'm', 'c'), 'content of c')
  fs.writeFileSync(join(folder, 't', 'a'), 'content of a')
  fs.writeFileSync(join(folder, 't', 'b'), 'content of b', { mode: 0o755 })
}

/** What differs should be readable. */
const inShort = (tree: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(tree).map(([name, what]) => [
      name,
      what.length < 100 ? what : `${what.slice(0, 20)}… ${what.length} ${hash('sha256', what)}`,
    ]),
  )

/** Less what an interrupted write leaves under a name of its own. */
const treeWithout = (folder: string) => Object.fromEntries(Object.entries(treeOf(folder)).filter(([name]) => !name.includes('.bulkhead-')))

const kinds = [
  'write',
  'move',
  'delete',
  'rename over, from the workspace',
  'remove, from the workspace',
  'change of mode, from the workspace',
  'cut short, from the workspace',
  'write something new',
  'edit',
  'multi-edit',
  'move of a folder',
  'deletion of a tree',
  'undo',
  'redo',
  again,
  'make and write, from the workspace',
  'write over, from the workspace',
]

test.concurrent.each(kinds)('%s', { timeout: 600_000 }, async (kind) => {
  let points = 0
  for (let killed = true; killed; ) {
    points += 1
    const at = `${kind}, point ${points}`
    const base = join(dir, `${kinds.indexOf(kind)}-${points}`)
    const [folder, store] = [join(base, 'work'), join(base, 'store')]
    planted(folder)
    const before = treeOf(folder)
    if (kind === again) expect(await killedAt(folder, store, 'undo', halfway)).toBe(true)
    killed = await killedAt(folder, store, kind, points)
    const left = treeWithout(folder)
    expect(isOldOrNew(before, left, kind), at).toBe(true)
    const gate = openGate(folder, 'work', 'rw', store)
    await settleHistory(gate, never)
    if (['undo', 'redo', again].includes(kind)) {
      // An undo is made or not made.
      const changed = JSON.parse(fs.readFileSync(`${store}-changed`, 'utf8')) as Record<string, string>
      const ends = { undo: [changed, before], redo: [before, changed], [again]: [changed] }[kind]?.map(inShort)
      expect(ends, at).toContainEqual(inShort(treeOf(folder)))
      if (!killed) expect(inShort(treeOf(folder)), at).toEqual(ends?.at(-1))
    }
    try {
      const { kept } = await undoChanges(gate, { to: 0 }, {}, never)
      expect(kept, at).toEqual([])
    } catch (error) {
      expect(error, at).toMatchObject({ code: 'nothing-to-undo' })
    }
    closeGate(gate)
    expect(inShort(treeOf(folder)), at).toEqual(inShort(before))
    fs.rmSync(base, { recursive: true })
  }
  // The last one is that which was not reached.
  expect(points).toBeGreaterThan(2)
})

/** What each file holds is what it or another held, or is the change's. */
function isOldOrNew(before: Record<string, string>, left: Record<string, string>, kind: string): boolean {
  const same = (name: string, from = name) => left[name] === before[from]
  switch (kind) {
    case 'write':
    case 'edit':
    case 'multi-edit': {
      const content = left['f']?.replace(/^file 640 /, '')
      return content === old || content === 'new\n'.repeat(kind === 'write' ? 25_000 : 20_000)
    }
    case 'write something new':
      return same('f') && (!('d/e/g' in left) || left['d/e/g']?.replace(/^file \d+ /, '') === 'new\n'.repeat(25_000))
    case 'move of a folder':
      return ['a', 'b'].every((name) => (same('t/a') ? same(`t/${name}`) && !('x/y' in left) : same(`x/y/${name}`, `t/${name}`)))
    case 'deletion of a tree':
      return ['t/a', 't/b'].every((name) => same(name) || !(name in left))
    case 'write over, from the workspace':
      return same('f') || left['f'] === `file 640 new${old.slice(3)}`
    case 'make and write, from the workspace':
      return same('t/a') && same('f') && ('\n' + 'new\n'.repeat(5_000)).includes(left['t/made']?.replace(/^file \d+ /, '') ?? '')
    case 'move':
      return same('f') ? !('x/y' in left) : same('x/y', 'f')
    case 'delete':
    case 'remove, from the workspace':
      return same('f') || !('f' in left)
    case 'rename over, from the workspace':
      return same('f') ? same('other') : same('f', 'other') && !('other' in left)
    case 'change of mode, from the workspace':
      return left['f'] === before['f'] || left['f'] === before['f']?.replace('file 640', 'file 700')
    case 'cut short, from the workspace':
      return same('f') || left['f'] === 'file 640 old\nold'
    // Of undo and redo it is told by what they are made of.
    default:
      return true
  }
}
