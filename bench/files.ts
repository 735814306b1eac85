/**
 * Files through the gate: tools against plain node:fs, undo against a copy, what is kept for undo, and folders in the workspace. The gate's own
 * functions are timed in this process, so that nothing but their work is compared; what the workspace does is timed inside it.
 */
import { createHash, hash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeFile } from '../actors/fs-gate/change-tools.ts'
import { closeGate, type Gate, openGate } from '../actors/fs-gate/gate.ts'
import { close, openHeld, openPlace, openRoot, whereIs } from '../actors/fs-gate/handles.ts'
import { markCall, undoChanges } from '../actors/fs-gate/history-tools.ts'
import { NinepConnections } from '../actors/fs-gate/ninep-connections.ts'
import { readFile } from '../actors/fs-gate/read-tools.ts'
import { rootFid, TestClient } from '../actors/fs-gate/test-client.ts'
import { treeOf } from '../test/harness/tree.ts'
import { inWorkspace } from './files-workspace.ts'
import { atMostTimesPeer, figure, type Figure, reported } from './report.ts'
import { alternate, type Sampler } from './sampling.ts'

/** Those of the targets, and smaller ones that show the same ratios within some minutes. */
const sizes = {
  full: { smallFiles: 10_000, largeMiB: 1_024, edits: 1_000, workspace: { files: 2_000, gitFiles: 5_000, mib: 256 } },
  small: { smallFiles: 2_000, largeMiB: 128, edits: 200, workspace: { files: 100, gitFiles: 250, mib: 16 } },
}
type Size = (typeof sizes)['full']
const pieceBytes = 4 * 1024 ** 2
const editedBytes = 10 * 1024 ** 2
const never = new AbortController().signal
const small = 'content of a small file\n'.repeat(40)
const piece = 'a'
  .repeat(63)
  .concat('\n')
  .repeat(pieceBytes / 64)

export async function files(runs: number, told: (text: string) => void, full: boolean): Promise<Figure[]> {
  const size = full ? sizes.full : sizes.small
  const { smallFiles, largeMiB, edits } = size
  const base = fs.mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))
  // A disk's file system may take five times as long to make a file where many were removed a moment ago, now for the one and now for the other.
  const memory = fs.mkdtempSync(join(fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'bulkhead-bench-'))
  try {
    const host = await alternate(runs, { ...hostSamplers(base, size), ...undoSamplers(memory, size) }, told)
    const kept = await alternate(1, { kept: () => keptBytes(base, edits), plain: async () => (editedBytes * edits) / 1024 ** 2 }, told)
    const synced = 'node:fs, written aside, synced and renamed'
    return [
      figure({
        name: `write ${smallFiles} small files`,
        unit: 'ms',
        target: atMostTimesPeer(2),
        own: host.write,
        peer: { name: synced, samples: host.plainWrite },
      }),
      figure({
        name: `write over ${smallFiles} small files`,
        unit: 'ms',
        target: atMostTimesPeer(2),
        own: host.writeOver,
        peer: { name: synced, samples: host.plainWriteOver },
      }),
      figure({
        name: `read ${smallFiles} small files`,
        unit: 'ms',
        target: atMostTimesPeer(2),
        own: host.read,
        peer: { name: 'node:fs', samples: host.plainRead },
      }),
      figure({
        name: `read ${smallFiles} small files, against the system calls it takes`,
        unit: 'ms',
        target: reported,
        own: host.read,
        peer: { name: 'node:fs, each folder looked up and each file found, opened, read and hashed by handles', samples: host.handleRead },
      }),
      figure({
        name: `write ${largeMiB} MiB in files of 4 MiB`,
        unit: 'ms',
        target: atMostTimesPeer(2),
        own: host.writeLarge,
        peer: { name: synced, samples: host.plainWriteLarge },
      }),
      figure({
        name: `read ${largeMiB} MiB in files of 4 MiB, hashed`,
        unit: 'ms',
        target: atMostTimesPeer(2),
        own: host.readLarge,
        peer: { name: 'node:fs and sha256', samples: host.plainReadLarge },
      }),
      figure({
        name: `undo of rm -rf of ${smallFiles} files through 9P`,
        unit: 'ms',
        target: atMostTimesPeer(2),
        own: host.undo,
        peer: { name: 'node:fs cp of the same tree to where it was planted and removed', samples: host.copy },
      }),
      figure({
        name: `kept for ${edits} edits of a 10 MiB file`,
        unit: 'MiB',
        target: reported,
        own: kept.kept,
        peer: { name: 'whole copies', samples: kept.plain },
      }),
      ...(await inWorkspace(size.workspace, told)),
    ]
  } finally {
    for (const dir of [base, memory]) fs.rmSync(dir, { recursive: true, force: true })
  }
}

