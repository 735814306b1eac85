/**
 * Carrying out an undo's plan. Each step is itself a change that is kept first, so an undo can be undone, and one that was killed halfway is
 * taken back when the folder is opened next.
 *
 *   files away -> folders away and moved things aside, deepest first -> things to their places, from the top -> modes and times
 */
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { inherit, type Owner, ownerIn, tempName, tempPrefix } from './atomic-write.ts'
import type { Entry, Step } from './change-log.ts'
import { lstatAt, stampAt, stampOf } from './entry-state.ts'
import type { ChangeStore } from './change-store.ts'
import type { Gate } from './gate.ts'
import { at, close, openFolder, openPlace, self } from './handles.ts'
import { limits } from './limits.ts'
import { codeOf } from './os-errors.ts'
import type { Disk, Plan, Restore } from './undo-plan.ts'

export type CarriedOut = { failed: { path: string; error: unknown }[]; renewed: { was: string; now: string }[] }
type Job = Step & { path: string }

/** The folder by path, through handles and no link. Folders stay open until `close` or `trim`. */
export class Folders implements Disk {
  readonly #root: number
  readonly #open = new Map<string, number>()
  readonly #owners = new Map<number, Owner | null>()
  /** What looking for a folder that is not there threw: others in it are asked for next. */
  readonly #absent = new Map<string, unknown>()

  constructor(gate: Gate) {
    this.#root = gate.root.fd
  }

