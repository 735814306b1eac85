/**
 * Saved memories of the VM, beside the image they were made from. One is saved after the first boot, before any session, folder or secret
 * was in it; later starts go on from there.
 *
 *   <image>/snapshots/<key>/{memory, disk.raw, manifest.json}      complete, never changed; the key names all it depends on
 *   <image>/snapshots/.saving-<pid>-<n>/                            in the making
 */
import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { flush } from './flush.ts'
import { keptSnapshots, mostSnapshots, scratchBytes, snapshotInUseMs } from './limits.ts'

/** Names inside a snapshot's folder, and inside the scratch folder it is made from. */
export const memoryFile = 'memory'
export const diskFile = 'disk.raw'

type SavedFile = { bytes: number; modifiedMs: number }
type Manifest = { format: 1; key: string; savedAt: string; memory: SavedFile; disk: SavedFile }

const folderOf = (imageDir: string): string => join(imageDir, 'snapshots')

/** The snapshot's folder, if it is whole and untouched since it was saved. Content is not read: sizes and times are compared. */
export async function findSnapshot(imageDir: string, key: string): Promise<string | null> {
  const dir = join(folderOf(imageDir), key)
  try {
    const manifest = JSON.parse(await readFile(join(dir, 'manifest.json'), 'utf8')) as Manifest
    if (manifest.format !== 1 || manifest.key !== key) return null
    for (const [name, saved] of [
      [memoryFile, manifest.memory],
      [diskFile, manifest.disk],
    ] as const) {
      const now = await fileFacts(join(dir, name))
      if (now.bytes !== saved.bytes || now.modifiedMs !== saved.modifiedMs) return null
    }
    // The newest ones are kept.
    await utimes(join(dir, 'manifest.json'), new Date(), new Date()).catch(() => {})
    return dir
  } catch {
    return null
  }
}

/** It did not work, or is not trusted any more. */
export async function discardSnapshot(imageDir: string, key: string): Promise<void> {
  await rm(join(folderOf(imageDir), key), { recursive: true, force: true })
}

let made = 0

/** A folder for a VM that will be saved, with its blank disk. Also removes those of processes that are gone. */
export async function beginSnapshot(imageDir: string): Promise<string> {
  const folder = folderOf(imageDir)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const name of await readdir(folder)) {
    const pid = Number(/^\.saving-(\d+)-/.exec(name)?.[1])
    if (Number.isSafeInteger(pid) && pid > 0 && !runs(pid)) await rm(join(folder, name), { recursive: true, force: true })
  }
  const dir = join(folder, `.saving-${process.pid}-${++made}`)
  await prepareScratch(dir)
  return dir
}

/** Of one start's VM, in the supervisor's home. */
export const scratchOf = (home: string, ref: string): string => join(home, `scratch-${ref}`)

/** Scratch folders of earlier supervisors that were killed: what their VMs had written takes room for nobody. There must be no VM. */
export async function removeScratch(home: string): Promise<void> {
  const left = (await readdir(home)).filter((name) => /^scratch-\d+$/.test(name))
  await Promise.all(left.map((name) => rm(join(home, name), { recursive: true, force: true })))
}

/** An empty folder with a blank disk: sparse, so it takes what is written and no more. */
export async function prepareScratch(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await writeFile(join(dir, diskFile), '', { mode: 0o600 })
  await truncate(join(dir, diskFile), scratchBytes)
}

/** Gives the saved files their final name, in one step. Another process may have been quicker; then theirs stays. */
export async function publishSnapshot(imageDir: string, key: string, scratchDir: string): Promise<void> {
  for (const name of [memoryFile, diskFile]) await belongToUs(join(scratchDir, name))
  await belongToUs(scratchDir)
  const manifest: Manifest = {
    format: 1,
    key,
    savedAt: new Date().toISOString(),
    memory: await fileFacts(join(scratchDir, memoryFile)),
    disk: await fileFacts(join(scratchDir, diskFile)),
  }
  await writeFile(join(scratchDir, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  await flush(...[memoryFile, diskFile, 'manifest.json'].map((name) => join(scratchDir, name)))
  const target = join(folderOf(imageDir), key)
  await takePlace(scratchDir, target, async () => (await findSnapshot(imageDir, key)) !== null)
  await rm(scratchDir, { recursive: true, force: true })
  await removeOld(folderOf(imageDir), key)
}

/** Whoever is first stays, if `isGood` says so of what is there; what is left of something else makes room. */
async function takePlace(scratchDir: string, target: string, isGood: () => Promise<boolean>): Promise<void> {
  for (;;) {
    try {
      return await rename(scratchDir, target)
    } catch (error) {
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error
    }
    if (await isGood()) return
    const aside = `${scratchDir}.old`
    await rename(target, aside).catch((error: unknown) => {
      // Another has made room already.
      if (codeOf(error) !== 'ENOENT') throw error
    })
    await rm(aside, { recursive: true, force: true })
  }
}

async function removeOld(folder: string, key: string): Promise<void> {
  const others: { path: string; time: number }[] = []
  for (const name of await readdir(folder)) {
    if (name === key || name.startsWith('.')) continue
    const path = join(folder, name)
    const time = await stat(join(path, 'manifest.json')).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    )
    others.push({ path, time })
  }
  others.sort((a, b) => b.time - a.time)
  const inUse = others.filter(({ time }) => Date.now() - time < snapshotInUseMs).length
  const kept = Math.min(mostSnapshots, Math.max(keptSnapshots, inUse + 1))
  for (const { path } of others.slice(kept - 1)) await rm(path, { recursive: true, force: true })
}

/** QEMU may have made it as another user: that one, and any later one, reads it and changes nothing. */
async function belongToUs(path: string): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, 0, 0)
  await chmod(path, (await stat(path)).isDirectory() ? 0o700 : 0o644)
}

async function fileFacts(path: string): Promise<SavedFile> {
  const { size, mtimeMs } = await stat(path)
  return { bytes: size, modifiedMs: Math.round(mtimeMs) }
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}