/** A folder that is there for the first time. */
function fresh(base: string, name: string): { gate: Gate; root: string } {
  const root = join(base, name)
  const store = storeOf(base, name)
  for (const dir of [root, store]) fs.rmSync(dir, { recursive: true, force: true })
  fs.mkdirSync(root)
  return { gate: openGate(root, name, 'rw', store), root }
}

const storeOf = (base: string, name: string) => join(base, `${name}-store`)
const pathOf = (index: number) => `d${index % 50}/f${index}`
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

function hostSamplers(base: string, { smallFiles, largeMiB }: Size) {
  /** Files a sampler leaves are read by the next one. */
  const ours = join(base, 'ours')
  const theirs = join(base, 'theirs')
  const numbers = upTo(smallFiles)
  const pieces = upTo((largeMiB * 1024 ** 2) / pieceBytes)

  /** `over`: what is there already. */
  const write =
    (name: string, list: readonly number[], content: string, over = false): Sampler =>
    async () => {
      const gate = over ? openGate(join(base, name), name, 'rw', storeOf(base, name)) : fresh(base, name).gate
      const taken = await timed(async () => {
        for (const index of list) await writeFile(gate, { path: pathOf(index), content }, {}, never)
      })
      closeGate(gate)
      return taken
    }
  const plainWrite =
    (root: string, list: readonly number[], content: string, over = false): Sampler =>
    async () => {
      if (!over) fs.rmSync(root, { recursive: true, force: true })
      return timed(async () => {
        for (const index of list) {
          const path = join(root, pathOf(index))
          fs.mkdirSync(join(path, '..'), { recursive: true })
          const fd = fs.openSync(`${path}.tmp`, 'w')
          fs.writeSync(fd, content)
          fs.fsyncSync(fd)
          fs.closeSync(fd)
          fs.renameSync(`${path}.tmp`, path)
        }
      })
    }
  const read =
    (name: string, list: readonly number[]): Sampler =>
    async () => {
      const gate = openGate(join(base, name), name, 'ro')
      const taken = await timed(async () => {
        for (const index of list) await readFile(gate, { path: pathOf(index) }, {}, never)
      })
      closeGate(gate)
      return taken
    }
  return {
    write: write('ours', numbers, small),
    plainWrite: plainWrite(theirs, numbers, small),
    writeOver: write('ours', numbers, `${small}more\n`, true),
    plainWriteOver: plainWrite(theirs, numbers, `${small}more\n`, true),
    read: read('ours', numbers),
    plainRead: () => timed(async () => numbers.forEach((index) => fs.readFileSync(join(ours, pathOf(index)), 'utf8'))),
    handleRead: () => timed(async () => readByHandles(ours, numbers.map(pathOf))),
    writeLarge: write('large', pieces, piece),
    plainWriteLarge: plainWrite(join(base, 'large-plain'), pieces, piece),
    readLarge: read('large', pieces),
    plainReadLarge: () =>
      timed(async () =>
        pieces.forEach((index) =>
          createHash('sha256')
            .update(fs.readFileSync(join(base, 'large', pathOf(index))))
            .digest(),
        ),
      ),
  }
}

