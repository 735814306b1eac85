/**
 * The workspace image: a kernel, an initrd and a read-only root, made from Debian packages on this machine.
 *
 *   <imageDir>/<recipe hash>/{vmlinuz, initrd.img, root.squashfs, manifest.json}     finished, never changed again
 *   <imageDir>/.build-<recipe hash>/                                                  in the making; finished steps are kept
 *   <imageDir>/.lock                                                                  one builder at a time
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { link, mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { finishTree, leftIn, leftOut, modules, packagesOf, type Profile, recipeVersion, sourceDate } from '../../guest/image/recipe.ts'
import { fault, isFault } from '../../kernel/index.ts'
import { cancelled } from './image-commands.ts'
import { takeLock } from './image-lock.ts'
import { flush } from './flush.ts'
import { chosenArchive, debianArchitecture } from './image-host.ts'
import { npmVersion } from './image-npm.ts'
import type { ImageProgress } from './image-progress.ts'
import { imageInUseMs } from './limits.ts'
import { buildKernel, buildRoot, downloadPackages } from './image-steps.ts'

export type ImageRequest = {
  imageDir: string
  /** Node for the guest, this machine's own. */
  nodeBinary: string
  /** The repository's `guest` folder. */
  guestDir: string
  /** Overrides the machine's apt sources; default the environment's BULKHEAD_DEBIAN_MIRROR. */
  mirror?: string | undefined
  /** What it has beyond the standard one; default `standard`. */
  profile?: Profile | undefined
  onProgress?: (progress: ImageProgress) => void
  signal?: AbortSignal
}

export type ImageFile = { sha256: string; bytes: number }
export type ImageManifest = {
  format: 1
  recipe: string
  profile: Profile
  builtAt: string
  distribution: string
  suite: string
  architecture: string
  /** Whether this distribution, release and architecture have been tried. */
  verified: boolean
  kernel: string
  modules: string[]
  packages: Record<string, string>
  files: Record<'vmlinuz' | 'initrd.img' | 'root.squashfs', ImageFile>
  /** Duration of each build step, ms. */
  timings: Record<string, number>
}

/** A finished image; paths absolute. */
export type Image = { dir: string; kernel: string; initrd: string; root: string; manifest: ImageManifest }

const goodFile = 'good'

const imageFiles = ['vmlinuz', 'initrd.img', 'root.squashfs'] as const

/** A VM became ready from it: it is one to fall back to. Written once. */
export async function markGood(dir: string): Promise<void> {
  await writeFile(join(dir, goodFile), `${new Date().toISOString()}\n`, { flag: 'wx' }).catch(() => {})
}

/** The image used last before this one that a VM became ready from; null when there is none. */
export async function previousGood(request: Pick<ImageRequest, 'imageDir' | 'nodeBinary' | 'mirror' | 'profile'>): Promise<Image | null> {
  const hash = await recipeHash(request)
  for (const { name, good } of await olderImages(request.imageDir, hash)) {
    const image = good ? await readImage(request.imageDir, name) : null
    if (image !== null) return image
  }
  return null
}

/** The image this machine would build now, if it is there already. Cheap: sizes are compared, content is not read. */
export async function findImage(request: Pick<ImageRequest, 'imageDir' | 'nodeBinary' | 'mirror' | 'profile'>): Promise<Image | null> {
  return readImage(request.imageDir, await recipeHash(request))
}

/**
 * Makes the image unless it is there. A second caller waits for the first. Rejects with `image-failed` (cause: the last lines
 * of the tool that failed) or `cancelled`; either leaves finished steps for the next attempt.
 */
export async function buildImage(request: ImageRequest): Promise<Image> {
  const hash = await recipeHash(request)
  const ready = await readImage(request.imageDir, hash)
  if (ready !== null) {
    await utimes(join(ready.dir, 'manifest.json'), new Date(), new Date()).catch(() => {})
    return ready
  }
  const report = request.onProgress ?? (() => {})
  await mkdir(request.imageDir, { recursive: true })
  const lock = join(request.imageDir, '.lock')
  const release = await takeLock(lock, () => report({ step: 'wait', detail: 'Another process is building the image' }), request.signal)
  try {
    const image = (await readImage(request.imageDir, hash)) ?? (await build(request, hash, report))
    await removeOldImages(request.imageDir, hash)
    return image
  } catch (error) {
    throw isFault(error) ? error : fault('image-failed', 'The workspace image could not be built.', { cause: String(error) })
  } finally {
    await release()
  }
}

