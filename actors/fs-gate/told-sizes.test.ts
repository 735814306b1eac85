import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { NinepConnections } from './ninep-connections.ts'
import { TestClient, uid } from './test-client.ts'
import { type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

test('a client that believes a file to be longer than it is, is told so when it asks for the rest; one that waits for more is not', () => {
  fs.writeFileSync(join(folder.root, 'cut'), 'ten bytes.')
  const one = new TestClient(new NinepConnections(folder.gate)).attach()
  const fid = one.open('cut', 2)
  const read = (offset: number) => one.ask('read', { fid, offset: BigInt(offset), count: 100 }).readUInt32LE(0)
  expect(one.attributes(fid).size).toBe(10n)
  expect([read(0), read(10), read(11)]).toEqual([10, 0, 0])
  fs.truncateSync(join(folder.root, 'cut'), 4)
  expect(read(0)).toBe(4)
  expect(one.error('read', { fid, offset: 4n, count: 6 })).toBe('ESTALE')
  expect(one.attributes(fid).size).toBe(4n)
  expect(read(4)).toBe(0)
  one.write(fid, 'six', 4)
  fs.truncateSync(join(folder.root, 'cut'), 5)
  expect(one.error('read', { fid, offset: 5n, count: 6 })).toBe('ESTALE')
  one.ask('setattr', { fid, valid: 8, mode: 0, uid, gid: uid, size: 2n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n })
  expect(read(2)).toBe(0)
})
