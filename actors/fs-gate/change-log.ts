/**
 * Every change of a folder on its way to the disk: what it replaces is kept first, what it leaves is noted after.
 *
 *   tools      one row a change
 *   workspace  one row a file and group, not one a write: the first write, truncation or removal keeps the file, later ones in the same group
 *              (tool call, or `groupMs` of a process in the background) only move the mark of what is there afterwards
 *
 * What a program makes and removes within one group leaves no row: nobody else ever saw it.
 */
import * as fs from 'node:fs'
import type { Fault } from '../../kernel/index.ts'
import { AbsentNames } from './absent-names.ts'
import { openHeld, openPlace, scoped, self } from './handles.ts'
import { type Change, type ChangeStore, isTooLarge, type NewChange, type Origin, placeOf, type Source } from './change-store.ts'
import { absent, lstatAt, linkText, stampAt, stampOf, type State } from './entry-state.ts'
import { limits } from './limits.ts'
import { codeOf } from './os-errors.ts'
import { OwnChanges } from './own-changes.ts'
import { type Identity, Tracked, Tracking } from './tracking.ts'

/** A name in an open folder. `parts`: the whole way to it from the connected folder, the name included. */
export type Entry = { folder: number; name: string; parts: readonly string[] }
/**
 * One of several changes at a time. `fresh`: a file that is made where nothing is expected, which fails if something is. `prepare` reads from the store what `perform` needs, and does not throw. `perform` returns the stamp of what it left
 * when it knows that by its own handle; null: it is looked for by name.
 */
