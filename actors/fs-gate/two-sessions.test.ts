/** Two sessions on one folder: each has a gate of its own, with one store of changes between them. */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { asFault } from '../../kernel/index.ts'
import { editFile, writeFile } from './change-tools.ts'
import { closeGate, type Gate, openGate } from './gate.ts'
import { listChanges, markCall, undoChanges } from './history-tools.ts'
import { NinepConnections } from './ninep-connections.ts'
import { listFolder, readFile } from './read-tools.ts'
import { TestClient } from './test-client.ts'
import { never, noLimits, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
let one: Gate
let two: Gate
beforeEach(async () => {
  folder = testFolder()
  one = folder.gate
  two = openGate(folder.root, 'work', 'rw', folder.store)
  await markCall(one, { turn: 'one.0', call: 'c1', title: '' }, { session: 'one' })
  await markCall(two, { turn: 'two.0', call: 'c2', title: '' }, { session: 'two' })
})
afterEach(() => {
  closeGate(two)
  folder.remove()
})

const read = (gate: Gate, path: string) => readFile(gate, { path }, noLimits, never)
const write = (gate: Gate, path: string, content: string) => writeFile(gate, { path, content }, noLimits, never)
const on = (path: string) => fs.readFileSync(join(folder.root, path), 'utf8')
const faultOf = (work: Promise<unknown>) => work.then(() => null, asFault)

test('each sees at once what the other does, by tools and in its workspace', async () => {
  const guest = new TestClient(new NinepConnections(two)).attach()
  await write(one, 'a', 'one\n')
  expect((await read(two, 'a')).text).toBe('one\n')
  expect(guest.read(guest.open('a'))).toBe('one\n')
  const fid = guest.create('', 'b')
  guest.write(fid, 'from two')
  expect((await read(one, 'b')).text).toBe('from two')
  expect((await listFolder(one, { path: '' }, noLimits, never)).entries.map(({ name }) => name)).toEqual(['a', 'b'])
  guest.ask('unlinkat', { fid: 0, name: 'a', flags: 0 })
  expect((await faultOf(read(one, 'a')))?.code).toBe('not-found')
})

test('a change on the ground of what is no longer there is refused with the difference, never merged', async () => {
  await write(one, 'a', 'first\nsecond\nthird\n')
  const seen = await read(one, 'a')
  await editFile(two, { path: 'a', oldText: 'second', newText: 'SECOND' }, noLimits, never)
  const refused = await faultOf(editFile(one, { path: 'a', oldText: 'third', newText: 'THIRD', expect: seen.sha256 }, noLimits, never))
  expect(refused).toMatchObject({ code: 'changed-since-read', cause: expect.stringContaining('-second\n+SECOND') as string })
  const over = await faultOf(writeFile(one, { path: 'a', content: 'mine\n', expect: seen.sha256 }, noLimits, never))
  expect(over?.code).toBe('changed-since-read')
  const made = await faultOf(writeFile(one, { path: 'a', content: 'mine\n', expect: null }, noLimits, never))
  expect(made?.code).toBe('already-exists')
  expect(on('a')).toBe('first\nSECOND\nthird\n')
  const again = await read(one, 'a')
  await editFile(one, { path: 'a', oldText: 'third', newText: 'THIRD', expect: again.sha256 }, noLimits, never)
  expect(on('a')).toBe('first\nSECOND\nTHIRD\n')
})

test('each can undo its own, and keeps what the other changed later', async () => {
  fs.writeFileSync(join(folder.root, 'a'), 'start\n')
  fs.writeFileSync(join(folder.root, 'b'), 'start\n')
  await write(one, 'a', 'one\n')
  await write(one, 'b', 'one\n')
  await write(two, 'b', 'two\n')
  expect((await listChanges(two, {})).changes.map(({ session, path }) => [session, path])).toEqual([
    ['one', 'a'],
    ['one', 'b'],
    ['two', 'b'],
  ])
  const { kept } = await undoChanges(one, { to: 0, session: 'one' }, noLimits, never)
  expect(kept.map(({ path, why }) => [path, why])).toEqual([['b', 'changed-later']])
  expect([on('a'), on('b')]).toEqual(['start\n', 'two\n'])
  await undoChanges(two, { to: 0, session: 'two' }, noLimits, never)
  await undoChanges(one, { to: 0, session: 'one' }, noLimits, never)
  expect(on('b')).toBe('start\n')
})
