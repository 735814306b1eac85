import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { packAgent } from './image-agent.ts'
import { type CpioEntry, writeCpio } from './image-cpio.ts'

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'image-cpio-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

/** Reads an archive back by the format's own rules; null where it breaks them. */
function readCpio(bytes: Buffer): { path: string; mode: number; data: Buffer }[] {
  const found: { path: string; mode: number; data: Buffer }[] = []
  const up = (at: number): number => Math.ceil(at / 4) * 4
  for (let at = 0; ; ) {
    expect(bytes.toString('latin1', at, at + 6)).toBe('070701')
    const field = (n: number): number => Number.parseInt(bytes.toString('latin1', at + 6 + n * 8, at + 14 + n * 8), 16)
    const nameAt = at + 110
    const path = bytes.toString('utf8', nameAt, nameAt + field(11) - 1)
    const dataAt = up(nameAt + field(11))
    if (path === 'TRAILER!!!') return found
    found.push({ path, mode: field(1), data: bytes.subarray(dataAt, dataAt + field(6)) })
    at = up(dataAt + field(6))
  }
}

describe('archives', () => {
  test('hold what was put in, on the borders the kernel wants', () => {
    const entry: fc.Arbitrary<CpioEntry> = fc.record({
      path: fc.stringMatching(/^[a-z]{1,9}$/),
      type: fc.constant('file' as const),
      mode: fc.constantFrom(0o644, 0o755),
      data: fc.uint8Array({ maxLength: 50 }),
    })
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), (entries) => {
        const archive = writeCpio(entries)
        expect(archive.length % 512).toBe(0)
        const back = readCpio(archive).map(({ path, mode, data }) => ({ path, mode, data: [...data] }))
        expect(back).toEqual(
          entries.map((one) => ({
            path: one.path,
            mode: 0o100000 | (one as { mode: number }).mode,
            data: [...(one as { data: Uint8Array }).data],
          })),
        )
      }),
    )
  })

  test('folders and links have their types', () => {
    const archive = writeCpio([
      { path: 'd', type: 'directory', mode: 0o755 },
      { path: 'd/l', type: 'symlink', target: '../x' },
    ])
    expect(readCpio(archive).map(({ path, mode, data }) => [path, mode, data.toString()])).toEqual([
      ['d', 0o040755, ''],
      ['d/l', 0o120777, '../x'],
    ])
  })
})

describe('the packed agent', () => {
  test('is JavaScript that Node can load, from its own files only', async () => {
    const files = readCpio(await packAgent(join(import.meta.dirname, '../../guest')))
    const names = files.map(({ path }) => path)
    expect(names).toEqual(expect.arrayContaining(['init', 'agent/wire.js', 'agent/agent/main.js']))
    expect(names.filter((name) => /\.ts$|test/.test(name))).toEqual([])
    for (const { path, data } of files.filter((file) => file.path.endsWith('.js'))) {
      for (const [, from = ''] of data.toString().matchAll(/\bfrom '([^']+)'/g)) {
        if (from.startsWith('node:')) continue
        expect(names).toContain(join(path, '..', from))
      }
      await writeFile(join(dir, path.replaceAll('/', '_').replace(/js$/, 'mjs')), data)
    }
    for (const name of await readdir(dir)) execFileSync(process.execPath, ['--check', join(dir, name)])
  })

  test('starts with the init script, which a shell can read', async () => {
    const [first] = readCpio(await packAgent(join(import.meta.dirname, '../../guest')))
    expect(first).toMatchObject({ path: 'init', mode: 0o100755 })
    const path = join(dir, 'init.sh')
    await writeFile(path, first?.data ?? '')
    execFileSync('sh', ['-n', path])
    expect((await stat(path)).size).toBe((await readFile(path)).length)
  })
})
