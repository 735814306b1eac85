/**
 * Files through the gate: tools against plain node:fs, undo against a copy, what is kept for undo, and folders in the workspace. The gate's own
 * functions are timed in this process, so that nothing but their work is compared; what the workspace does is timed inside it.
 */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeFile } from '../actors/fs-gate/change-tools.ts'
import { closeGate, type Gate, openGate } from '../actors/fs-gate/gate.ts'
import { markCall, undoChanges } from '../actors/fs-gate/history-tools.ts'
import { NinepConnections } from '../actors/fs-gate/ninep-connections.ts'
import { readFile } from '../actors/fs-gate/read-tools.ts'
import { rootFid, TestClient } from '../actors/fs-gate/test-client.ts'
import { openHome } from '../test/harness/product.ts'
import { say, startScriptedServer, use } from '../test/harness/scripted-messages-server.ts'
import { treeOf } from '../test/harness/tree.ts'
import { atMost, atMostTimesPeer, figure, type Figure, type Target } from './report.ts'
import { alternate, type Sampler } from './sampling.ts'

/** Those of the targets, and smaller ones that show the same ratios within some minutes. */
const sizes = {
  full: { smallFiles: 10_000, largeMiB: 1_024, edits: 1_000, workspaceFiles: 2_000, workspaceMiB: 256 },
  small: { smallFiles: 2_000, largeMiB: 128, edits: 200, workspaceFiles: 200, workspaceMiB: 32 },
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

const reported: Target = { text: 'reported', better: 'lower', keeps: () => true }

export async function files(runs: number, told: (text: string) => void, full: boolean): Promise<Figure[]> {
  const size = full ? sizes.full : sizes.small
  const { smallFiles, largeMiB, edits } = size
  const base = fs.mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))
  try {
    const host = await alternate(runs, hostSamplers(base, size), told)
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
        name: `read ${smallFiles} small files`,
        unit: 'ms',
        target: atMostTimesPeer(2),
        own: host.read,
        peer: { name: 'node:fs', samples: host.plainRead },
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
        peer: { name: 'node:fs cp of the tree', samples: host.copy },
      }),
      figure({
        name: `kept for ${edits} edits of a 10 MiB file`,
        unit: 'MiB',
        target: reported,
        own: kept.kept,
        peer: { name: 'whole copies', samples: kept.plain },
      }),
      ...(await inWorkspace(size, told)),
    ]
  } finally {
    fs.rmSync(base, { recursive: true, force: true })
  }
}

