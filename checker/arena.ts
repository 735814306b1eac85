/**
 * The set of states seen: each packed into a few 32-bit words, in one typed array, with an open-addressing table over it. Exact: two
 * states are one only if every bit is equal.
 *
 * Components need as many bits as they have had values; one that outgrows its bits makes the arena pack everything anew. That happens
 * early and seldom, because the number of local values grows far slower than the number of states.
 */

import { bitsFor } from './layout.ts'
import { hashAt, hashPair, inlined, StateSet, strideOf, touchSlots } from './state-set.ts'

const firstCapacity = 1 << 10
/** A table this large (12 bytes a slot) is outside the nearest cache whatever one does: smaller ones grow in larger strides. */
const smallTable = 1 << 16
/** Slots per state are between 1.4 and 2.9: shorter probes are not worth more memory. */
const fullest = 0.7

export class Arena extends StateSet {
  count = 0
  words: Int32Array
  parents = new Int32Array(firstCapacity)
  /** Sizes when states were last packed anew. */
  #before: readonly number[]
  /** Up to two words: the words and 1 + index. More: the hash and 1 + index. 0: empty. */
  #slots = new Int32Array(0)
  #last = 0
  /** What is left of a hash after this shift is where its search begins: a table twice as large has the same order. */
  #shift = 0
  #capacity = firstCapacity

  constructor(components: number) {
    super(new Int32Array(components))
    this.#before = Array.from({ length: components }, () => 1)
    this.words = new Int32Array(firstCapacity * this.width)
    this.#rehash()
  }

  get bytes(): number {
    return this.words.byteLength + this.parents.byteLength + this.#slots.byteLength
  }

  /** Bytes a state takes once everything is there: its words, its parent, its share of the table. */
  get bytesPerState(): number {
    return this.count === 0 ? 0 : this.bytes / this.count
  }

  fit(sizes: readonly number[]): void {
    if (sizes.every((size, i) => size <= (this.mask[i] as number) + 1)) return
    const { words, count } = this
    const packed = this.layOut(bitsFor(sizes, this.#before), this.layout + 1)
    this.words = new Int32Array(this.#capacity * this.width)
    packed(words, count, this.words)
    this.#rehash()
    this.#before = Array.from(sizes)
  }

  addAt(packed: Int32Array, from: number, hash: number, parent: number): number {
    const { width } = this
    if (width > inlined) return this.#addWide(packed, from, hash, parent)
    return this.#addPair(packed[from] as number, width === 2 ? (packed[from + 1] as number) : 0, hash, parent)
  }

  /** `add` for states of more than two words, which are at `from` in `packed`. */
  #addWide(packed: Int32Array, from: number, hash: number, parent: number): number {
    const { width } = this
    const slots = this.#slots
    const last = this.#last
    let at = hash >>> this.#shift
    for (let found = slots[2 * at + 1] as number; found !== 0; found = slots[2 * (at = (at + 1) & last) + 1] as number)
      if (slots[2 * at] === hash && this.equals(found - 1, packed, from)) return -found
    slots[2 * at] = hash
    slots[2 * at + 1] = this.count + 1
    const base = this.count * width
    for (let i = 0; i < width; i++) this.words[base + i] = packed[from + i] as number
    return this.#kept(parent, last)
  }

  touch(hashes: Int32Array, count: number): number {
    return touchSlots(this.#slots, strideOf(this.width), this.#shift, hashes, count)
  }

  /** `add` for states of one or two words. The table holds the words themselves: one place in memory is looked at, not two. */
  #addPair(first: number, second: number, hash: number, parent: number): number {
    const slots = this.#slots
    const last = this.#last
    let at = hash >>> this.#shift
    let place = 3 * at
    for (let found = slots[place + 2] as number; found !== 0; found = slots[place + 2] as number) {
      if (slots[place] === first && slots[place + 1] === second) return -found
      at = (at + 1) & last
      place = 3 * at
    }
    slots[place] = first
    slots[place + 1] = second
    slots[place + 2] = this.count + 1
    if (this.width === 1) this.words[this.count] = first
    else {
      this.words[2 * this.count] = first
      this.words[2 * this.count + 1] = second
    }
    return this.#kept(parent, last)
  }

  find(packed: Int32Array): number {
    const { width } = this
    const slots = this.#slots
    const stride = width <= inlined ? 3 : 2
    const last = this.#last
    let at = this.hashOf(packed, 0) >>> this.#shift
    for (
      let found = slots[stride * at + stride - 1] as number;
      found !== 0;
      found = slots[stride * (at = (at + 1) & last) + stride - 1] as number
    )
      if (this.equals(found - 1, packed, 0)) return found - 1
    return -1
  }

  #kept(parent: number, last: number): number {
    const index = this.count++
    this.parents[index] = parent
    if (this.count === this.#capacity) this.#grow()
    if (this.count > last * fullest) this.#widen()
    return index
  }

  #grow(): void {
    this.#capacity = Math.ceil(this.#capacity * 1.5)
    const words = new Int32Array(this.#capacity * this.width)
    words.set(this.words)
    this.words = words
    const parents = new Int32Array(this.#capacity)
    parents.set(this.parents)
    this.parents = parents
  }

  /** The table anew, from the states: packed otherwise, they have other hashes. */
  #rehash(): void {
    const { words, width, count } = this
    let size = firstCapacity * 2
    while (count > (size - 1) * fullest) size *= 2
    this.#begin(size)
    const slots = this.#slots
    const last = this.#last
    const shift = this.#shift
    if (width <= inlined)
      for (let state = 0; state < count; state++) {
        const first = words[state * width] as number
        const second = width === 2 ? (words[2 * state + 1] as number) : 0
        let at = hashPair(first, second) >>> shift
        while (slots[3 * at + 2] !== 0) at = (at + 1) & last
        slots[3 * at] = first
        slots[3 * at + 1] = second
        slots[3 * at + 2] = state + 1
      }
    else
      for (let state = 0; state < count; state++) {
        const hash = hashAt(words, state * width, width)
        let at = hash >>> shift
        while (slots[2 * at + 1] !== 0) at = (at + 1) & last
        slots[2 * at] = hash
        slots[2 * at + 1] = state + 1
      }
  }

  /** A larger table with what the present one holds, which is in the order of hashes already: memory is written from front to back. */
  #widen(): void {
    const before = this.#slots
    const stride = this.width <= inlined ? 3 : 2
    this.#begin((this.#last + 1) * (this.#last < smallTable ? 4 : 2))
    const slots = this.#slots
    const last = this.#last
    const shift = this.#shift
    for (let from = 0; from < before.length; from += stride) {
      const found = before[from + stride - 1] as number
      if (found === 0) continue
      const first = before[from] as number
      const second = before[from + 1] as number
      let at = (stride === 3 ? hashPair(first, second) : first) >>> shift
      while (slots[stride * at + stride - 1] !== 0) at = (at + 1) & last
      slots[stride * at] = first
      if (stride === 3) slots[stride * at + 1] = second
      slots[stride * at + stride - 1] = found
    }
  }

  #begin(size: number): void {
    this.#slots = new Int32Array((this.width <= inlined ? 3 : 2) * size)
    this.#last = size - 1
    this.#shift = 32 - Math.log2(size)
  }
}