  close(): void {
    for (const fd of this.#open.values()) close(fd)
    this.#open.clear()
    this.#owners.clear()
    this.#absent.clear()
  }

  /** Whom what is made in an open folder has to be given to. */
  owner(folder: number): Owner | null {
    let owner = this.#owners.get(folder)
    if (owner === undefined) this.#owners.set(folder, (owner = ownerIn(folder)))
    return owner
  }

  /** Throws ENOENT, ENOTDIR, ELOOP. */
  folder(parts: readonly string[]): number {
    if (parts.length === 0) return this.#root
    const key = parts.join('/')
    const known = this.#open.get(key)
    if (known !== undefined) return known
    if (this.#absent.has(key)) throw this.#absent.get(key)
    const above = this.folder(parts.slice(0, -1))
    let fd: number
    try {
      fd = openFolder(above, parts.at(-1) as string)
    } catch (error) {
      if (this.#absent.size < limits.undoFolders) this.#absent.set(key, error)
      throw error
    }
    this.#open.set(key, fd)
    return fd
  }

  get isFull(): boolean {
    return this.#open.size >= limits.undoFolders
  }

  /** Closes what is open when there is much of it. Not while an entry is in use: the number of its folder would soon mean another. */
  trim(): void {
    if (this.isFull) this.close()
  }

  entry(path: string): Entry {
    const parts = path.split('/')
    return { folder: this.folder(parts.slice(0, -1)), name: parts.at(-1) as string, parts }
  }

  /** It is there now. */
  made(parts: readonly string[]): void {
    this.#absent.delete(parts.join('/'))
  }

  /** Folders moved or removed are not what was opened any more. */
  forget(): void {
    this.close()
  }

  stamp(path: string): string {
    if (path === '') return 'folder:root'
    this.trim()
    try {
      const { folder, name } = this.entry(path)
      return stampAt(folder, name)
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return 'absent'
      throw error
    }
  }

  names(path: string): string[] {
    this.trim()
    try {
      return fs.readdirSync(self(this.folder(path.split('/'))))
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return []
      throw error
    }
  }
}

/** `failed`: the paths whose step failed, with the reason. `renewed`: for `ChangeStore.finishRun`. Rejects when aborted between two batches; what was done so far stays recorded under `run`. */
export async function carryOut(gate: Gate, plan: Plan, run: number, kind: 'undo' | 'redo', signal: AbortSignal): Promise<CarriedOut> {
  const folders = new Folders(gate)
  const failed: { path: string; error: unknown }[] = []
  /** Stamps of files as they were left, by their own handles. */
  const left = new Map<Restore, string>()
  const aside = new Map(plan.moves.map(({ from }, index) => [from, `${tempPrefix}undo-${run}-${index}`]))

  const carry = async (jobs: readonly Job[]): Promise<void> => {
    const results = gate.log.putAll(jobs, { source: kind, run, session: null })
    for (const [index, error] of results.entries()) if (error !== null) failed.push({ path: (jobs[index] as Job).path, error })
    folders.trim()
    await setImmediate()
    signal.throwIfAborted()
  }
  const perform = async (wanted: readonly { path: string; job: () => Job }[]): Promise<void> => {
    let jobs: Job[] = []
    for (const { path, job } of wanted) {
      try {
        jobs.push(job())
      } catch (error) {
        failed.push({ path, error })
      }
      if (jobs.length < limits.undoBatch && !folders.isFull) continue
      await carry(jobs)
      jobs = []
    }
    await carry(jobs)
  }
  /** Those of one depth do not depend on each other. */
  const byDepth = async (wanted: readonly { depth: number; path: string; job: () => Job }[], order: 1 | -1): Promise<void> => {
    const depths = [...new Set(wanted.map(({ depth }) => depth))].toSorted((a, b) => (a - b) * order)
    for (const depth of depths) {
      await perform(wanted.filter((item) => item.depth === depth))
      folders.forget()
    }
  }

  try {
    await perform(
      plan.removes.filter(({ folder }) => !folder).map(({ path }) => ({ path, job: () => removing(folders.entry(path), path, false) })),
    )
    await byDepth(
      [
        ...plan.removes
          .filter(({ folder }) => folder)
          .map(({ path }) => ({ depth: depthOf(path), path, job: () => removing(folders.entry(path), path, true) })),
        ...plan.moves.map(({ from }) => ({
          depth: depthOf(from),
          path: from,
          job: () => moving(folders.entry(from), folders.entry(aside.get(from) as string), from),
        })),
      ],
      -1,
    )
    await byDepth(
      [
        ...plan.moves.map(({ from, path }) => ({
          depth: depthOf(path),
          path,
          job: () => moving(folders.entry(aside.get(from) as string), withParents(folders, path), path),
        })),
        ...plan.restores.map((step) => ({
          depth: depthOf(step.path),
          path: step.path,
          job: () => restoring(gate, folders, step, left),
        })),
      ],
      1,
    )
    // Last, because a folder may have been made unwritable, and each name put into it changes its time.
    const modes = plan.restores.flatMap(({ path, state }) => (state.kind === 'folder' ? [{ path, mode: state.mode, mtimeNs: null }] : []))
    await byDepth(
      [...modes, ...plan.attributes].map(({ path, mode, mtimeNs }) => ({
        depth: depthOf(path),
        path,
        job: () => dressing(folders.entry(path), path, mode, mtimeNs),
      })),
      -1,
    )
    const lost = new Set(failed.map(({ path }) => path))
    const otherwise = new Set([...lost, ...plan.attributes.map(({ path }) => path)])
    const renewed: CarriedOut['renewed'] = []
    for (const step of plan.restores) {
      if (otherwise.size > 0 && otherwise.has(step.path)) continue
      renewed.push({ was: step.state.stamp, now: left.get(step) ?? folders.stamp(step.path) })
    }
    for (const { path, was } of plan.attributes) if (!lost.has(path)) renewed.push({ was, now: folders.stamp(path) })
    return { failed, renewed }
  } finally {
    folders.close()
  }
}

/** Folders on the way that someone has removed meanwhile are made again. */
function withParents(folders: Folders, path: string): Entry {
  try {
    return folders.entry(path)
  } catch (error) {
    const above = path.split('/').slice(0, -1)
    if (codeOf(error) !== 'ENOENT' || above.length === 0) throw error
    const { folder, name } = withParents(folders, above.join('/'))
    fs.mkdirSync(at(folder, name), 0o777)
    inherit(folder, at(folder, name))
    folders.made(above)
    return folders.entry(path)
  }
}

function removing(entry: Entry, path: string, folder: boolean): Job {
  const name = at(entry.folder, entry.name)
  return {
    entry,
    path,
    perform() {
      if (folder) fs.rmdirSync(name)
      else fs.unlinkSync(name)
      return 'absent'
    },
  }
}

function moving(from: Entry, entry: Entry, path: string): Job {
  return {
    entry,
    from,
    path,
    perform() {
      if (stampAt(entry.folder, entry.name) !== 'absent') throw Object.assign(new Error('EEXIST'), { code: 'EEXIST' })
      fs.renameSync(at(from.folder, from.name), at(entry.folder, entry.name))
      return null
    },
  }
}

function dressing(entry: Entry, path: string, mode: number, mtimeNs: string | null): Job {
  return {
    entry,
    path,
    perform() {
      const held = openPlace(entry.folder, entry.name)
      try {
        fs.chmodSync(self(held), mode & 0o777)
        if (mtimeNs !== null) fs.utimesSync(self(held), new Date(), seconds(mtimeNs))
      } finally {
        close(held)
      }
      return null
    },
  }
}

function restoring(gate: Gate, folders: Folders, step: Restore, left: Map<Restore, string>): Job {
  const { path, state, replaces, same } = step
  const entry = withParents(folders, path)
  const { folder, name } = entry
  switch (state.kind) {
    case 'folder':
      return {
        entry,
        path,
        perform() {
          fs.mkdirSync(at(folder, name), 0o700)
          inherit(folder, at(folder, name))
          return null
        },
      }
    case 'symlink':
      return {
        entry,
        path,
        perform() {
          if (replaces) fs.unlinkSync(at(folder, name))
          gate.syscalls.symlink(state.text, folder, name)
          return null
        },
      }
    case 'file': {
      const kept = new KeptFile(gate, state)
      const owner = folders.owner(folder)
      return {
        entry,
        path,
        fresh: !replaces,
        prepare: () => kept.prepare(),
        perform() {
          const stamp = restoreFile(gate, entry, kept, owner, { replaces, same })
          if (stamp !== null) left.set(step, stamp)
          return stamp
        },
      }
    }
    default:
      return state satisfies never
  }
}

type FileState = Extract<Restore['state'], { kind: 'file' }>

/** A file as the store has it. A small one is read with others, in one transaction, whose locks cost more than the reading does. */
class KeptFile {
  readonly state: FileState
  readonly #store: ChangeStore | null
  #whole: Uint8Array | null = null

  constructor(gate: Gate, state: FileState) {
    this.state = state
    this.#store = gate.log.store
  }

  prepare(): void {
    if (this.state.size >= limits.wholeBytes) return
    try {
      this.#whole = this.#store?.whole(this.state.content) ?? null
    } catch {
      // It is read once more when it is written, which fails for this file alone.
    }
  }

  writeTo(fd: number): void {
    const { content, size } = this.state
    let written = 0
    for (const chunk of this.#whole ? [this.#whole] : (this.#store?.read(content) ?? []))
      for (let done = 0; done < chunk.length; ) {
        const more = fs.writeSync(fd, chunk, done)
        done += more
        written += more
      }
    this.#whole = null
    if (written !== size) throw Object.assign(new Error('what was kept is not whole'), { code: 'EIO' })
  }
}

/**
 * All or nothing, like a write by a tool, but for a file that has other names: those must show the old content as well, so it is written in place. One
 * that is not there is written under its name at once: half of it, after a kill, is taken away when the folder is opened next.
 * Not synced file by file: what it replaced is kept, and a power cut can be undone once more. Returns the stamp of what has the name now; null: to be
 * looked for.
 */
function restoreFile(
  gate: Gate,
  { folder, name, parts }: Entry,
  kept: KeptFile,
  owner: Owner | null,
  { replaces, same }: Pick<Restore, 'replaces' | 'same'>,
): string | null {
  const { state } = kept
  const own = replaces ? tempName() : name
  const path = at(folder, own)
  const away = replaces ? gate.log.temporary([...parts.slice(0, -1), own]) : () => undefined
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants
  let fd: number | null = null
  let placed = false
  try {
    fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, replaces ? 0o600 : state.mode & 0o777)
    inherit(folder, path, owner)
    kept.writeTo(fd)
    if (same && (lstatAt(folder, name)?.nlink ?? 0n) > 1n) {
      writeInPlace(path, { folder, name }, state)
      return null
    }
    const stamp = dressFile(fd, state)
    if (replaces) fs.renameSync(path, at(folder, name))
    placed = true
    return stamp
  } finally {
    if (fd !== null) close(fd)
    // Not what someone else has there.
    if (fd !== null && !placed) fs.rmSync(path, { force: true })
    away()
  }
}

function writeInPlace(from: string, { folder, name }: Pick<Entry, 'folder' | 'name'>, state: FileState): void {
  const held = openPlace(folder, name)
  try {
    fs.chmodSync(self(held), 0o600)
    fs.copyFileSync(from, self(held))
    dressFile(held, state)
  } finally {
    close(held)
  }
}

/** The stamp of what it is then. */
function dressFile(fd: number, { mode, mtimeNs }: { mode: number; mtimeNs: string }): string {
  fs.utimesSync(self(fd), Date.now() / 1e3, seconds(mtimeNs))
  const made = fs.fstatSync(fd, { bigint: true })
  if ((made.mode & 0o7777n) === BigInt(mode & 0o777)) return stampOf(made, null)
  fs.chmodSync(self(fd), mode & 0o777)
  return stampOf(fs.fstatSync(fd, { bigint: true }), null)
}

function seconds(nanos: string): number {
  return Number(BigInt(nanos)) / 1e9
}

function depthOf(path: string): number {
  return path.split('/').length
}
