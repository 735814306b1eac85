import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { unpack } from './archive.ts'
import { makeZip, type ZipItem } from './testing/bundles.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const into = () => join(dir, 'out')

test('files, folders, and the right to run', async () => {
  await unpack(makeZip([{ name: 'bin/' }, { name: 'bin/tool', data: '#!', mode: 0o104755 }, { name: 'a/b/c.txt', data: 'text' }]), into())
  expect(readFileSync(join(into(), 'a/b/c.txt'), 'utf8')).toBe('text')
  // The set-user-id bit is not taken over.
  expect(statSync(join(into(), 'bin/tool')).mode & 0o7777).toBe(0o700)
  expect(statSync(join(into(), 'a/b/c.txt')).mode & 0o7777).toBe(0o600)
})

const link = (name: string, target: string): ZipItem => ({ name, data: target, mode: 0o120777 })
const hostile: [string, ZipItem[], RegExp][] = [
  ['climbing', [{ name: '../evil' }], /leads out|relative path/],
  ['climbing from within', [{ name: 'a/../../evil' }], /leads out|relative path/],
  ['absolute', [{ name: '/evil' }], /absolute|empty part/],
  ['a drive', [{ name: 'C:/evil' }], /absolute/],
  ['backslashes', [{ name: '..\\evil' }], /backslash|invalid/],
  ['a NUL', [{ name: 'a\0b' }], /NUL/],
  ['a link to the outside', [link('a', '/etc/passwd')], /leads out/],
  ['a link that climbs', [link('a/b', '../../etc')], /leads out/],
  ['twice the same', [{ name: 'a' }, { name: 'a' }], /twice/],
  ['the same but for case', [{ name: 'Read' }, { name: 'READ' }], /twice/],
  ['a file that is a folder', [{ name: 'a' }, { name: 'a/b' }], /both/],
  ['a device', [{ name: 'a', mode: 0o020666 }], /neither/],
  ['a bomb', [{ name: 'zeros', data: Buffer.alloc(40 * 1024 * 1024) }], /compressed more/],
  ['a lie about its size', [{ name: 'a', data: 'much more than that', size: 3 }], /./],
  ['too deep', [{ name: `${'a/'.repeat(60)}b` }], /too deep/],
]
test.each(hostile)('refused: %s', async (_name, items, cause) => {
  await expect(unpack(makeZip([{ name: 'first', data: 'x' }, ...items]), into())).rejects.toMatchObject({
    code: 'bad-extension',
    cause: expect.stringMatching(cause),
  })
  expect(existsSync(join(dir, 'evil'))).toBe(false)
})

test('a link inside is left out; through it nothing is written', async () => {
  await unpack(makeZip([link('node_modules/.bin/x', '../x/index.js'), { name: 'node_modules/x/index.js', data: '1' }]), into())
  expect(existsSync(join(into(), 'node_modules/.bin/x'))).toBe(false)
  await expect(unpack(Buffer.from('no zip at all'), join(dir, 'other'))).rejects.toMatchObject({ code: 'bad-extension' })
})
