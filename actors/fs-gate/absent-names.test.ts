import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { AbsentNames } from './absent-names.ts'
import { openHeld, openPlace, scoped } from './handles.ts'
import { limits } from './limits.ts'
import { type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

const enough: number = limits.namesAtOnce

/** What is said of each name, in a folder that has `there`, when so many are asked for. */
function said(there: readonly string[], names: readonly string[], wanted = enough): boolean[] {
  for (const name of there) fs.writeFileSync(join(folder.root, name), '')
  const { fd } = folder.gate.root
  const absent = new AbsentNames(Array.from({ length: wanted }, () => ({ folder: fd })))
  return names.map((name) => absent.has(fd, name))
}

test('a name is absent when the folder has it in no spelling that a file system may take for the same', () => {
  expect(said(['a', 'Read.Me'], ['a', 'A', 'read.me', 'READ.ME'])).toEqual([false, false, false, false])
  expect(said([], ['b', '.b', 'a b', '[id].tsx'])).toEqual([true, true, true, true])
})

test('a name that may have another spelling is always looked for', () => {
  const names = ['straße', 'progra~1', 'a.', 'a ', '.', '', 'e\u0301', 'a\u200c', 'a\tb']
  expect(said([], names)).toEqual(names.map(() => false))
})

test('in a folder with names beyond ASCII all are', () => {
  // The Kelvin sign is a `k` to a file system that folds case.
  expect(said(['\u212a'], ['k', 'b'])).toEqual([false, false])
})

test('so they are when they are few, or when the folder has far more of others', () => {
  expect(said([], ['b'], enough - 1)).toEqual([false])
  const many = Array.from({ length: enough * limits.namesEach }, (_, index) => `f${index}`)
  expect(said(many, ['b'])).toEqual([true])
  expect(said(['one-more'], ['b'])).toEqual([false])
})

test('and where they cannot be listed', () => {
  fs.writeFileSync(join(folder.root, 'file'), '')
  scoped((scope) => {
    const fd = scope.own(openHeld(scope.own(openPlace(folder.gate.root.fd, 'file'))))
    expect(new AbsentNames(Array.from({ length: enough }, () => ({ folder: fd }))).has(fd, 'b')).toBe(false)
  })
})

test('what someone has put where a file comes back is kept in the row, and stays', () => {
  const { root, gate } = folder
  const names = Array.from({ length: enough * 2 }, (_, index) => `f${index}`)
  fs.writeFileSync(join(root, 'f3'), 'theirs')
  const before: unknown[] = []
  const steps = names.map((name) => ({
    entry: { folder: gate.root.fd, name, parts: [name] },
    fresh: true,
    perform() {
      if (before.length === 0) before.push(...(gate.log.store?.changes({ run: 1 }) ?? []).map((change) => change.before.kind))
      fs.writeFileSync(join(root, name), 'ours', { flag: 'wx' })
      return null
    },
  }))
  const outcomes = gate.log.putAll(steps, { source: 'undo', run: 1, session: null })
  expect(before).toEqual(names.map((name) => (name === 'f3' ? 'file' : 'absent')))
  expect(outcomes.map((error) => (error as NodeJS.ErrnoException | null)?.code ?? null)).toEqual(
    names.map((name) => (name === 'f3' ? 'EEXIST' : null)),
  )
  expect(fs.readFileSync(join(root, 'f3'), 'utf8')).toBe('theirs')
})
