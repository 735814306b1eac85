/**
 * Undo as a plan: the folder as it would be without some changes, worked out on a tree of names before anything is touched. Pure; what is
 * on the disk comes through `Disk`.
 *
 *   changes, newest first -> each taken back on the tree -> tree and disk compared -> removals, moves, restorations
 *
 * Nothing is taken back that is not exactly as the change left it: what someone did later is kept and named, and so is everything of the
 * plan that hangs on it.
 */
import { type Change, placeOf } from './change-store.ts'
import type { State } from './entry-state.ts'

export type Disk = {
  /** Stamp of what is at a path now; `absent`. */
  stamp(path: string): string
  /** Names in a folder; empty when it is none. */
  names(path: string): string[]
}

export type Restored = Exclude<State, { kind: 'absent' | 'special' | 'attributes' }>
/** `path` as the disk has it now. */
export type Remove = { do: 'remove'; path: string; folder: boolean }
/** `from` as the disk has it now, `path` as it will be. */
export type Move = { do: 'move'; from: string; path: string }
/** `replaces`: something is there. `same`: it is the file that was kept, so that its other names get the old content too. */
export type Restore = { do: 'restore'; path: string; state: Restored; replaces: boolean; same: boolean }
/** `was`: stamp of what had these attributes. */
export type Attributes = { do: 'attributes'; path: string; was: string; mode: number; mtimeNs: string | null }
export type Kept = { change: number; path: string; why: 'changed-later' | 'in-the-way' | 'not-empty' | 'special' | 'unknown' }
/** `done`: the changes that the steps take back. Each list is in no order: who carries it out sees to that. */
export type Plan = { removes: Remove[]; moves: Move[]; restores: Restore[]; attributes: Attributes[]; kept: Kept[]; done: number[] }

/** A name in the tree. `base`: where on the disk what has this name is now; null: nowhere. */
type Node = {
  name: string
  parent: Node | null
  base: string | null
  /** `disk`: as it is there. */
  now: 'disk' | 'absent' | Restored
  attributes: { was: string; mode: number; mtimeNs: string | null } | null
  /** The plan knows what is here, so it need not be compared with the disk again. */
  sure: boolean
  kept: boolean
  children: Map<string, Node>
}

/** `force`: also what was changed later is taken back. */
export function planUndo(changes: readonly Change[], disk: Disk, force = false): Plan {
  const tree = new Tree(disk, force)
  const kept: Kept[] = []
  const done: number[] = []
  for (const change of changes.toSorted((a, b) => b.id - a.id)) {
    const why = change.op === 'rename' ? tree.unmove(change) : tree.unput(change)
    if (why) kept.push({ change: change.id, path: placeOf(change), why })
    else done.push(change.id)
  }
  const { notEmpty, ...steps } = tree.steps()
  for (const path of notEmpty) {
    const change = changes.find((item) => item.op === 'put' && item.path === path && item.before.kind === 'absent')
    kept.push({ change: change?.id ?? 0, path, why: 'not-empty' })
    if (change) done.splice(done.indexOf(change.id), 1)
  }
  return { ...steps, kept, done }
}

class Tree {
  readonly #disk: Disk
  readonly #root: Node
  /** Things on the disk that have no place in the tree any more. */
  readonly #gone: { base: string; node: Node }[] = []

  readonly #force: boolean
  /** What one file was before a change that is taken back, by what it was after. One file may have several names, and the change stands at one of them. */
  readonly #earlier = new Map<string, string>()
  /** Names whose content comes from the store, by its stamp. */
  readonly #restored = new Map<string, Node[]>()

  constructor(disk: Disk, force: boolean) {
    this.#disk = disk
    this.#force = force
    this.#root = { name: '', parent: null, base: '', now: 'disk', attributes: null, sure: true, kept: false, children: new Map() }
  }

