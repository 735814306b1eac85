import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { handleVariant, isFinalPath, volumePath } from './handle-variants.ts'
import { nameProblem } from './names.ts'
import { type TestFolder, testFolder } from './test-folder.ts'

describe('names on Windows', () => {
  const refused = [
    'NUL',
    'nul.txt',
    'com1',
    'COM\u00b9.log',
    'lpt9 .x',
    'CONIN$',
    'a:b',
    '.git::$INDEX_ALLOCATION',
    'a.',
    'a ',
    'GIT~1',
    'LONGNA~12.TXT',
  ]
  test.each([...refused, 'a\\b', 'a*b', 'a\u0001'])('%j is refused', (name) => {
    expect(nameProblem(name, 'win32')).not.toBe(null)
    // Elsewhere these are names like any other.
    expect(nameProblem(name, 'linux')).toBe(null)
    expect(nameProblem(name, 'darwin')).toBe(null)
  })
  test.each(['a', '.git', 'null', 'console.log', 'com10', 'lpt', 'a b.c', 'notes~', 'report~final.txt', '..'])('%j is not', (name) => {
    expect(nameProblem(name, 'win32')).toBe(null)
  })
})

test('a final path is the path that was opened, in any case, with or without its prefix, and no other', () => {
  const opened = '\\\\?\\C:\\Users\\M\\work\\a'
  expect(isFinalPath(opened, 'C:\\Users\\m\\Work\\A')).toBe(true)
  expect(isFinalPath(opened, opened)).toBe(true)
  expect(isFinalPath(opened, 'C:\\Users\\M\\other\\a')).toBe(false)
  expect(isFinalPath(opened, 'D:\\Users\\M\\work\\a')).toBe(false)
})

test('macOS names a file by device and inode', () => {
  expect(volumePath({ dev: 16_777_220n, ino: 12_345n })).toBe('/.vol/16777220/12345')
  expect(handleVariant('darwin').names).toEqual(['/.vol/'])
})

/** It asks the system only for what every system has, so its checks can be tried here, with `/` for the other slash. */
describe('the check that Windows needs after opening', () => {
  let folder: TestFolder
  beforeEach(() => {
    folder = testFolder()
  })
  afterEach(() => folder.remove())
  const { openPlace, whereIs, close } = handleVariant('win32')

  test('lets through what is where its path says, and nothing that a link led to', () => {
    const { root, outside } = folder
    fs.mkdirSync(join(root, 'd'))
    fs.writeFileSync(join(root, 'd/f'), 'x')
    fs.symlinkSync(outside, join(root, 'out'))
    const fd = openPlace(join(root, 'd/f'), 'any')
    expect(whereIs(fd)).toBe(join(root, 'd/f'))
    fs.renameSync(join(root, 'd/f'), join(root, 'd/g'))
    expect(whereIs(fd)).toBe(null)
    close(fd)
    const code = (path: string, kind: 'any' | 'folder') => {
      try {
        openPlace(join(root, path), kind)
        return ''
      } catch (error) {
        return (error as NodeJS.ErrnoException).code
      }
    }
    expect([code('out', 'any'), code('out/secret.txt', 'any'), code('d/g', 'folder'), code('none', 'any')]).toEqual([
      'ELOOP',
      'ELOOP',
      'ENOTDIR',
      'ENOENT',
    ])
  })
})
