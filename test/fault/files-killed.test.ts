/**
 * `kill -9` of a folder's gate before each of the steps that a change consists of, by tools and from the workspace: what was there is there
 * whole, or what it was to become, and after a restart all of it can be taken back. The daemon's end is the gate's.
 */
import { execFile } from 'node:child_process'
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
for (const name of ['writeSync', 'fsyncSync', 'renameSync', 'linkSync', 'unlinkSync', 'mkdirSync', 'rmdirSync', 'rmSync', 'symlinkSync', 'ftruncateSync', 'chmodSync', 'utimesSync'])
  dying(fs, name)
dying(fs, 'openSync', ([, flags]) => ((flags ?? 0) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) !== 0)
dying(DatabaseSync.prototype, 'exec')
dying(StatementSync.prototype, 'run')
syncBuiltinESMExports()
const load = (name) => import(pathToFileURL(here + '/' + name).href)
const { openGate, closeGate } = await load('gate.ts')
const { writeFile } = await load('change-tools.ts')
const { deletePath, movePath } = await load('tree-tools.ts')
const { markCall } = await load('history-tools.ts')
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
await markCall(gate, { turn: 't', call: 'c', title: '' }, { session: 's' })
left = Number(point)
await kinds[kind](gate)
closeGate(gate)
console.log('done')
`

const run = promisify(execFile)
const old = 'old\n'.repeat(20_000)
const never = new AbortController().signal
let dir: string

beforeAll(() => {
  dir = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'files-killed-')))
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
  fs.writeFileSync(join(folder, 't', 'a'), 'content of a')
  fs.writeFileSync(join(folder, 't', 'b'), 'content of b', { mode: 0o755 })
}

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
]

test.each(kinds)('%s', { timeout: 240_000 }, async (kind) => {
  let points = 0
  for (let killed = true; killed; ) {
    points += 1
    const at = `${kind}, point ${points}`
    const base = join(dir, `${kinds.indexOf(kind)}-${points}`)
    const [folder, store] = [join(base, 'work'), join(base, 'store')]
    planted(folder)
    const before = treeOf(folder)
    killed = await killedAt(folder, store, kind, points)
    const left = treeWithout(folder)
    if (kind === 'write') {
      const content = left['f']?.replace(/^file 640 /, '')
      expect([old, 'new\n'.repeat(25_000)], at).toContain(content)
    }
    expect(isOldOrNew(before, left, kind), at).toBe(true)
    const gate = openGate(folder, 'work', 'rw', store)
    await settleHistory(gate, never)
    try {
      const { kept } = await undoChanges(gate, { to: 0 }, {}, never)
      expect(kept, at).toEqual([])
    } catch (error) {
      expect(error, at).toMatchObject({ code: 'nothing-to-undo' })
    }
    closeGate(gate)
    expect(treeWithout(folder), at).toEqual(before)
    fs.rmSync(base, { recursive: true })
  }
  // The last one is that which was not reached.
  expect(points).toBeGreaterThan(2)
})

/** What each file holds is what it or another held, or is the change's. */
function isOldOrNew(before: Record<string, string>, left: Record<string, string>, kind: string): boolean {
  const same = (name: string, from = name) => left[name] === before[from]
  switch (kind) {
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
    default:
      return true
  }
}
