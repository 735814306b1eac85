import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { filePath, folderKey, folderName } from './names.ts'

describe('folderName', () => {
  test.each([
    ['/home/me/sales', [], 'sales'],
    ['/home/me/sales/', ['sales'], 'sales-2'],
    ['/home/me/Sales', ['sales', 'sales-2'], 'Sales-3'],
    ['/home/me/.config', [], 'config'],
    ['/', [], 'folder'],
    ['/tmp/Ümläut & Co', [], 'Umlaut-Co'],
    ['C:\\Users\\me\\Q1 data', [], 'Q1-data'],
  ])('%s beside %j is %s', (path, taken, name) => {
    expect(folderName(path, taken)).toBe(name)
  })

  test('is always safe, short and new', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 5 }), (paths) => {
        const names: string[] = []
        for (const path of paths) names.push(folderName(path, names))
        for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,31}$/)
        expect(new Set(names.map(folderKey)).size).toBe(names.length)
        for (const name of names) expect(`s-1.${folderKey(name)}`).toMatch(/^[a-z0-9][a-z0-9.-]{0,80}$/)
      }),
    )
  })
})

test.each([
  ['report.md', 'report.md'],
  ['./a//b', 'a/b'],
  ['', null],
  ['.', null],
  ['./', null],
  ['../x', null],
  ['a/../b', null],
  ['/abs', null],
  ['a\0b', null],
])('filePath %j is %j', (path, expected) => {
  expect(filePath(path)).toBe(expected)
})