  unput({ path, target, before, after }: Change): Kept['why'] | null {
    if (before.kind === 'special') return 'special'
    const node = this.#at(path)
    // Made by it and gone by now: nothing is left to take back.
    const gone = before.kind === 'absent' && !node.kept && !node.sure && this.#isAbsent(node)
    const objection = gone ? null : this.#objection(node, after)
    if (objection) return objection
    node.sure = true
    if (after !== null && 'stamp' in before && isOneFile(before.stamp, after)) this.#takenBack(after, before)
    if (before.kind === 'absent' && target !== null) this.#giveBack(node, target)
    if (before.kind === 'attributes') {
      node.attributes = { was: before.stamp, mode: before.mode, mtimeNs: before.mtimeNs }
      return null
    }
    node.attributes = null
    if (before.kind === 'absent') node.now = 'absent'
    else if (before.kind === 'folder' && node.now === 'disk' && node.base !== null && this.#disk.stamp(node.base).startsWith('folder:'))
      node.attributes = { was: before.stamp, mode: before.mode, mtimeNs: null }
    else this.#restore(node, before)
    return null
  }

  unmove({ path, target, before, after }: Change): Kept['why'] | null {
    const node = this.#at(target ?? path)
    const objection = this.#objection(node, after)
    if (objection) return objection
    if (before.kind === 'special') return 'special'
    const old = this.#at(path)
    if (old.kept || (!old.sure && !this.#isAbsent(old))) {
      node.kept = true
      return 'in-the-way'
    }
    if (old.sure && old.now !== 'absent') {
      node.kept = true
      return 'in-the-way'
    }
    if (isInside(old, node)) return 'in-the-way'
    // What the move replaced comes back under the new name; nothing of the disk stands there then.
    const place = node.parent as Node
    const back: Node = {
      name: node.name,
      parent: place,
      base: null,
      now: before.kind === 'absent' || before.kind === 'attributes' ? 'absent' : before,
      attributes: null,
      sure: true,
      kept: false,
      children: new Map(),
    }
    place.children.set(node.name, back)
    if (back.now !== 'absent' && back.now !== 'disk') this.#restore(back, back.now)
    if (old.base !== null && old.now !== 'disk') this.#gone.push({ base: old.base, node: old })
    const { name, parent } = old
    node.name = name
    node.parent = parent
    node.sure = true
    parent?.children.set(name, node)
    return null
  }

  /** Why the change that left `after` here cannot be taken back. */
  #objection(node: Node, after: string | null): Kept['why'] | null {
    if (node.kept) return 'changed-later'
    if (node.sure) return null
    const now = node.now === 'disk' && node.base !== null ? this.#disk.stamp(node.base) : 'absent'
    if (this.#force || (after !== null && this.#leadsTo(now, after))) return null
    node.kept = true
    return after === null ? 'unknown' : 'changed-later'
  }

  /** Another name of the file may have been given back as it was between the two changes. */
  #takenBack(after: string, before: Exclude<State, { kind: 'absent' | 'special' }>): void {
    this.#earlier.set(after, before.stamp)
    if (before.kind !== 'file') return
    for (const node of this.#restored.get(after) ?? [])
      if (node.now !== 'disk' && node.now !== 'absent' && node.now.stamp === after) this.#restore(node, before)
  }

  #restore(node: Node, state: Restored): void {
    node.now = state
    const same = this.#restored.get(state.stamp)
    if (same) same.push(node)
    else this.#restored.set(state.stamp, [node])
  }

  /** A hard link goes: what was changed through it is taken back at the name it was made from. */
  #giveBack(node: Node, source: string): void {
    if (node.now === 'disk' && node.attributes !== null) return this.#giveAttributes(node.attributes, source)
    if (node.now === 'disk' || node.now === 'absent' || node.now.kind !== 'file') return
    const other = this.#at(source)
    const stamp = this.#stampOf(other)
    if (stamp === node.now.stamp || !this.#leadsTo(stamp, node.now.stamp)) return
    this.#restore(other, node.now)
    other.sure = true
  }

  /** The same for what was only dressed otherwise through it. */
  #giveAttributes(attributes: NonNullable<Node['attributes']>, source: string): void {
    const other = this.#at(source)
    if (!this.#leadsTo(this.#stampOf(other), attributes.was)) return
    other.attributes = attributes
    other.sure = true
  }

  #stampOf({ now, base }: Node): string {
    if (now === 'disk') return base === null ? 'absent' : this.#disk.stamp(base)
    return now === 'absent' ? 'absent' : now.stamp
  }

