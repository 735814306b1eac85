/** Things that are enormous by number or by size: a file of 1 TB with nothing in it, a folder of more files than anyone lists. */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { editFile, previewChange, writeFile } from './change-tools.ts'
import { listChanges, undoChanges } from './history-tools.ts'
import { limits } from './limits.ts'
import { NinepConnections } from './ninep-connections.ts'
import { listFolder, readFile, statPath } from './read-tools.ts'
import { globFiles, grepFiles } from './search-tools.ts'
import { rootFid, TestClient, uid } from './test-client.ts'
import { never, noLimits, refusal, type TestFolder, testFolder } from './test-folder.ts'
import { deletePath, movePath } from './tree-tools.ts'

// A fiftieth of what they are: to make as many files as that takes minutes on a busy disk.
vi.mock(import('./limits.ts'), async (original) => {
  const { limits: real } = await original()
  const scaled = {
    folderEntries: real.folderEntries / 50,
    namesHeld: Math.floor(real.namesHeld / 50),
    listingNames: real.listingNames / 50,
  }
  return { limits: { ...real, ...scaled } as unknown as typeof real }
})

let folder: TestFolder
let client: TestClient
beforeEach(() => {
  folder = testFolder()
  client = new TestClient(new NinepConnections(folder.gate)).attach()
})
afterEach(() => folder.remove())
const path = (...parts: string[]) => join(folder.root, ...parts)
const terabyte = 2 ** 40
const attributes = { mode: 0, uid, gid: uid, size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }

test('a file of 1 TB: never read whole, not changed because that could not be undone, moved', async () => {
  const { gate } = folder
  fs.writeFileSync(path('sparse'), 'start')
  fs.truncateSync(path('sparse'), terabyte)
  expect(await statPath(gate, { path: 'sparse' }, noLimits)).toMatchObject({ size: terabyte })
  expect(await refusal(() => readFile(gate, { path: 'sparse' }, noLimits, never))).toBe('too-large')
  expect(await refusal(() => editFile(gate, { path: 'sparse', oldText: 'start', newText: 'x' }, noLimits, never))).toBe('too-large')
  expect(await grepFiles(gate, { pattern: 'start' }, noLimits, never)).toMatchObject({ matches: [], skipped: 1 })
  expect((await previewChange(gate, { path: 'sparse', remove: true }, noLimits, never)).diff).toContain(`1 file, ${terabyte} bytes`)
  expect((await previewChange(gate, { path: 'sparse', content: 'x' }, noLimits, never)).diff).toContain(`${terabyte} bytes`)
  expect(await refusal(() => writeFile(gate, { path: 'sparse', content: 'x' }, noLimits, never))).toBe('store-full')
  expect(await refusal(() => deletePath(gate, { path: 'sparse' }, noLimits, never))).toBe('store-full')
  // By programs in the workspace.
  expect(client.attributes(client.walk('sparse')).size).toBe(BigInt(terabyte))
  expect(client.read(client.open('sparse'), terabyte - 3, 10)).toBe('\0\0\0')
  expect(client.error('lopen', { fid: client.walk('sparse'), flags: 0o1001 })).toBe('ENOSPC')
  expect(client.error('write', { fid: client.open('sparse', 1), offset: 0n, data: Buffer.from('x') })).toBe('ENOSPC')
  expect(client.error('setattr', { ...attributes, fid: client.walk('sparse'), valid: 8, size: 1n })).toBe('ENOSPC')
  expect(client.error('unlinkat', { fid: rootFid, name: 'sparse', flags: 0 })).toBe('ENOSPC')
  expect(fs.statSync(path('sparse')).size).toBe(terabyte)
  await movePath(gate, { path: 'sparse', to: 'moved' }, noLimits, never)
  client.ask('renameat', { oldDir: rootFid, oldName: 'moved', newDir: rootFid, newName: 'again' })
  expect(await undoChanges(gate, { to: 0 }, noLimits, never)).toMatchObject({ kept: [] })
  expect(fs.statSync(path('sparse')).size).toBe(terabyte)
})

