import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { KeptFiles, relieve } from './kept-files.ts'
import { diskPressure, keptSession } from './limits.ts'

/** Sessions that keep files of `bytes` each, in a folder; what is there of them. */
async function disk() {
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-kept-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return {
    left: async () => (await readdir(dir)).toSorted(),
    keep: async (session: KeptFiles, name: string, bytes = 1) => {
      await writeFile(join(dir, name), 'x')
      await session.add(join(dir, name), bytes)
    },
  }
}

describe('kept outputs', () => {
  it('of one session: the oldest go when they take too much together', async () => {
    const { keep, left } = await disk()
    const session = new KeptFiles()
    for (const name of ['a', 'b', 'c']) await keep(session, name, keptSession / 2)
    expect(await left()).toEqual(['b', 'c'])
  })

  it('stay while there is room', async () => {
    const { keep, left } = await disk()
    const session = new KeptFiles()
    await keep(session, 'a')
    expect(await relieve([session], async () => diskPressure.begins)).toBe(0)
    expect(await left()).toEqual(['a'])
  })

  it('go, the oldest of all sessions first, from where room is short to where there is enough', async () => {
    const { keep, left } = await disk()
    const [one, two] = [new KeptFiles(), new KeptFiles()]
    await keep(one, 'a')
    await keep(two, 'b')
    await keep(one, 'c')
    await keep(two, 'd')
    // Each file gives back a tenth more than what it takes to begin.
    const share = async () => diskPressure.begins - 0.01 + (4 - (await left()).length) * 0.05
    expect(await relieve([two, one], share)).toBe(3)
    expect(await left()).toEqual(['d'])
    expect(await relieve([two, one], async () => 0)).toBe(1)
    expect(await relieve([two, one], async () => 0)).toBe(0)
    expect(await left()).toEqual([])
  })
})