export type Step = { entry: Entry; from?: Entry; fresh?: boolean; prepare?: () => void; perform: () => string | null }
export class ChangeLog {
  readonly store: ChangeStore | null
  /** What it left in the folder. */
  readonly own = new OwnChanges()
  #origin: Origin = { session: null, turn: null, call: null, title: '' }
  readonly #tracked = new Tracking()
  #since = 0
  /** Notes that may be lost by a kill: at worst an undo finds a file changed by it knows not whom, and keeps it. */
  #later: (() => void)[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(store: ChangeStore | null) {
    this.store = store
  }

  /** What follows belongs to this call. */
  mark(origin: Origin): void {
    this.#origin = origin
    this.#regroup()
  }

  close(): void {
    this.flush()
    this.store?.close()
  }

  /** Writes what is still only noted. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#later.length > 0) this.#commit(() => undefined)
  }

  /** Before a file is made under a name of its own, for a moment; returns what to call when it has that name no more. After a kill it is taken away. */
  temporary(parts: readonly string[]): () => void {
    const { store } = this
    if (!store) return () => undefined
    const path = pathOf({ parts })
    store.noteTemp(path)
    return () => this.#soon(() => store.forgetTemp(path))
  }

  /** A change at one name, by a tool. `perform` makes it, in one step. */
  put<T>(entry: Entry, session: string | null, perform: () => T): T {
    const { store } = this
    if (!store) return perform()
    // What is new replaces nothing that a power cut could take.
    const replaces = lstatAt(entry.folder, entry.name) !== null
    const id = this.#commit(() => store.begin(this.#row('put', entry, stateOf(store, entry), { source: 'tool', session })), replaces)
    return this.#performed(id, entry, perform, () => stampAt(entry.folder, entry.name))
  }

  /** Moves an entry. What stood at `to` is kept. */
  rename(from: Entry, to: Entry, source: Source, session: string | null, perform: () => void): void {
    const { store } = this
    if (!store) return perform()
    const moving = lstatAt(from.folder, from.name)
    const over = lstatAt(to.folder, to.name)
    if (moving && over && isSame(moving, over)) return perform()
    const known = source === 'workspace' && moving ? this.#known(moving) : undefined
    const made = moving?.isDirectory() || over ? undefined : known?.names.get(pathOf(from))
    const forgotten: number[] = []
    if (made === undefined) {
      const id = this.#commit(() =>
        store.begin({ ...this.#row('rename', from, stateOf(store, to), { source, session }), target: pathOf(to) }),
      )
      this.#performed(id, to, perform, () => stampAt(to.folder, to.name))
      known?.rows.add(id)
    } else {
      // Made in this group under another name: as if it were made now, under this one. Its folder may be younger than its first row.
      const id = this.#commit(() => store.begin(this.#row('put', to, absent, { source, session })))
      this.#performed(id, to, perform, () => stampAt(to.folder, to.name))
      forgotten.push(made)
      known?.rows.delete(made)
      known?.rows.add(id)
      known?.names.set(pathOf(to), id)
    }
    known?.names.delete(pathOf(from))
    this.own.left(pathOf(from), 'absent')
    if (moving?.isDirectory()) this.#tracked.folderMoved()
    if (over && over.nlink <= 1n) this.#tracked.gone(over)
    if (forgotten.length > 0) this.#soon(() => forgotten.forEach((id) => store.forget(id)))
  }

  /**
   * Several changes: all are kept in one commit, then made, then noted. A `perform` that throws does not stop the others; null where none was
   * thrown. Of a `run`, which does what it can, neither does one that is too large to be kept: it is not made.
   */
  putAll(items: readonly Step[], by: { source: Source; run: number | null; session: string | null }): unknown[] {
    const { store } = this
    if (!store) return items.map(({ perform }) => outcomeOf(perform).error)
    const nowhere = new AbsentNames(items.filter(({ fresh }) => fresh).map(({ entry }) => entry))
    const begin = ({ entry, from, fresh, prepare }: Step): number | Fault => {
      try {
        prepare?.()
        const before = fresh && nowhere.has(entry.folder, entry.name) ? absent : stateOf(store, entry)
        return store.begin({
          ...this.#row(from ? 'rename' : 'put', from ?? entry, before, by),
          target: from ? pathOf(entry) : null,
          ...(by.run === null ? {} : { run: by.run, session: null, turn: null, call: null, title: by.source }),
        })
      } catch (error) {
        if (by.run !== null && isTooLarge(error)) return error
        throw error
      }
    }
    const ids = this.#commit(() => items.map(begin))
    const outcomes = items.map(({ perform }, index) =>
      typeof ids[index] === 'number' ? outcomeOf(perform) : { error: ids[index], stamp: null },
    )
    const settled: { id: number; stamp: string | null }[] = []
    for (const [index, { entry, from }] of items.entries()) {
      const id = ids[index]
      if (typeof id !== 'number') continue
      const { error, stamp: known } = outcomes[index] as Outcome
      const stamp = error === null ? (known ?? stampAt(entry.folder, entry.name)) : null
      settled.push({ id, stamp })
      if (stamp === null) continue
      this.own.left(pathOf(entry), stamp)
      if (from) this.own.left(pathOf(from), 'absent')
    }
    // With what is kept next: a row that is written twice in a breath costs twice.
    this.#soon(() => {
      for (const { id, stamp } of settled)
        if (stamp === null) store.forget(id)
        else store.settle(id, stamp)
    })
    return outcomes.map(({ error }) => error)
  }

  /** In the workspace: something new at a name, or one more name of what is at `of`. Returns what `perform`, which makes it, does. */
  create<T>(entry: Entry, perform: () => T, of: readonly string[] | null = null): T {
    const { store } = this
    if (!store) return perform()
    this.#regroupIfOld()
    const row = this.#row('put', entry, absent, { source: 'workspace', session: null })
    const id = this.#commit(() => store.begin({ ...row, target: of && pathOf({ parts: of }) }))
    const made = this.#performed(id, entry, perform, () => stampAt(entry.folder, entry.name))
    const stat = lstatAt(entry.folder, entry.name)
    if (!stat) return made
    const stamp = stampAt(entry.folder, entry.name)
    if (of === null) this.#tracked.set(stat, new Tracked(stamp, stat.isFile(), true)).add(id, pathOf(entry))
    else this.#tracked.get(stat)?.add(id, pathOf(entry))
    return made
  }

  /** In the workspace: before a file's bytes change. `held`: any handle on it; `where`: its path now, null when it has none. */
  modify(held: number, file: Identity, where: () => string[] | null): void {
    const { store } = this
    if (!store) return
    const known = this.#known(file)
    if (known?.touched) return
    // What someone else has written to it since is kept as well.
    if (known?.stamp === stampHeld(held)) {
      known.touched = true
      return
    }
    const parts = where()
    // Deleted while open: nobody can find it again, there is nothing to undo.
    if (!parts || parts.length === 0) return
    const before = this.#commit(() => {
      const state = contentState(store, held)
      const id = store.begin(this.#row('put', { parts }, state, { source: 'workspace', session: null }))
      if ('stamp' in state) for (const row of this.#tracked.late(file)) store.settle(row, state.stamp)
      return { state, id }
    })
    this.#tracked.set(file, new Tracked('stamp' in before.state ? before.state.stamp : '', true, false)).add(before.id, null)
  }

  /** In the workspace: mode or times change. Content may still change in this group and then has to be kept, so the file counts as unchanged after. */
  attributes(held: number, file: Identity, where: () => string[] | null, perform: () => void): void {
    const { store } = this
    const known = store ? this.#known(file) : undefined
    const parts = known ? null : where()
    if (!store || !parts || parts.length === 0) {
      perform()
      if (known) known.touched = true
      if (known) this.settle(held, file)
      return
    }
    const now = fs.fstatSync(held, { bigint: true })
    const stamp = stampHeld(held)
    const before: State = { kind: 'attributes', stamp, mode: Number(now.mode & 0o777n), mtimeNs: String(now.mtimeNs) }
    const late = this.#tracked.late(file)
    const id = this.#commit(() => {
      for (const row of late) store.settle(row, stamp)
      return store.begin(this.#row('put', { parts }, before, { source: 'workspace', session: null }))
    })
    this.#performed(id, { parts }, perform, () => stampHeld(held))
  }

  /** In the workspace: a file handle that may have been written to is closed, or its attributes have been set. */
  settle(held: number, file: Identity): void {
    const { store } = this
    if (!store) return
    const known = this.#tracked.get(file)
    const rows = [...this.#tracked.late(file), ...(known?.touched ? known.rows : [])]
    if (rows.length === 0) return
    const stamp = stampHeld(held)
    this.own.left('', stamp)
    if (known) Object.assign(known, { touched: false, stamp })
    this.#soon(() => rows.forEach((row) => store.settle(row, stamp)))
  }

  /** Whether a program in the workspace is writing to what stands there. */
  isWriting(folder: number, name: string): boolean {
    const stat = lstatAt(folder, name)
    return stat !== null && (this.#tracked.get(stat)?.touched ?? false)
  }

  /** In the workspace: a name is removed. */
  remove(entry: Entry, perform: () => void): void {
    const { store } = this
    if (!store) return perform()
    const stat = lstatAt(entry.folder, entry.name)
    const known = stat ? this.#known(stat) : undefined
    const made = known?.names.get(pathOf(entry))
    if (known && made !== undefined && (known.touched || known.stamp === stampAt(entry.folder, entry.name))) {
      perform()
      this.own.left(pathOf(entry), 'absent')
      known.names.delete(pathOf(entry))
      known.rows.delete(made)
      this.#soon(() => store.forget(made))
    } else {
      const id = this.#commit(() => store.begin(this.#row('put', entry, stateOf(store, entry), { source: 'workspace', session: null })))
      this.#performed(id, entry, perform, () => 'absent')
      known?.names.delete(pathOf(entry))
    }
    if (stat && (stat.nlink <= 1n || stat.isDirectory())) this.#tracked.gone(stat)
  }

  /** After a kill: rows whose outcome was never noted. What has not changed since they were written is taken for theirs. */
  recover(look: (path: string) => { stamp: string; mtimeMs: number; same: (before: State) => boolean }): void {
    const { store } = this
    if (!store) return
    const open = store.changes({ unsettled: true })
    if (open.length === 0) return
    store.transaction(() => {
      for (const change of open) {
        const { stamp, mtimeMs, same } = look(placeOf(change))
        // A move was not made while what it moves has its old name, whatever is under the new one.
        const made = change.op === 'rename' && look(change.path).stamp === 'absent'
        if (!made && same(change.before)) store.forget(change.id)
        else if (mtimeMs <= change.at + limits.recoverMs) store.settle(change.id, stamp)
      }
    })
  }

  #known(file: Identity): Tracked | undefined {
    this.#regroupIfOld()
    return this.#tracked.get(file)
  }

  #regroupIfOld(): void {
    const now = performance.now()
    if (now - this.#since > limits.groupMs || this.#tracked.size > limits.trackedFiles) this.#regroup()
  }

  #regroup(): void {
    this.flush()
    this.#tracked.regroup(limits.openFiles)
    this.#since = performance.now()
  }

  #performed<T>(id: number, at: Pick<Entry, 'parts'>, perform: () => T, after: () => string): T {
    const store = this.store as ChangeStore
    let result: T
    try {
      result = perform()
    } catch (error) {
      this.#soon(() => store.forget(id))
      throw error
    }
    const stamp = after()
    this.own.left(pathOf(at), stamp)
    this.#soon(() => store.settle(id, stamp))
    return result
  }

  #commit<T>(work: () => T, durable = false): T {
    const store = this.store as ChangeStore
    const later = this.#later
    this.#later = []
    const result = store.transaction(() => {
      for (const note of later) note()
      return work()
    }, durable)
    if (store.overQuota) store.retain(Date.now())
    return result
  }

  #soon(note: () => void): void {
    this.#later.push(note)
    if (this.#later.length >= limits.notesHeld) return this.flush()
    this.#timer ??= setTimeout(() => this.flush(), limits.noteMs).unref()
  }

  #row(op: Change['op'], entry: Pick<Entry, 'parts'>, before: State, by: { source: Source; session: string | null }): NewChange {
    const origin = this.#origin
    return {
      ...origin,
      session: by.session ?? origin.session,
      at: Date.now(),
      source: by.source,
      op,
      path: pathOf(entry),
      target: null,
      before,
      run: null,
    }
  }
}