test('a file that a program makes 1 TB large, and removes: nothing of it is kept', async () => {
  const { gate } = folder
  const fid = client.create('', 'sparse')
  client.ask('setattr', { ...attributes, fid, valid: 8, size: BigInt(terabyte) })
  client.write(fid, 'end', terabyte - 3)
  expect(client.read(fid, terabyte - 4, 10)).toBe('\0end')
  client.ask('clunk', { fid })
  // To take it away would be a change that cannot be undone: it stays, and is named; all else is taken back.
  client.ask('clunk', { fid: client.create('', 'small') })
  const undone = await undoChanges(gate, { to: 0 }, noLimits, never)
  expect(undone.kept).toMatchObject([{ path: 'sparse', why: 'failed', cause: expect.stringMatching(/more than may be kept|at most/) }])
  expect(fs.readdirSync(folder.root)).toEqual(['sparse'])
  fs.rmSync(path('sparse'))
  client.ask('clunk', { fid: client.create('', 'another') })
  client.ask('setattr', { ...attributes, fid: client.walk('another'), valid: 8, size: BigInt(terabyte) })
  client.ask('unlinkat', { fid: rootFid, name: 'another', flags: 0 })
  expect((await listChanges(gate, {})).usage.bytes).toBeLessThan(1_000)
})

test('a folder of more files than are listed: cut short and said so, each file at hand, deleted by nobody who cannot show it', async () => {
  const { gate } = folder
  fs.mkdirSync(path('d'))
  fs.writeFileSync(path('d/0'), 'content')
  const count = limits.folderEntries + 1
  for (let i = 1; i < count; i += 1) fs.closeSync(fs.openSync(path(`d/${i}`), 'w'))
  const listed = await listFolder(gate, { path: 'd' }, noLimits, never)
  expect([listed.entries.length, listed.truncated]).toEqual([limits.listEntries, true])
  const names = listed.entries.map(({ name }) => name)
  for (let skip = listed.next; skip !== undefined; ) {
    const page = await listFolder(gate, { path: 'd', skip }, noLimits, never)
    names.push(...page.entries.map(({ name }) => name))
    // The one beyond what is read of a folder is missed, and that is said.
    expect(page.truncated).toBe(true)
    skip = page.next
  }
  expect([names.length, new Set(names).size]).toEqual([limits.folderEntries, limits.folderEntries])
  expect(await globFiles(gate, { pattern: '**' }, noLimits, never)).toMatchObject({ truncated: true })
  expect(await grepFiles(gate, { pattern: 'nowhere' }, noLimits, never)).toMatchObject({ matches: [], truncated: true })
  expect((await readFile(gate, { path: 'd/0' }, noLimits, never)).text).toBe('content')
  expect(await refusal(() => previewChange(gate, { path: 'd', remove: true }, noLimits, never))).toBe('too-large')
  expect(await refusal(() => deletePath(gate, { path: 'd', recursive: true }, noLimits, never))).toBe('too-large')
  expect(fs.existsSync(path('d/0'))).toBe(true)
  // A program in the workspace sees all of it; and cannot make the gate hold it however often.
  expect(client.names('d', 250_000)).toHaveLength(count + 2)
  const read = (fid: number) => client.error('readdir', { fid, offset: 0n, count: 1_000 })
  const times = Math.floor(limits.namesHeld / (count + 2))
  const fids = Array.from({ length: times + 1 }, () => client.open('d'))
  expect(fids.map(read)).toEqual([...Array.from({ length: times }, () => ''), 'EMFILE'])
  // Once more through the same, and through another when one is closed.
  expect(read(fids[0] as number)).toBe('')
  client.ask('clunk', { fid: fids[0] as number })
  expect(read(fids.at(-1) as number)).toBe('')
})
