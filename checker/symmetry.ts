/**
 * Symmetry: actors that differ in nothing but their name. Every state is replaced by one representative of those that a renaming makes of
 * it, so that of n! alike states one is kept.
 *
 * The replicas are sorted by what the whole state says of each; only among those it says the same of is every order tried.
 */
import type { Item } from './channels.ts'
import type { Composition, Member } from './compose.ts'
import type { Local } from './local.ts'
import { firstRequest } from './outbox.ts'
import { canonical, Interner, type Product, type Symmetry } from './product.ts'

/** Rename ids inside values: names of replicas are replaced wherever a string or a key is one. */
export function systemSymmetry(composition: Composition, names: readonly string[]): Symmetry {
  const members = names.map((name) => composition.members.get(name) as Member)
  const byComponent = new Map(
    [...composition.members.values()].flatMap((member) => [[member.component, member] as const, [member.mailbox, member] as const]),
  )
  const renamed = new Map<string, number>()
  const signatures = new Interner<string>()
  const signed = new Map<string, number>()
  const { channels } = composition
  /** Capabilities have numbers, and the partner's has another one. */
  function renameItem(item: Item, to: ReadonlyMap<string, string>): Item {
    const other = rename(item, to) as Item
    if (other.what !== 'message') {
      if (other.request >= firstRequest) throw new Error('Symmetry knows no requests between actors: their numbers name who asked.')
      return other
    }
    const wire = composition.capabilities.wireOf(other.cap)
    if (!wire || other.caps.length > 0 || other.request !== null)
      throw new Error('Symmetry knows no requests between actors and no capabilities that travel.')
    return { ...other, cap: composition.capabilities.capOf(to.get(wire.holder) ?? wire.holder, to.get(wire.slot) ?? wire.slot) }
  }
  const isMailbox = (component: number): boolean => byComponent.get(component)?.mailbox === component
  const valueOf = (component: number, id: number): unknown => {
    const member = byComponent.get(component)
    if (!member) return null
    return isMailbox(component) ? member.box.shown(id) : plain(member.locals.get(id))
  }
  return {
    replicas: members.map(({ component, mailbox }) => [component, mailbox]),
    rename(component, id, to) {
      const member = byComponent.get(component)
      if (!member) return id
      const key = `${component}/${id}/${to.join()}`
      const known = renamed.get(key)
      if (known !== undefined) return known
      const renaming = new Map(names.map((name, i) => [name, names[to[i] as number] as string]))
      let result: number
      if (isMailbox(component)) result = member.box.content(member.box.shown(id).map((item) => channels.item(renameItem(item, renaming))))
      else {
        const local = member.locals.get(id)
        const context = rename(local.context, renaming)
        const pending = rename(local.pending, renaming) as Local['pending']
        if (canonical(context) === canonical(local.context) && canonical(pending) === canonical(local.pending)) result = id
        else {
          // The same kind of snapshot, so that its stepper goes on from it.
          const snapshot = Object.assign(
            Object.create(Object.getPrototypeOf(local.snapshot) as object) as Local['snapshot'],
            local.snapshot,
            { context },
          )
          result = composition.keep(member, { ...local, snapshot, context, pending })
        }
      }
      renamed.set(key, result)
      return result
    },
    signature(component, id, replica) {
      const key = `${component}/${id}/${replica}`
      const known = signed.get(key)
      if (known !== undefined) return known
      const renaming = new Map(names.map((name, i) => [name, i === replica ? '#' : '_']))
      const value = valueOf(component, id)
      const said =
        Array.isArray(value) && channels.keeps ? value.map((item) => nameless(item, renaming)).toSorted() : [nameless(value, renaming)]
      const text = said.join('|')
      const number = signatures.add(text, () => text)
      signed.set(key, number)
      return number
    },
  }
}

const plain = ({ value, context, pending, open, sent }: Local): unknown => ({ value, context, pending, open, sent })

function rename(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return names.get(value) ?? value
  if (Array.isArray(value)) return value.map((item) => rename(item, names))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => [names.get(key) ?? key, rename(item, names)] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  )
}

/** A value with the names of others left out: text that is the same whichever others it names. Capabilities have numbers and do not count. */
function nameless(value: unknown, names: ReadonlyMap<string, string>): string {
  if (typeof value === 'string') return JSON.stringify(names.get(value) ?? value)
  if (Array.isArray(value)) return `[${value.map((item) => nameless(item, names)).join()}]`
  if (typeof value !== 'object' || value === null) return String(value)
  const entries = Object.entries(value).filter(([key]) => key !== 'cap')
  return `{${entries
    .map(([key, item]) => `${names.get(key) ?? key}:${nameless(item, names)}`)
    .toSorted()
    .join()}}`
}

/** The canonical form of states of `product`, for `search`. */
export function canonicalForm(product: Product): (ids: Int32Array) => void {
  const { symmetry, components } = product
  if (!symmetry) return () => {}
  const { replicas, rename: renameValue, signature } = symmetry
  const owned = new Set(replicas.flat())
  const sharedComponents = components.map((_, index) => index).filter((index) => !owned.has(index))
  const best = new Int32Array(components.length)
  const tried = new Int32Array(components.length)
  return (ids) => {
    const marks = replicas.map((own, replica) => [
      ...own.map((component) => signature(component, ids[component] as number, replica)),
      ...sharedComponents.map((component) => signature(component, ids[component] as number, replica)),
    ])
    const order = replicas.map((_, i) => i).toSorted((a, b) => compare(marks[a] as number[], marks[b] as number[]))
    let first = true
    for (const arrangement of arrangements(order, (a, b) => compare(marks[a] as number[], marks[b] as number[]) === 0)) {
      const to = order.map(() => 0)
      for (const [place, replica] of arrangement.entries()) to[replica] = place
      for (const component of sharedComponents) tried[component] = renameValue(component, ids[component] as number, to)
      for (const [replica, own] of replicas.entries())
        for (const [position, component] of own.entries())
          tried[(replicas[to[replica] as number] as number[])[position] as number] = renameValue(component, ids[component] as number, to)
      if (first || less(tried, best)) best.set(tried)
      first = false
    }
    ids.set(best)
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, value] of a.entries()) if (value !== b[i]) return value - (b[i] as number)
  return 0
}

function less(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return (a[i] as number) < (b[i] as number)
  return false
}

/** Every order of those that cannot be told apart, the others staying where they are. */
function* arrangements(order: readonly number[], same: (a: number, b: number) => boolean): Generator<readonly number[]> {
  const [first] = order
  if (first === undefined) {
    yield []
    return
  }
  let end = 1
  while (end < order.length && same(first, order[end] as number)) end++
  for (const head of permutations(order.slice(0, end))) for (const tail of arrangements(order.slice(end), same)) yield [...head, ...tail]
}

function* permutations(items: readonly number[]): Generator<readonly number[]> {
  if (items.length <= 1) yield items
  else for (const [index, item] of items.entries()) for (const rest of permutations(items.toSpliced(index, 1))) yield [item, ...rest]
}
