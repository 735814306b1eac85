/** While another process swaps folders with links that lead out, thousands of times, no operation of tools or workspace gets out. */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { editFile, writeFile } from './change-tools.ts'
import { closeGate, openGate } from './gate.ts'
import { NinepConnections } from './ninep-connections.ts'
import { osFault } from './os-errors.ts'
import { listFolder, readFile, statPath } from './read-tools.ts'
import { globFiles, grepFiles } from './search-tools.ts'
import { TestClient, uid } from './test-client.ts'
import { never, noLimits, openDescriptors, secret, type TestFolder, testFolder } from './test-folder.ts'
import { deletePath, movePath } from './tree-tools.ts'

const iterations = 20_000

let folder: TestFolder
let swapper: ChildProcess | null = null
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => {
  swapper?.kill('SIGKILL')
  folder.remove()
})

const swapScript = `
import * as fs from 'node:fs'
const [root, outside] = process.argv.slice(2)
fs.symlinkSync(outside, root + '/evil')
fs.symlinkSync(outside + '/secret.txt', root + '/evil-file')
process.send('ready')
const attempt = (work) => { try { work() } catch {} }
for (;;) {
  // A write into the gap between two renames makes a folder of that name, and nothing could be swapped from then on.
  if (fs.existsSync(root + '/kept')) attempt(() => { fs.rmSync(root + '/swap', { recursive: true, force: true }); fs.renameSync(root + '/kept', root + '/swap') })
  attempt(() => { fs.renameSync(root + '/swap', root + '/kept'); fs.renameSync(root + '/evil', root + '/swap') })
  for (let i = 0; i < 400; i += 1);
  attempt(() => { fs.renameSync(root + '/swap', root + '/evil'); fs.renameSync(root + '/kept', root + '/swap') })
  attempt(() => { fs.renameSync(root + '/file', root + '/kept-file'); fs.renameSync(root + '/evil-file', root + '/file') })
  attempt(() => { fs.renameSync(root + '/file', root + '/evil-file'); fs.renameSync(root + '/kept-file', root + '/file') })
}
`

test(
  `${iterations} operations of every kind`,
  async () => {
    const { root, outside } = folder
    // Without a store: what is kept for undo is not at stake here, and costs most of the time.
    const gate = openGate(root, 'work', 'rw')
    fs.mkdirSync(join(root, 'swap'))
    fs.writeFileSync(join(root, 'swap/secret.txt'), 'inside')
    fs.writeFileSync(join(root, 'file'), 'inside')
    const script = join(outside, '../swap.mjs')
    fs.writeFileSync(script, swapScript)
    swapper = fork(script, [root, outside], { stdio: 'inherit' })
    await new Promise((ready) => swapper?.once('message', ready))
    const before = openDescriptors(gate)
    const connections = new NinepConnections(gate)
    const client = new TestClient(connections).attach()
    const seen = new Map<string, number>()
    const note = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)

    const noTimes = { size: 3n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }
    /** Fids are used again, so that their number does not grow. */
    const into = 1_000
    const walk = (names: string[], newfid = into) => {
      client.error('clunk', { fid: newfid })
      const answer = client.ask('walk', { fid: 0, newfid, names })
      if (answer.readUInt16LE(0) < names.length) throw new Error('ENOENT')
      return newfid
    }
    const workspace: (() => unknown)[] = [
      () => {
        const fid = walk(['swap', 'secret.txt'])
        client.ask('lopen', { fid, flags: 0 })
        return client.read(fid)
      },
      () => client.ask('readlink', { fid: walk(['swap']) }).length > 0 && '',
      () => {
        const fid = walk(['swap', 'secret.txt'])
        client.ask('lopen', { fid, flags: 1 })
        return String(client.write(fid, 'inside'))
      },
      () => client.ask('lcreate', { fid: walk(['swap']), name: 'made', flags: 2, mode: 0o644, gid: uid }),
      () => client.ask('mkdir', { fid: walk(['swap']), name: 'folder', mode: 0o755, gid: uid }),
      () => client.ask('unlinkat', { fid: walk(['swap']), name: 'made', flags: 0 }),
      () => client.ask('unlinkat', { fid: walk(['swap']), name: 'folder', flags: 0x200 }),
      () =>
        client.ask('renameat', { oldDir: walk(['swap']), oldName: 'secret.txt', newDir: walk(['swap'], into + 1), newName: 'secret.txt' }),
      () => client.ask('link', { dfid: walk(['swap'], into + 1), fid: walk(['file']), name: 'hard' }),
      () => client.ask('unlinkat', { fid: walk(['swap']), name: 'hard', flags: 0 }),
      () => client.ask('symlink', { fid: walk(['swap']), name: 'soft', target: 'secret.txt', gid: uid }),
      () => client.ask('unlinkat', { fid: walk(['swap']), name: 'soft', flags: 0 }),
      () => client.ask('setattr', { fid: walk(['swap', 'secret.txt']), valid: 1, mode: 0o644, uid: 0, gid: 0, ...noTimes }),
      () => client.ask('setattr', { fid: walk(['file']), valid: 8, mode: 0, uid: 0, gid: 0, ...noTimes }),
      () => {
        const fid = walk(['swap'])
        client.ask('lopen', { fid, flags: 0 })
        return client.ask('readdir', { fid, offset: 0n, count: 8_000 }).toString('latin1')
      },
    ]
    const tools: (() => Promise<unknown>)[] = [
      () => readFile(gate, { path: 'swap/secret.txt' }, noLimits, never).then(({ text }) => text),
      () => readFile(gate, { path: 'file' }, noLimits, never).then(({ text }) => text),
      () => writeFile(gate, { path: 'swap/secret.txt', content: 'inside' }, noLimits, never),
      () => writeFile(gate, { path: 'swap/new/deep.txt', content: 'inside' }, noLimits, never),
      () => editFile(gate, { path: 'swap/secret.txt', oldText: 'inside', newText: 'inside' }, noLimits, never),
      () => movePath(gate, { path: 'swap/new', to: 'swap/moved' }, noLimits, never),
      () => deletePath(gate, { path: 'swap/moved', recursive: true }, noLimits, never),
      () => listFolder(gate, { path: 'swap', depth: 3 }, noLimits, never).then((reply) => JSON.stringify(reply)),
      () => globFiles(gate, { pattern: '**' }, noLimits, never).then((reply) => JSON.stringify(reply)),
      () => grepFiles(gate, { pattern: 'secret outside' }, noLimits, never).then((reply) => JSON.stringify(reply.matches)),
      () => statPath(gate, { path: 'swap/secret.txt' }, noLimits),
    ]
    // Whatever the machine gives each of the two: it ends when both sides of the race were met often enough.
    const met = ['tool done', 'tool symlink-escape', 'workspace done', 'workspace ENOTDIR']
    for (let i = 0; i < iterations || met.some((what) => (seen.get(what) ?? 0) <= 10); i += 1) {
      const tool = i % 20 === 0
      const index = tool ? (i / 20) % tools.length : i % workspace.length
      try {
        const result = tool ? await tools[index]?.() : workspace[index]?.()
        if (typeof result === 'string') expect(result).not.toContain(secret)
        note(tool ? 'tool done' : 'workspace done')
      } catch (error) {
        if ((error as Error).name === 'AssertionError') throw error
        note(tool ? `tool ${osFault(error, '').code}` : `workspace ${(error as Error).message}`)
      }
      if (i % 200 === 0) {
        expect(fs.readdirSync(outside)).toEqual(['secret.txt'])
        const { mode, nlink } = fs.statSync(join(outside, 'secret.txt'))
        expect([fs.readFileSync(join(outside, 'secret.txt'), 'utf8'), nlink, mode & 0o777]).toEqual([secret, 1, 0o644])
      }
    }
    swapper.kill('SIGKILL')
    connections.closeAll()
    expect(openDescriptors(gate)).toBe(before)
    closeGate(gate)
    expect(fs.readFileSync(join(outside, 'secret.txt'), 'utf8')).toBe(secret)
    expect(fs.readdirSync(outside)).toEqual(['secret.txt'])
  },
  10 * 60_000,
)

