/**
 * `npm run image:verify [-- PROFILE]`: builds the workspace image twice, each from nothing, compares the hashes of its files, and holds what the
 * builder told of its progress to the order of its steps. Not a part of the tests: it takes minutes and fetches every package twice.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildImage, type ImageManifest } from '../actors/vm-supervisor/image.ts'
import { type ImageProgress, progressText, untruths } from '../actors/vm-supervisor/image-progress.ts'
import { profileOf } from '../guest/image/recipe.ts'
import { pinnedNode } from './pinned-node.js'
import { checkout } from './places.js'

const profile = profileOf(process.argv[2])
if (profile === null) throw new Error(`There is no image profile "${process.argv[2]}".`)

const wrong: string[] = []
const seconds = (ms: number): string => `${(ms / 1000).toFixed(0)} s`

async function build(): Promise<ImageManifest> {
  const imageDir = await mkdtemp(join(tmpdir(), 'bulkhead-image-'))
  try {
    const begun = performance.now()
    const nodeBinary = pinnedNode(checkout)?.path ?? process.execPath
    const told: ImageProgress[] = []
    let last = begun
    let silence = 0
    const onProgress = (progress: ImageProgress): void => {
      const now = performance.now()
      silence = Math.max(silence, now - last)
      last = now
      if (told.at(-1)?.detail !== progress.detail)
        process.stderr.write(`${seconds(now - begun)}  ${progress.step}: ${progressText(progress)}\n`)
      told.push(progress)
    }
    const guestDir = join(checkout, 'guest')
    const { manifest } = await buildImage({ imageDir, nodeBinary, guestDir, profile: profile ?? 'standard', onProgress })
    process.stderr.write(`built in ${seconds(performance.now() - begun)}, the longest silence ${seconds(silence)}\n`)
    wrong.push(...untruths(told))
    return manifest
  } finally {
    await rm(imageDir, { recursive: true, force: true })
  }
}

const [first, second] = [await build(), await build()]
let same = true
for (const [name, { sha256, bytes }] of Object.entries(first.files)) {
  const again = second.files[name as keyof ImageManifest['files']].sha256
  same &&= again === sha256
  process.stdout.write(
    `${name}  ${(bytes / 1024 ** 2).toFixed(1)} MiB  ${sha256}  ${again === sha256 ? 'twice the same' : `then ${again}`}\n`,
  )
}
const bytes = Object.values(first.files).reduce((sum, file) => sum + file.bytes, 0)
process.stdout.write(`${profile}: ${(bytes / 1024 ** 2).toFixed(0)} MiB, ${Object.keys(first.packages).length} packages\n`)
process.stdout.write(wrong.length === 0 ? 'progress: each step in its order\n' : `progress: ${wrong.join('; ')}\n`)
process.exitCode = same && wrong.length === 0 ? 0 : 1
