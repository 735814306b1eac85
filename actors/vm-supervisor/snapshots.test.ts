import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { keptSnapshots, mostSnapshots, scratchBytes, snapshotInUseMs } from './limits.ts'
import {
  beginSnapshot,
  diskFile,
  discardSnapshot,
  findSnapshot,
  memoryFile,
  prepareScratch,
  publishSnapshot,
  removeScratch,
  scratchOf,
} from './snapshots.ts'

async function image(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-snapshots-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** As a supervisor does it, with another kind of memory. */
async function save(imageDir: string, key: string, memory = 'memory of a machine'): Promise<string> {
  const scratch = await beginSnapshot(imageDir)
  await writeFile(join(scratch, memoryFile), memory)
  await publishSnapshot(imageDir, key, scratch)
  return join(imageDir, 'snapshots', key)
}

describe('a saved memory', () => {
  it('is found by its key, whole, with a disk of the right size that takes no room', async () => {
    const imageDir = await image()
    expect(await findSnapshot(imageDir, 'k1')).toBeNull()
    const dir = await save(imageDir, 'k1')
    expect(await findSnapshot(imageDir, 'k1')).toBe(dir)
    expect(await findSnapshot(imageDir, 'k2')).toBeNull()
    const disk = await stat(join(dir, diskFile))
    expect(disk.size).toBe(scratchBytes)
    expect(disk.blocks).toBe(0)
    expect((await readdir(join(imageDir, 'snapshots'))).filter((name) => name.startsWith('.'))).toEqual([])
  })

  it.each([
    ['longer', async (file: string) => writeFile(file, 'more', { flag: 'a' })],
    ['cut short', async (file: string) => writeFile(file, 'm')],
    ['touched', async (file: string) => utimes(file, new Date(), new Date(1_000))],
    ['not there', async (file: string) => (await import('node:fs/promises')).rm(file)],
  ])('that is %s is none', async (_, change) => {
    const imageDir = await image()
    await change(join(await save(imageDir, 'k'), memoryFile))
    expect(await findSnapshot(imageDir, 'k')).toBeNull()
    // And the next one takes its place.
    await save(imageDir, 'k')
    expect(await findSnapshot(imageDir, 'k')).not.toBeNull()
  })

  it('that several save at once is one of theirs, whole, and all of them have saved', async () => {
    for (let round = 0; round < 20; round += 1) {
      const imageDir = await image()
      await Promise.all(Array.from({ length: 6 }, (_, index) => save(imageDir, 'k', `memory ${index}`)))
      expect(await findSnapshot(imageDir, 'k')).not.toBeNull()
      expect(await readdir(join(imageDir, 'snapshots'))).toEqual(['k'])
    }
  })

  it.each(['', '{', '{"format":1}', '{"format":2,"key":"k"}', 'null'])('with %j for a manifest is none', async (text) => {
    const imageDir = await image()
    await writeFile(join(await save(imageDir, 'k'), 'manifest.json'), text)
    expect(await findSnapshot(imageDir, 'k')).toBeNull()
  })

  it('under another name is none: the key is inside as well', async () => {
    const imageDir = await image()
    const { cp } = await import('node:fs/promises')
    const dir = await save(imageDir, 'k')
    await mkdir(join(imageDir, 'snapshots', 'other'))
    await cp(join(dir, 'manifest.json'), join(imageDir, 'snapshots', 'other', 'manifest.json'))
    expect(await findSnapshot(imageDir, 'other')).toBeNull()
  })

  it('that another process saved meanwhile stays', async () => {
    const imageDir = await image()
    const mine = await beginSnapshot(imageDir)
    await writeFile(join(mine, memoryFile), 'mine')
    const dir = await save(imageDir, 'k', 'theirs, and longer')
    await publishSnapshot(imageDir, 'k', mine)
    expect((await stat(join(dir, memoryFile))).size).toBe(18)
  })

  it('goes when it is discarded, and when newer ones have come', async () => {
    const imageDir = await image()
    for (let at = 0; at < keptSnapshots + 2; at++) {
      const dir = await save(imageDir, `k${at}`)
      await utimes(join(dir, 'manifest.json'), new Date(at * 1000), new Date(at * 1000))
    }
    const left = await readdir(join(imageDir, 'snapshots'))
    expect(left).toHaveLength(keptSnapshots)
    expect(left).not.toContain('k0')
    await discardSnapshot(imageDir, left[0] as string)
    expect(await findSnapshot(imageDir, left[0] as string)).toBeNull()
  })

  it('stays while other checkouts use it, but there is an end to how many', async () => {
    const imageDir = await image()
    for (let at = 0; at < mostSnapshots + 2; at++) {
      const dir = await save(imageDir, `k${at}`)
      const used = new Date(Date.now() - snapshotInUseMs / 2 + at * 1000)
      await utimes(join(dir, 'manifest.json'), used, used)
    }
    const left = await readdir(join(imageDir, 'snapshots'))
    expect(left).toHaveLength(mostSnapshots)
    expect(left).not.toContain('k0')
    // Nobody's any more.
    for (const name of left) await utimes(join(imageDir, 'snapshots', name, 'manifest.json'), new Date(1_000), new Date(1_000))
    await save(imageDir, 'new')
    expect(await readdir(join(imageDir, 'snapshots'))).toHaveLength(keptSnapshots)
  })

  it('in the making is removed when its process is gone', async () => {
    const imageDir = await image()
    const stale = join(imageDir, 'snapshots', '.saving-999999999-1')
    await mkdir(stale, { recursive: true })
    const mine = await beginSnapshot(imageDir)
    const other = await beginSnapshot(imageDir)
    expect(await readdir(join(imageDir, 'snapshots'))).toEqual(expect.arrayContaining([mine, other].map((path) => path.split('/').at(-1))))
    expect(existsSync(stale)).toBe(false)
  })
})

it('scratch folders of supervisors that were killed go, and nothing else does', async () => {
  const home = await image()
  for (const ref of ['1', '51']) await prepareScratch(scratchOf(home, ref))
  await mkdir(join(home, 'scratch-of-mine'))
  await writeFile(join(home, 'qemu.json'), '{}')
  await removeScratch(home)
  expect((await readdir(home)).toSorted()).toEqual(['qemu.json', 'scratch-of-mine'])
})
