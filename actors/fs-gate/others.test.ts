/** What others change in a connected folder is told, what this session did itself is not, and nothing outside is looked at. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { editFile, writeFile } from './change-tools.ts'
import { closeGate, openGate } from './gate.ts'
import { listChanges, undoChanges } from './history-tools.ts'
import { limits } from './limits.ts'
import { NinepConnections } from './ninep-connections.ts'
import { tellOthers } from './read-tools.ts'
import { rootFid, TestClient } from './test-client.ts'
import { never, noLimits, openDescriptors, type TestFolder, testFolder } from './test-folder.ts'
import { deletePath, movePath } from './tree-tools.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
  fs.mkdirSync(join(folder.root, 'd/e'), { recursive: true })
  fs.writeFileSync(join(folder.root, 'd/e/f'), 'f')
  fs.writeFileSync(join(folder.root, 'a'), 'a')
})
afterEach(() => folder.remove())

const path = (...parts: string[]) => join(folder.root, ...parts)
const ask = (grant = noLimits) => tellOthers(folder.gate, {}, grant)
/** Another program, so that nothing of it goes through the gate. */
const elsewhere = (script: string) => expect(spawnSync('sh', ['-c', script], { cwd: folder.root }).status).toBe(0)

/** All that is told until `last` has been, which was changed after the rest. */
async function told(last: string, grant = noLimits): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  await expect
    .poll(async () => {
      for (const { path: at, what } of (await ask(grant)).changes) found[at] = what
      return Object.keys(found)
    })
    .toContain(last)
  return found
}

test('changes by others are told once, at any depth, in folders made or moved meanwhile too', async () => {
  expect(await ask()).toEqual({ changes: [], more: 0, partial: false })
  elsewhere('echo new > d/e/f; rm a; mkdir -p n/m; echo x > n/m/x; touch last')
  expect(await told('last')).toEqual({ 'd/e/f': 'changed', a: 'deleted', 'n/m/x': 'changed', last: 'changed' })
  elsewhere('mv d moved')
  await told('moved/e/f')
  elsewhere('echo again > moved/e/f; echo y > n/m/y; touch last2')
  expect(await told('last2')).toMatchObject({ 'moved/e/f': 'changed', 'n/m/y': 'changed' })
  expect((await ask()).changes).toEqual([])
})

test('what the session does itself is not, by tools, by undo and in its workspace', async () => {
  await ask()
  const guest = new TestClient(new NinepConnections(folder.gate)).attach()
  await writeFile(folder.gate, { path: 'own/b', content: 'b' }, noLimits, never)
  await editFile(folder.gate, { path: 'own/b', oldText: 'b', newText: 'c' }, noLimits, never)
  await movePath(folder.gate, { path: 'own/b', to: 'own/c' }, noLimits, never)
  await deletePath(folder.gate, { path: 'a' }, noLimits, never)
  const fid = guest.create('d', 'made')
  guest.write(fid, 'x')
  guest.ask('clunk', { fid })
  const open = guest.create('', 'still-open')
  guest.write(open, 'x')
  guest.ask('renameat', { oldDir: guest.walk('d'), oldName: 'made', newDir: rootFid, newName: 'made' })
  guest.ask('unlinkat', { fid: guest.walk('d/e'), name: 'f', flags: 0 })
  await undoChanges(folder.gate, { what: (await listChanges(folder.gate, {})).changes[0]?.id ?? '' }, noLimits, never)
  elsewhere('touch last')
  expect(await told('last')).toEqual({ last: 'changed' })
})

test('two sessions hear of each other', async () => {
  const other = openGate(folder.root, 'work', 'rw', folder.store)
  await ask()
  await tellOthers(other, {}, noLimits)
  await writeFile(other, { path: 'a', content: 'theirs' }, noLimits, never)
  expect(await told('a')).toEqual({ a: 'changed' })
  expect((await tellOthers(other, {}, noLimits)).changes).toEqual([])
  closeGate(other)
})

test('no link is followed, and what is never read by people is left out', async () => {
  fs.symlinkSync(folder.outside, path('out'))
  fs.mkdirSync(path('.git'))
  fs.mkdirSync(path('node_modules/x'), { recursive: true })
  await ask()
  elsewhere('ln -s ../outside later; touch ../outside/secret2 .git/index node_modules/x/y; ln -s ../../outside d/deep; touch last')
  expect(await told('last')).toEqual({ later: 'changed', 'd/deep': 'changed', last: 'changed' })
  elsewhere('touch ../outside/secret3; touch last2')
  expect(await told('last2')).toEqual({ last2: 'changed' })
})

test('more than can be read is a count; a grant on a part hears of that part; all is closed with the folder', async () => {
  const before = openDescriptors(folder.gate)
  const gate = openGate(folder.root, 'work', 'ro')
  await tellOthers(gate, {}, noLimits)
  elsewhere(`for i in $(seq ${limits.othersTold + 30}); do echo > d/n$i; done; touch d/last`)
  await expect.poll(() => gate.watch?.waiting).toBe(limits.othersTold + 31)
  const { changes, more } = await tellOthers(gate, {}, noLimits)
  expect([changes.length, more]).toEqual([limits.othersTold, 31])
  elsewhere('touch a d/e/f')
  await expect.poll(() => gate.watch?.waiting).toBe(2)
  expect((await tellOthers(gate, {}, { path: 'd' })).changes).toEqual([{ path: 'd/e/f', what: 'changed' }])
  closeGate(gate)
  expect(openDescriptors(folder.gate)).toBe(before)
})