type Outcome = { error: unknown; stamp: string | null }

function outcomeOf(perform: Step['perform']): Outcome {
  try {
    return { error: null, stamp: perform() }
  } catch (error) {
    return { error: error ?? new Error('failed'), stamp: null }
  }
}

function pathOf({ parts }: Pick<Entry, 'parts'>): string {
  return parts.join('/')
}

/** Of a file or folder, never of a link: its text cannot be read through a handle. */
function stampHeld(held: number): string {
  return stampOf(fs.fstatSync(held, { bigint: true }), null)
}

function isSame(a: fs.BigIntStats, b: fs.BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev
}

/** What stands at a name, its content kept. */
function stateOf(store: ChangeStore, { folder, name }: Entry): State {
  const stat = lstatAt(folder, name)
  if (!stat) return absent
  if (stat.isDirectory()) return { kind: 'folder', stamp: stampOf(stat, null), mode: Number(stat.mode & 0o777n) }
  if (stat.isSymbolicLink()) return linkState(stat, linkText(folder, name) ?? '')
  if (!stat.isFile()) return { kind: 'special' }
  return scoped((scope) => contentState(store, scope.own(openPlace(folder, name))))
}

function linkState(stat: fs.BigIntStats, text: string): State {
  return { kind: 'symlink', stamp: stampOf(stat, text), text }
}

function contentState(store: ChangeStore, held: number): State {
  const stat = fs.fstatSync(held, { bigint: true })
  if (!stat.isFile()) return { kind: 'special' }
  const fd = openToKeep(held, Number(stat.mode & 0o777n))
  try {
    const kept = store.keep(fd, Number(stat.size))
    return { kind: 'file', stamp: stampOf(stat, null), mode: Number(stat.mode & 0o777n), mtimeNs: String(stat.mtimeNs), ...kept }
  } finally {
    fs.closeSync(fd)
  }
}

/** A file its owner has made unreadable can be deleted all the same, and has to be kept all the same. */
function openToKeep(held: number, mode: number): number {
  try {
    return openHeld(held)
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw error
  }
  fs.chmodSync(self(held), mode | 0o400)
  try {
    return openHeld(held)
  } finally {
    fs.chmodSync(self(held), mode)
  }
}