function undoSamplers(base: string, { smallFiles }: Size) {
  const paths = upTo(smallFiles).map(pathOf)
  const aside = join(base, 'aside')
  return {
    undo: async () => {
      const { gate, root } = fresh(base, 'tree')
      plantTree(root, paths)
      const before = treeOf(root)
      removeTree(gate, root)
      const taken = await timed(() => undoChanges(gate, { to: 0 }, {}, never))
      closeGate(gate)
      if (JSON.stringify(treeOf(root)) !== JSON.stringify(before)) throw new Error('What came back is not what was removed.')
      return taken
    },
    // With the same before it.
    copy: async () => {
      const root = join(base, 'copied')
      fs.rmSync(root, { recursive: true, force: true })
      plantTree(root, paths)
      if (!fs.existsSync(aside)) fs.cpSync(root, aside, { recursive: true })
      for (const name of fs.readdirSync(root)) fs.rmSync(join(root, name), { recursive: true })
      return timed(async () => fs.cpSync(aside, root, { recursive: true }))
    },
  }
}

/**
 * What no containment by handles can do without, in Node's calls and nothing else: where a known folder is now, what the name in it is, its content, and
 * the hash that a later edit is compared by.
 */
function readByHandles(root: string, paths: readonly string[]): void {
  const folders = new Map<string, number>()
  for (const path of paths) {
    const [folder = '', name = ''] = path.split('/')
    let held = folders.get(folder)
    if (held === undefined) folders.set(folder, (held = openRoot(join(root, folder))))
    if (whereIs(held) !== `${root}/${folder}`) throw new Error(folder)
    const place = openPlace(held, name)
    const { size } = fs.fstatSync(place)
    const fd = openHeld(place)
    const bytes = Buffer.allocUnsafe(size + 1)
    const content = bytes.subarray(0, fs.readSync(fd, bytes, 0, size + 1, 0))
    content.toString('utf8')
    hash('sha256', content, 'hex')
    for (const open of [fd, place]) close(open)
  }
  for (const fd of folders.values()) close(fd)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

function plantTree(root: string, paths: readonly string[]): void {
  for (const [index, path] of paths.entries()) {
    fs.mkdirSync(join(root, path, '..'), { recursive: true })
    fs.writeFileSync(join(root, path), `${index} ${small}`, { mode: index % 2 === 0 ? 0o644 : 0o755 })
  }
}

/** As a guest's kernel asks for it. */
function removeTree(gate: Gate, root: string): void {
  const connections = new NinepConnections(gate)
  const client = new TestClient(connections).attach()
  for (const name of fs.readdirSync(root)) {
    const fid = client.walk(name)
    for (const file of fs.readdirSync(join(root, name))) client.ask('unlinkat', { fid, name: file, flags: 0 })
    client.ask('unlinkat', { fid: rootFid, name, flags: 0x200 })
  }
  connections.closeAll()
}

/** MiB that the store holds after each of many calls has changed a few bytes somewhere in a file. */
async function keptBytes(base: string, edits: number): Promise<number> {
  const root = join(base, 'edited')
  fs.mkdirSync(root)
  fs.writeFileSync(join(root, 'file'), randomBytes(editedBytes))
  const gate = openGate(root, 'edited', 'rw', join(base, 'edited-store'))
  const client = new TestClient(new NinepConnections(gate)).attach()
  for (let i = 0; i < edits; i += 1) {
    await markCall(gate, { turn: 't', call: `c${i}`, title: '' }, {})
    const fid = client.open('file', 1)
    client.write(fid, `edit ${i}`, (i * 7_919_083) % editedBytes)
    client.ask('clunk', { fid })
  }
  const bytes = gate.log.store?.usage().bytes ?? 0
  closeGate(gate)
  return bytes / 1024 ** 2
}