const pipeScript = `
import * as fs from 'node:fs'
const [root] = process.argv.slice(2)
process.send('ready')
for (;;) {
  fs.linkSync(root + '/d/kept', root + '/d/file')
  for (let i = 0; i < 4_000; i += 1);
  fs.renameSync(root + '/d/pipe', root + '/d/file')
  for (let i = 0; i < 400; i += 1);
  fs.renameSync(root + '/d/file', root + '/d/pipe')
}
`

test('whoever waits at the other end of a pipe goes on waiting, though it takes the place of a file again and again', async () => {
  const { root, outside, gate } = folder
  fs.mkdirSync(join(root, 'd'))
  fs.writeFileSync(join(root, 'd/kept'), 'inside')
  execFileSync('mkfifo', [join(root, 'd/pipe')])
  // To be heard by a reader that goes again ends it.
  const waiting = spawn('/bin/sh', ['-c', 'exec 3>pipe; echo here >&3; cat'], { cwd: join(root, 'd'), stdio: ['pipe', 'ignore', 'ignore'] })
  try {
    // Where in the kernel it sleeps: in the opening of a pipe that nobody reads.
    await expect.poll(() => fs.readFileSync(`/proc/${waiting.pid}/wchan`, 'latin1')).toBe('wait_for_partner')
    const script = join(outside, '../swap-pipe.mjs')
    fs.writeFileSync(script, pipeScript)
    swapper = fork(script, [root], { stdio: 'inherit' })
    await new Promise((ready) => swapper?.once('message', ready))
    const seen = new Map<string, number>()
    for (let i = 0; i < iterations || [...seen.values()].some((times) => times <= 10) || seen.size < 3; i += 1) {
      const what = await readFile(gate, { path: 'd/file' }, noLimits, never).then(
        ({ text }) => text,
        (error) => osFault(error, '').code,
      )
      expect(['inside', 'not-a-file', 'not-found']).toContain(what)
      seen.set(what, (seen.get(what) ?? 0) + 1)
      if (i % 50 === 0) await grepFiles(gate, { pattern: 'inside' }, noLimits, never)
    }
    const ended = new Promise((resolve) => swapper?.once('exit', resolve))
    swapper.kill('SIGKILL')
    await ended
    const pipe = ['file', 'pipe'].find((name) => fs.lstatSync(join(root, 'd', name), { throwIfNoEntry: false })?.isFIFO())
    const { O_RDWR, O_NONBLOCK } = fs.constants
    const fd = fs.openSync(join(root, 'd', String(pipe)), O_RDWR | O_NONBLOCK)
    const heard = () => {
      const room = Buffer.alloc(16)
      try {
        return room.toString('utf8', 0, fs.readSync(fd, room))
      } catch (error) {
        return (error as NodeJS.ErrnoException).code
      }
    }
    await expect.poll(heard).toBe('here\n')
    fs.closeSync(fd)
  } finally {
    waiting.kill('SIGKILL')
  }
})
