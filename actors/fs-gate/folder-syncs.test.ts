import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FolderSyncs } from './folder-syncs.ts'
import { type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

test('folders are synced once for all that came into them; one that has gone is passed over', () => {
  fs.mkdirSync(join(folder.root, 'a/b'), { recursive: true })
  const synced: string[] = []
  const syncs = new FolderSyncs(folder.gate.root, {
    by: 'node',
    symlink: () => {},
    sync: (_, parts, kind) => void synced.push(`${kind} ${parts.join('/')}`),
  })
  for (const parts of [[], ['a', 'b'], ['gone'], ['a', 'b'], []]) syncs.soon(parts)
  expect(synced).toEqual([])
  syncs.flush()
  expect(synced).toEqual(['folder ', 'folder a/b'])
  syncs.flush()
  expect(synced).toHaveLength(2)
  syncs.check()
})

test('what the disk did not take is told with the next change, once', () => {
  const syncs = new FolderSyncs(folder.gate.root, {
    by: 'node',
    symlink: () => {},
    sync() {
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    },
  })
  syncs.soon([])
  syncs.flush()
  expect(() => syncs.check()).toThrow(expect.objectContaining({ code: 'io-failed' }))
  syncs.check()
})