  /** Whether a file that is `now` was `then` before the changes taken back so far. */
  #leadsTo(now: string, then: string): boolean {
    const seen = new Set<string>()
    for (let stamp: string | undefined = now; stamp !== undefined && !seen.has(stamp); stamp = this.#earlier.get(stamp)) {
      if (stamp === then) return true
      seen.add(stamp)
    }
    return false
  }

  #isAbsent(node: Node): boolean {
    return node.now === 'absent' || (node.now === 'disk' && (node.base === null || this.#disk.stamp(node.base) === 'absent'))
  }

  #at(path: string): Node {
    let node = this.#root
    for (const name of path.split('/')) node = this.#child(node, name)
    return node
  }

  #child(parent: Node, name: string): Node {
    const known = parent.children.get(name)
    if (known) return known
    const base = parent.now === 'disk' && parent.base !== null ? join(parent.base, name) : null
    const node: Node = {
      name,
      parent,
      base,
      now: base === null ? 'absent' : 'disk',
      attributes: null,
      sure: false,
      kept: false,
      children: new Map(),
    }
    // In a folder that comes back empty nothing can have been changed later.
    if (base === null && parent.now !== 'disk') node.sure = true
    parent.children.set(name, node)
    return node
  }

  steps(): { removes: Remove[]; moves: Move[]; restores: Restore[]; attributes: Attributes[]; notEmpty: string[] } {
    const removes: Remove[] = []
    const moves: Move[] = []
    const restores: Restore[] = []
    const attributes: Attributes[] = []
    const notEmpty: string[] = []
    /** Bases of what is taken out of its folder by a move. */
    const movedAway = new Set<string>()

    const visit = (node: Node, path: string): void => {
      const expected =
        node.parent === null ? '' : node.parent.now === 'disk' && node.parent.base !== null ? join(node.parent.base, node.name) : null
      if (node.now === 'disk' && node.base !== null && node.base !== expected) {
        moves.push({ do: 'move', from: node.base, path })
        movedAway.add(node.base)
      }
      if (node.now !== 'disk' && node.now !== 'absent') {
        const stamp = node.base === null ? 'absent' : this.#disk.stamp(node.base)
        const stands = node.base === path && stamp.startsWith('folder:') && node.now.kind === 'folder'
        if (stands && node.now.kind === 'folder')
          attributes.push({ do: 'attributes', path, was: node.now.stamp, mode: node.now.mode, mtimeNs: null })
        const replaces = node.base === path && stamp !== 'absent' && !stamp.startsWith('folder:') && node.now.kind !== 'folder'
        if (stamp !== 'absent' && !replaces && !stands)
          removes.push({ do: 'remove', path: node.base as string, folder: stamp.startsWith('folder:') })
        if (!stands) restores.push({ do: 'restore', path, state: node.now, replaces, same: replaces && isOneFile(stamp, node.now.stamp) })
      }
      if (node.attributes) attributes.push({ do: 'attributes', path, ...node.attributes })
      for (const child of node.children.values()) visit(child, path === '' ? child.name : join(path, child.name))
    }
    visit(this.#root, '')

    // By where things are on the disk: what a folder holds there may have another place in the tree by now, or none.
    const known = new Map<string, Node>()
    const note = (node: Node): void => {
      if (node.base !== null) known.set(node.base, node)
      for (const child of node.children.values()) note(child)
    }
    note(this.#root)
    for (const { node } of this.#gone) note(node)
    const leaving = new Map<string, boolean>()

    /** Whether this goes from where it is. A folder only when all that is in it does. */
    const leaves = (base: string): boolean => {
      const found = leaving.get(base)
      if (found !== undefined) return found
      const goes = decide(base)
      leaving.set(base, goes)
      return goes
    }
    const decide = (base: string): boolean => {
      const node = known.get(base)
      if (movedAway.has(base)) return true
      if (!node || node.now === 'disk') return false
      // What is restored in its place has been seen to above.
      if (node.now !== 'absent') return true
      const stamp = this.#disk.stamp(base)
      if (stamp === 'absent') return true
      if (!stamp.startsWith('folder:')) {
        removes.push({ do: 'remove', path: base, folder: false })
        return true
      }
      const stay = this.#disk.names(base).filter((name) => !leaves(join(base, name)))
      if (stay.length > 0) notEmpty.push(base)
      else removes.push({ do: 'remove', path: base, folder: true })
      return stay.length === 0
    }
    for (const [base, { now }] of known) if (now === 'absent') leaves(base)

    const seen = new Set<string>()
    return { removes: removes.filter(({ path }) => !seen.has(path) && seen.add(path)), moves, restores, attributes, notEmpty }
  }
}

function isOneFile(one: string, other: string): boolean {
  return one.split(':', 2).join() === other.split(':', 2).join()
}

function isInside(node: Node, of: Node): boolean {
  for (let at: Node | null = node; at; at = at.parent) if (at === of) return true
  return false
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`
}