async function build(request: ImageRequest, hash: string, report: (progress: ImageProgress) => void): Promise<Image> {
  const buildDir = join(request.imageDir, `.build-${hash}`)
  await mkdir(buildDir, { recursive: true })
  const archive = await chosenArchive(request.mirror, buildDir)
  const timings: Record<string, number> = {}
  const timed = async <T>(name: string, work: Promise<T>): Promise<T> => {
    const start = performance.now()
    const result = await work
    timings[name] = Math.round(performance.now() - start)
    return result
  }
  // The first step to fail cancels the other, so that nothing writes into the folder once this returns.
  const failed = new AbortController()
  const signal = AbortSignal.any([failed.signal, ...(request.signal ? [request.signal] : [])])
  const profile = request.profile ?? 'standard'
  const context = { buildDir, archive, nodeBinary: request.nodeBinary, packages: packagesOf(profile), report, signal }
  await timed('download', downloadPackages(context))
  const outcomes = await Promise.allSettled(
    [timed('root', buildRoot(context)), timed('kernel', buildKernel(context))].map((step) =>
      step.catch((error: unknown) => {
        failed.abort()
        throw error
      }),
    ),
  )
  const errors = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
  if (request.signal?.aborted) throw cancelled()
  if (errors.length > 0) throw errors.find((error) => !isFault(error) || error.code !== 'cancelled') ?? errors[0]

  report({ step: 'finish', detail: 'Checking the image' })
  const parts = JSON.parse(await readFile(join(buildDir, 'kernel.json'), 'utf8')) as { kernel: string; modules: string[] }
  const manifest: ImageManifest = {
    format: 1,
    recipe: hash,
    profile,
    builtAt: new Date().toISOString(),
    distribution: archive.distribution,
    suite: archive.suite,
    architecture: debianArchitecture(),
    verified: archive.verified,
    kernel: parts.kernel,
    modules: parts.modules,
    packages: JSON.parse(await readFile(join(buildDir, 'packages.json'), 'utf8')) as Record<string, string>,
    files: {
      vmlinuz: await describeFile(join(buildDir, 'vmlinuz')),
      'initrd.img': await describeFile(join(buildDir, 'initrd.img')),
      'root.squashfs': await describeFile(join(buildDir, 'root.squashfs')),
    },
    timings,
  }
  return publish(request.imageDir, buildDir, hash, manifest)
}

/** Puts the finished files into a folder of their own and moves that, in one step, to its final name. */
async function publish(imageDir: string, buildDir: string, hash: string, manifest: ImageManifest): Promise<Image> {
  const finished = join(buildDir, 'finished')
  await rm(finished, { recursive: true, force: true })
  await mkdir(finished)
  for (const name of imageFiles) {
    await link(join(buildDir, name), join(finished, name))
    await flush(join(finished, name))
  }
  await writeFile(join(finished, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  await flush(join(finished, 'manifest.json'))
  // What stands there is no image, or it would have been used.
  await rm(join(imageDir, hash), { recursive: true, force: true })
  await rename(finished, join(imageDir, hash))
  await flush(imageDir)
  await rm(buildDir, { recursive: true, force: true })
  const image = await readImage(imageDir, hash)
  if (image === null) throw fault('image-failed', 'The finished image cannot be read.', { cause: join(imageDir, hash) })
  return image
}

type Older = { name: string; good: boolean; usedMs: number }

/** All images but this one: those that worked first, of these the one used last. */
async function olderImages(imageDir: string, hash: string): Promise<Older[]> {
  const names = (await readdir(imageDir)).filter((name) => /^[0-9a-f]{24}$/.test(name) && name !== hash)
  const older = await Promise.all(
    names.map(async (name): Promise<Older> => {
      const good = await stat(join(imageDir, name, goodFile)).catch(() => null)
      const used = await stat(join(imageDir, name, 'manifest.json')).catch(() => null)
      return { name, good: good !== null, usedMs: used?.mtimeMs ?? 0 }
    }),
  )
  return older.toSorted((a, b) => Number(b.good) - Number(a.good) || b.usedMs - a.usedMs)
}

/**
 * Removes unfinished builds of other recipes and all older images but one, which a rollback may want. One that was used a short while ago is
 * another checkout's.
 */
export async function removeOldImages(imageDir: string, hash: string): Promise<void> {
  for (const name of await readdir(imageDir))
    if (/^\.build-[0-9a-f]+$/.test(name)) await rm(join(imageDir, name), { recursive: true, force: true })
  const [, ...rest] = await olderImages(imageDir, hash)
  for (const { name, usedMs } of rest)
    if (Date.now() - usedMs > imageInUseMs) await rm(join(imageDir, name), { recursive: true, force: true })
}

/** Identity of the image this machine would build: recipe, release, architecture, Node, npm. The mirror's address is no part of it. */
export async function recipeHash(request: Pick<ImageRequest, 'nodeBinary' | 'mirror' | 'profile'>): Promise<string> {
  const { distribution, suite, kernelPackage } = await chosenArchive(request.mirror, null)
  const inputs = {
    recipeVersion,
    distribution,
    suite,
    kernelPackage,
    architecture: debianArchitecture(),
    packages: packagesOf(request.profile ?? 'standard'),
    modules,
    leftOut,
    leftIn,
    finishTree,
    sourceDate,
  }
  return createHash('sha256')
    .update(JSON.stringify(inputs))
    .update(await fingerprint(request.nodeBinary))
    .update(await npmVersion(request.nodeBinary))
    .digest('hex')
    .slice(0, 24)
}

/** Size and first MiB, which holds the ELF build id: tells two builds of Node apart without reading 150 MB at each start. */
async function fingerprint(path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(1024 * 1024), 0, 1024 * 1024, 0)
    return Buffer.concat([Buffer.from(`${size}\n`), buffer.subarray(0, bytesRead)])
  } finally {
    await file.close()
  }
}

async function readImage(imageDir: string, hash: string): Promise<Image | null> {
  const dir = join(imageDir, hash)
  try {
    const manifest = JSON.parse(await readFile(join(dir, 'manifest.json'), 'utf8')) as ImageManifest
    if (manifest.format !== 1 || manifest.recipe !== hash) return null
    for (const name of imageFiles) if ((await stat(join(dir, name))).size !== manifest.files[name].bytes) return null
    return { dir, kernel: join(dir, 'vmlinuz'), initrd: join(dir, 'initrd.img'), root: join(dir, 'root.squashfs'), manifest }
  } catch {
    return null
  }
}

async function describeFile(path: string): Promise<ImageFile> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer)
    bytes += (chunk as Buffer).length
  }
  return { sha256: hash.digest('hex'), bytes }
}
