/**
 * Asks properties of whole states, as seldom as it can. A property is a function of the components it looks at: which those are is seen when
 * it is asked, its answers are kept by their values, and after a step that changes none of them it is not asked again.
 */
import { type Component, createStates, type Product, type StateProperty } from './product.ts'
import type { StateSet } from './state-set.ts'

/** Bits of a key of kept answers: a byte each, 4 MiB for one property. A property that looks at more is asked every time. */
const mostBits = 22
const holding = 1
const broken = 2

/** Where the components that a property looks at are in a packed state: in turn word, shift, mask, and shift in the key. */
type Fields = { at: Int32Array }
type Keys = { components: readonly number[]; bits: readonly number[] }

class Asked {
  readonly property: StateProperty
  /** Components it has ever looked at: 1. */
  readonly reads: Uint8Array
  keys: Keys = { components: [], bits: [] }
  fields: Fields = { at: new Int32Array(0) }
  answers = new Uint8Array(0)
  readonly #product: Product
  readonly #states: ReturnType<typeof createStates>
  #readsFitted = 0

  constructor(product: Product, property: StateProperty, reads: Uint8Array) {
    this.property = property
    this.#product = product
    this.reads = reads
    this.#states = createStates(product, this.reads)
  }

  /** @param key where the answer is to be kept; -1: nowhere */
  ask(ids: Int32Array, key: number): boolean {
    const answer = this.property.holds(this.#states.look(ids))
    if (key >= 0) this.answers[key] = answer ? holding : broken
    return answer
  }

  /** When it looks at more than before, or there are values that keys have no room for, keys mean something else: what was kept is asked again. */
  outgrown(): boolean {
    let count = 0
    for (let i = 0; i < this.reads.length; i++) count += this.reads[i] as number
    const { components, bits } = this.keys
    let same = count === this.#readsFitted
    for (let i = 0; same && i < components.length; i++) same = this.#size(components[i] as number) <= 2 ** (bits[i] as number)
    if (same) return false
    this.#readsFitted = count
    const read = [...this.reads.keys()].filter((component) => this.reads[component] === 1)
    const needed = read.map((component) => Math.ceil(Math.log2(Math.max(2, this.#size(component)))))
    const total = needed.reduce((sum, width) => sum + width, 0)
    this.keys = total <= mostBits ? { components: read, bits: needed } : { components: [], bits: [] }
    this.answers = new Uint8Array(total <= mostBits ? 2 ** total : 0)
    return true
  }

  #size(component: number): number {
    return (this.#product.components[component] as Component).size()
  }
}

/** Properties that look at more than one component. */
export const ofWholes = ({ properties }: Product): StateProperty[] => properties.filter(({ local }) => local === undefined)

const nothing: readonly string[] = []

export class Judge {
  /** Grows when `concerns` may answer otherwise than before. */
  version = 0
  readonly #reached: Set<string>
  readonly #arena: StateSet
  readonly #ids: Int32Array
  #open: Asked[]
  #fitted = false

  /**
   * @param reached gets the names of `sometimes` properties that some state satisfies
   * @param looks by property of whole states, for each component 1 if it was ever looked at: of several judges, whose states follow upon one
   *   another's, in memory that they share
   */
  constructor(product: Product, reached: Set<string>, arena: StateSet, looks?: readonly Uint8Array[]) {
    this.#reached = reached
    this.#arena = arena
    this.#ids = new Int32Array(product.components.length)
    this.#open = ofWholes(product).map(
      (property, index) => new Asked(product, property, looks?.[index] ?? new Uint8Array(product.components.length)),
    )
  }

  /** Whether a step that touched these components may have changed any answer. */
  concerns(touched: Int32Array): boolean {
    const open = this.#open
    for (let i = 0; i < open.length; i++) {
      const { reads } = open[i] as Asked
      for (let j = 0; j < touched.length; j++) if (reads[touched[j] as number] === 1) return true
    }
    return false
  }

  /** Other judges may have seen properties look at more. */
  heed(): void {
    for (const one of this.#open)
      if (one.outgrown()) {
        this.version++
        this.#fitted = false
      }
  }

  /** Components have new values, or states are packed otherwise. */
  fit(): void {
    this.#fitted = true
    const shared = new Map<string, Fields>()
    for (const one of this.#open) {
      one.outgrown()
      const { components, bits } = one.keys
      const name = `${components.join()}/${bits.join()}`
      one.fields = shared.get(name) ?? fieldsOf(this.#arena, one.keys)
      shared.set(name, one.fields)
    }
  }

  /** Names of `always` properties that a state of the arena breaks. */
  broken(state: number): readonly string[] {
    const open = this.#open
    if (open.length === 0) return nothing
    if (!this.#fitted) this.fit()
    const { words, width } = this.#arena
    const base = state * width
    let broke: string[] | null = null
    let reached = false
    let unpacked = false
    let last: Fields | null = null
    let key = 0
    for (let i = 0; i < open.length; i++) {
      const one = open[i] as Asked
      const { fields, answers } = one
      if (fields !== last) {
        last = fields
        key = 0
        const { at } = fields
        for (let j = 0; j < at.length; j += 4)
          key |= (((words[base + (at[j] as number)] as number) >>> (at[j + 1] as number)) & (at[j + 2] as number)) << (at[j + 3] as number)
      }
      const known = answers[key]
      let holds = known === holding
      if (known !== holding && known !== broken) {
        if (!unpacked) this.#arena.unpack(state, this.#ids)
        unpacked = true
        holds = one.ask(this.#ids, known === undefined ? -1 : key)
        if (one.outgrown()) {
          this.version++
          this.#fitted = false
        }
      }
      const { kind, name } = one.property
      if (holds === (kind === 'always')) continue
      if (kind === 'always') (broke ??= []).push(name)
      else {
        this.#reached.add(name)
        reached = true
      }
    }
    // What was reached once need not be asked again.
    if (reached) {
      this.#open = open.filter(({ property: { kind, name } }) => kind === 'always' || !this.#reached.has(name))
      this.version++
    }
    return broke ?? nothing
  }
}

/** A value has as many bits in the key as it has in `bits`, or the state fewer: then the others are 0. */
function fieldsOf(arena: StateSet, { components, bits }: Keys): Fields {
  const at: number[] = []
  let left = 0
  for (const [i, component] of components.entries()) {
    const width = bits[i] as number
    at.push(arena.word[component] as number, arena.shift[component] as number, (arena.mask[component] as number) & (2 ** width - 1), left)
    left += width
  }
  return { at: Int32Array.from(at) }
}