function hostSamplers(base: string, { smallFiles, largeMiB }: Size) {
  const fresh = (name: string): { gate: Gate; root: string } => {
    const root = join(base, name)
    const store = join(base, `${name}-store`)
    for (const dir of [root, store]) fs.rmSync(dir, { recursive: true, force: true })
    fs.mkdirSync(root)
    return { gate: openGate(root, name, 'rw', store), root }
  }
  /** Files a sampler leaves are read by the next one. */
  const ours = join(base, 'ours')
  const theirs = join(base, 'theirs')
  const numbers = Array.from({ length: smallFiles }, (_, index) => index)
  const pieces = Array.from({ length: (largeMiB * 1024 ** 2) / pieceBytes }, (_, index) => index)
  const pathOf = (index: number) => `d${index % 50}/f${index}`

  const write =
    (name: string, list: readonly number[], content: string): Sampler =>
    async () => {
      const { gate } = fresh(name)
      const taken = await timed(async () => {
        for (const index of list) await writeFile(gate, { path: pathOf(index), content }, {}, never)
      })
      closeGate(gate)
      return taken
    }
  const plainWrite =
    (root: string, list: readonly number[], content: string): Sampler =>
    async () => {
      fs.rmSync(root, { recursive: true, force: true })
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
  const tree = join(base, 'tree')
  return {
    write: write('ours', numbers, small),
    plainWrite: plainWrite(theirs, numbers, small),
    read: read('ours', numbers),
    plainRead: () => timed(async () => numbers.forEach((index) => fs.readFileSync(join(ours, pathOf(index)), 'utf8'))),
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
    undo: async () => {
      const { gate, root } = fresh('tree')
      plantTree(root, numbers.map(pathOf))
      const before = treeOf(root)
      removeTree(gate, root)
      const taken = await timed(() => undoChanges(gate, { to: 0 }, {}, never))
      closeGate(gate)
      if (JSON.stringify(treeOf(root)) !== JSON.stringify(before)) throw new Error('What came back is not what was removed.')
      return taken
    },
    copy: () => timed(async () => fs.cpSync(tree, join(base, `copy-${randomBytes(4).toString('hex')}`), { recursive: true })),
  }
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

/** The peer would be QEMU's own virtio-9p export, which needs a guest module that the image does not have. */
const noPeer = "no peer: QEMU's virtio-9p needs a kernel module that the workspace image does not carry"

async function inWorkspace({ workspaceFiles, workspaceMiB }: Size, told: (text: string) => void): Promise<Figure[]> {
  const server = await startScriptedServer()
  const home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  const folder = home.folder('work')
  const measure =
    (command: string): Sampler =>
    async () => {
      server.script([[use('Bash', { command, timeout: 590_000 }, 'toolu_bench')], [say('done')]])
      const run = await home.prompt('go', ['--folder', folder, '--approve', 'all'], { deadlineMs: 640_000 })
      const said = run.results.find(({ id }) => id === 'toolu_bench')?.output
      const output = typeof said === 'string' ? said : run.story
      const ms = /took (\d+(?:\.\d+)?) ms/.exec(output)?.[1]
      if (ms === undefined) throw new Error(output.slice(0, 300))
      return Number(ms)
    }
  const python = (code: string) =>
    `python3 - <<'PY'\nimport os, time, shutil\nt = time.monotonic()\n${code}\nprint('took', round((time.monotonic() - t) * 1000, 1), 'ms')\nPY`
  try {
    const samples = await alternate(
      1,
      {
        small: measure(
          python(`os.mkdir('s')
for i in range(${workspaceFiles}): open(f's/{i}', 'w').write('x' * 500)
for i in range(${workspaceFiles}): open(f's/{i}').read()
shutil.rmtree('s')`),
        ),
        write: measure(python(`f = open('big', 'wb'); [f.write(bytes(1 << 20)) for _ in range(${workspaceMiB})]; f.close()`)),
        read: measure(python(`f = open('big', 'rb'); [f.read(1 << 20) for _ in range(${workspaceMiB})]`)),
        seen: async () => roundTrip(folder, measure),
      },
      told,
    )
    const unmet: Target = { text: 'at most 2 × the peer', better: 'lower', keeps: () => false }
    const said = (item: Figure): Figure => (item.value === null ? item : { ...item, why: noPeer })
    return [
      said(
        figure({
          name: `in the workspace: create, read and delete ${workspaceFiles} small files`,
          unit: 'ms',
          target: unmet,
          own: samples.small,
        }),
      ),
      said(figure({ name: `in the workspace: write ${workspaceMiB} MiB`, unit: 'ms', target: unmet, own: samples.write })),
      said(figure({ name: `in the workspace: read ${workspaceMiB} MiB`, unit: 'ms', target: unmet, own: samples.read })),
      figure({
        name: 'a change on the device seen in the workspace, and its answer on the device',
        unit: 'ms',
        target: atMost(1_000, 'ms'),
        own: samples.seen,
      }),
    ]
  } finally {
    await home.close()
    await server.close()
  }
}

/** A program in the workspace waits for each of ten files' content to change, and answers by writing another; the median of those is taken here. */
async function roundTrip(folder: string, measure: (command: string) => Sampler): Promise<number> {
  const ping = join(folder, 'ping')
  const pong = join(folder, 'pong')
  fs.writeFileSync(ping, '0')
  fs.writeFileSync(pong, '0')
  const times: number[] = []
  const rounds = 10
  let sent = 0
  let begun = 0
  const watcher = fs.watch(folder, () => {
    if (fs.readFileSync(pong, 'utf8') !== `${sent}.`) return
    if (sent > 0) times.push(performance.now() - begun)
    if (sent === rounds) return
    sent += 1
    begun = performance.now()
    fs.writeFileSync(ping, `${sent}.`)
  })
  try {
    const program = `python3 - <<'PY'
import os, time
open('pong', 'w').write('0.')
for i in range(1, ${rounds + 1}):
    while open('ping').read() != f'{i}.': time.sleep(0.001)
    open('pong', 'w').write(f'{i}.')
print('took 1 ms')
PY`
    await measure(program)()
  } finally {
    watcher.close()
  }
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN
}
