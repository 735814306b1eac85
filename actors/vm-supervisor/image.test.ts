/** Finished images in their folder: which is used, which is fallen back to, which stay. Their building is tried by `npm run image:verify`. */
import { mkdir, mkdtemp, readdir, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { buildImage, findImage, markGood, previousGood, recipeHash, removeOldImages } from './image.ts'
import { imageInUseMs } from './limits.ts'

const sizes = { vmlinuz: 10, 'initrd.img': 20, 'root.squashfs': 30 }

let imageDir: string
let hash: string
const request = () => ({ imageDir, nodeBinary: process.execPath, guestDir: '/none' })

beforeEach(async () => {
  imageDir = await mkdtemp(join(tmpdir(), 'bulkhead-images-'))
  hash = await recipeHash(request())
})
afterEach(() => rm(imageDir, { recursive: true, force: true }))

/** A finished one, used last so long ago. */
async function finished(recipe: string, agoMs = 0, format = 1): Promise<string> {
  const dir = join(imageDir, recipe)
  await mkdir(dir)
  for (const [name, bytes] of Object.entries(sizes)) await writeFile(join(dir, name), Buffer.alloc(bytes))
  const files = Object.fromEntries(Object.entries(sizes).map(([name, bytes]) => [name, { sha256: '0', bytes }]))
  const manifest = join(dir, 'manifest.json')
  await writeFile(manifest, JSON.stringify({ format, recipe, files }))
  const used = new Date(Date.now() - agoMs)
  await utimes(manifest, used, used)
  return dir
}
/** Names as images have them. */
const named = (letter: string): string => letter.repeat(24)

describe('the image that is used', () => {
  it('is the one made from the same inputs, in one place: it is neither built nor copied again', async () => {
    expect(await recipeHash(request())).toBe(hash)
    const dir = await finished(hash, imageInUseMs)
    const image = await buildImage(request())
    expect(image).toMatchObject({ dir, root: join(dir, 'root.squashfs'), manifest: { recipe: hash } })
    expect(await readdir(imageDir)).toEqual([hash])
  })

  it('is whole: one that was cut short, is of another format or has another’s name is none', async () => {
    const dir = await finished(hash)
    expect(await findImage(request())).not.toBeNull()
    await truncate(join(dir, 'root.squashfs'), 29)
    expect(await findImage(request())).toBeNull()
    await rm(dir, { recursive: true })
    await finished(hash, 0, 2)
    expect(await findImage(request())).toBeNull()
    await writeFile(join(dir, 'manifest.json'), JSON.stringify({ format: 1, recipe: named('a'), files: {} }))
    expect(await findImage(request())).toBeNull()
  })
})

describe('the image before', () => {
  it('is, of those a VM became ready from, the one used last; none when none was', async () => {
    await finished(hash)
    await finished(named('a'), 1_000)
    expect(await previousGood(request())).toBeNull()
    await markGood(await finished(named('b'), 3_000))
    await markGood(await finished(named('c'), 2_000))
    expect((await previousGood(request()))?.manifest.recipe).toBe(named('c'))
  })

  it('stays when a new one was built; others go once nobody has used them for a day, and half-built ones of other recipes', async () => {
    await finished(hash)
    await markGood(await finished(named('a'), 3 * imageInUseMs))
    await finished(named('b'), imageInUseMs / 2)
    await finished(named('c'), 2 * imageInUseMs)
    await markGood(await finished(named('d'), 4 * imageInUseMs))
    await mkdir(join(imageDir, `.build-${named('e')}`))
    await removeOldImages(imageDir, hash)
    expect((await readdir(imageDir)).toSorted()).toEqual([hash, named('a'), named('b')].toSorted())
  })
})
