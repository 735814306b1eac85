/**
 * By which several searches share states out: a number made of some of a state's components, the same however states are packed. Steps that
 * leave those components alone lead to states of the same search.
 */
import type { Arena } from './arena.ts'
import type { Product } from './product.ts'

export class Key {
  readonly #components: Int32Array
  readonly #counts: Uint8Array

  constructor(components: readonly number[], of: number) {
    this.#components = Int32Array.from(components)
    this.#counts = new Uint8Array(of)
    for (const component of components) this.#counts[component] = 1
  }

  of(ids: ArrayLike<number>): number {
    let key = 0
    for (let i = 0; i < this.#components.length; i++) {
      const component = this.#components[i] as number
      key ^= mixed(component, ids[component] as number)
    }
    return key
  }

  /** Of a state of the arena. */
  at(arena: Arena, state: number): number {
    const { words, width, word, shift, mask } = arena
    let key = 0
    for (let i = 0; i < this.#components.length; i++) {
      const component = this.#components[i] as number
      const value =
        ((words[state * width + (word[component] as number)] as number) >>> (shift[component] as number)) & (mask[component] as number)
      key ^= mixed(component, value)
    }
    return key
  }

  /** What changes in the key (by exclusive or) when a component has another value. */
  change(component: number, before: number, after: number): number {
    return this.#counts[component] === 0 ? 0 : mixed(component, before) ^ mixed(component, after)
  }
}

function mixed(component: number, id: number): number {
  let h = Math.imul(id ^ Math.imul(component + 1, 0x9e3779b1), 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/** No part of the states that are told apart by the key may be more than this, of one search's fair share. */
const largestPart = 1 / 8
/** A component that tells states apart has so many times as many parts. */
const worthwhile = 1.3

/** Components for a key, by what the first states of a search were: those that seldom change first, until they tell the states apart enough. */
export function chooseKey(product: Product, arena: Arena, searches: number): Key {
  const of = product.components.length
  const changes = new Int32Array(of)
  const ids = new Int32Array(of)
  const parent = new Int32Array(of)
  const vectors: Int32Array[] = []
  for (let state = 0; state < arena.count; state++) {
    arena.unpack(state, ids)
    vectors.push(ids.slice())
    if ((arena.parents[state] as number) < 0) continue
    arena.unpack(arena.parents[state] as number, parent)
    for (let i = 0; i < of; i++) if (ids[i] !== parent[i]) changes[i] = (changes[i] as number) + 1
  }
  const chosen: number[] = []
  let parts = new Map<string, number>([['', vectors.length]])
  for (const component of [...changes.keys()].toSorted((a, b) => (changes[a] as number) - (changes[b] as number))) {
    if (Math.max(...parts.values()) <= (largestPart * vectors.length) / searches) break
    const finer = new Map<string, number>()
    for (const vector of vectors) {
      const part = [...chosen, component].map((i) => vector[i]).join()
      finer.set(part, (finer.get(part) ?? 0) + 1)
    }
    if (finer.size < worthwhile * parts.size) continue
    chosen.push(component)
    parts = finer
  }
  return new Key(chosen.length > 0 ? chosen : [...changes.keys()], of)
}
