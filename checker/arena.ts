/**
 * The set of states seen: each packed into a few 32-bit words, in one typed array, with an open-addressing table over it. Exact: two
 * states are one only if every bit is equal.
 *
 * Components need as many bits as they have had values; one that outgrows its bits makes the arena pack everything anew. That happens
 * early and seldom, because the number of local values grows far slower than the number of states.
 */

const firstCapacity = 1 << 10
/** Words of a state that the table holds itself. */
const inlined = 2
/** More values than a component will ever have. */
const mostBits = 24
/** Slots per state are between 1.4 and 2.9: shorter probes are not worth more memory. */
const fullest = 0.7

export class Arena {
  count = 0
  /** Grows when states are packed anew. */
  layout = 0
  /** Words per state. */
  width = 1
  word: Int32Array
  shift: Int32Array
  mask: Int32Array
  words = new Int32Array(firstCapacity)
  /** Index of the state each was first reached from; -1 for initial ones. */
  parents = new Int32Array(firstCapacity)
  #bits: Int32Array
  /** Up to two words: the words and 1 + index. More: the hash and 1 + index. 0: empty. */
  #slots = new Int32Array(0)
  #last = 0
  #capacity = firstCapacity

  constructor(components: number) {
    this.#bits = new Int32Array(components).fill(1)
    this.word = new Int32Array(components)
    this.shift = new Int32Array(components)
    this.mask = new Int32Array(components)
    this.#layOut()
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

  #layOut(): void {
    let word = 0
    let used = 0
    for (let i = 0; i < this.#bits.length; i++) {
      const bits = this.#bits[i] as number
      if (used + bits > 32) {
        word++
        used = 0
      }
      this.word[i] = word
      this.shift[i] = used
      this.mask[i] = bits === 32 ? -1 : (1 << bits) - 1
      used += bits
    }
    this.width = word + 1
  }

  /** Makes room for values below `sizes[i]` of each component. */
  fit(sizes: readonly number[]): void {
    let grown = false
    for (const [i, size] of sizes.entries()) if (size > (this.mask[i] as number) + 1) grown = true
    if (!grown) return
    const { word, shift, mask, width, words, count } = this
    const before = { word: word.slice(), shift: shift.slice(), mask: mask.slice() }
    // What was left over earlier may be needed elsewhere now.
    this.#bits = Int32Array.from(sizes, (size) => Math.max(1, Math.ceil(Math.log2(size))))
    this.#spend(sizes)
    this.#layOut()
    this.layout++
    const packed = new Int32Array(this.#capacity * this.width)
    const components = this.#bits.length
    for (let state = 0; state < count; state++)
      for (let i = 0; i < components; i++) {
        const value =
          ((words[state * width + (before.word[i] as number)] as number) >>> (before.shift[i] as number)) & (before.mask[i] as number)
        const at = state * this.width + (this.word[i] as number)
        packed[at] = (packed[at] as number) | (value << (this.shift[i] as number))
      }
    this.words = packed
    this.#rehash()
  }

  /** Bits that would be left over go to the components that are closest to outgrowing theirs, so that packing anew stays rare. */
  #spend(sizes: readonly number[]): void {
    const needed = this.#wordsFor(this.#bits)
    const done = new Set<number>()
    for (;;) {
      let closest = -1
      for (const [i, size] of sizes.entries())
        if (size > 1 && !done.has(i) && (closest < 0 || this.#filled(i, size) > this.#filled(closest, sizes[closest] as number)))
          closest = i
      if (closest < 0) return
      const wider = this.#bits.slice()
      wider[closest] = (wider[closest] as number) + 1
      if (this.#wordsFor(wider) === needed && (wider[closest] as number) <= mostBits) this.#bits = wider
      else done.add(closest)
    }
  }

  #filled(component: number, size: number): number {
    return size / 2 ** (this.#bits[component] as number)
  }

  #wordsFor(bits: Int32Array): number {
    let words = 1
    let used = 0
    for (const count of bits) {
      if (used + count > 32) {
        words++
        used = 0
      }
      used += count
    }
    return words
  }

  pack(ids: ArrayLike<number>, into: Int32Array): void {
    into.fill(0)
    for (let i = 0; i < this.word.length; i++) {
      const at = this.word[i] as number
      into[at] = (into[at] as number) | ((ids[i] as number) << (this.shift[i] as number))
    }
  }

  unpack(state: number, into: Int32Array | number[]): void {
    const base = state * this.width
    const { words, word, shift, mask } = this
    for (let i = 0; i < word.length; i++)
      into[i] = ((words[base + (word[i] as number)] as number) >>> (shift[i] as number)) & (mask[i] as number)
  }

  /** The state's index when it is new, otherwise -1 - index. */
  add(packed: Int32Array, parent: number): number {
    const { width } = this
    if (width <= inlined) return this.addPair(packed[0] as number, width === 2 ? (packed[1] as number) : 0, parent)
    const slots = this.#slots
    const last = slots.length / 2 - 1
    const wanted = hashAt(packed, 0, width)
    let at = wanted & last
    for (let found = slots[2 * at + 1] as number; found !== 0; found = slots[2 * (at = (at + 1) & last) + 1] as number)
      if (slots[2 * at] === wanted && this.#equals(found - 1, packed)) return -found
    slots[2 * at] = wanted
    slots[2 * at + 1] = this.count + 1
    const base = this.count * width
    for (let i = 0; i < width; i++) this.words[base + i] = packed[i] as number
    return this.#kept(parent, last)
  }

  /** `add` for states of one or two words. The table holds the words themselves: one place in memory is looked at, not two. */
  addPair(first: number, second: number, parent: number): number {
    return this.addHashed(first, second, hashPair(first, second), parent)
  }

  /** Where in the table a pair would be looked for: touching several before any is added lets memory work on them at once. */
  touch(hash: number): number {
    return this.#slots[3 * (hash & this.#last) + 2] as number
  }

  addHashed(first: number, second: number, hash: number, parent: number): number {
    const slots = this.#slots
    const last = this.#last
    let at = hash & last
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
    const last = slots.length / stride - 1
    let at = (width <= inlined ? hashPair(packed[0] as number, width === 2 ? (packed[1] as number) : 0) : hashAt(packed, 0, width)) & last
    for (
      let found = slots[stride * at + stride - 1] as number;
      found !== 0;
      found = slots[stride * (at = (at + 1) & last) + stride - 1] as number
    )
      if (this.#equals(found - 1, packed)) return found - 1
    return -1
  }

  #equals(state: number, packed: Int32Array): boolean {
    const { width, words } = this
    const base = state * width
    let i = 0
    while (i < width && words[base + i] === packed[i]) i++
    return i === width
  }

  #kept(parent: number, last: number): number {
    const index = this.count++
    this.parents[index] = parent
    if (this.count === this.#capacity) this.#grow()
    if (this.count > last * fullest) this.#rehash()
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

  #rehash(): void {
    const { words, width, count } = this
    let size = firstCapacity * 2
    while (count > (size - 1) * fullest) size *= 2
    const last = size - 1
    if (width <= inlined) {
      const slots = new Int32Array(3 * size)
      for (let state = 0; state < count; state++) {
        const first = words[state * width] as number
        const second = width === 2 ? (words[2 * state + 1] as number) : 0
        let at = hashPair(first, second) & last
        while (slots[3 * at + 2] !== 0) at = (at + 1) & last
        slots[3 * at] = first
        slots[3 * at + 1] = second
        slots[3 * at + 2] = state + 1
      }
      this.#slots = slots
    } else {
      const slots = new Int32Array(2 * size)
      for (let state = 0; state < count; state++) {
        const h = hashAt(words, state * width, width)
        let at = h & last
        while (slots[2 * at + 1] !== 0) at = (at + 1) & last
        slots[2 * at] = h
        slots[2 * at + 1] = state + 1
      }
      this.#slots = slots
    }
    this.#last = last
  }
}

export function hashPair(first: number, second: number): number {
  let h = Math.imul(first ^ (first >>> 15), 0x85ebca6b) ^ Math.imul(second ^ (second >>> 13), 0xc2b2ae35)
  h ^= h >>> 16
  h = Math.imul(h, 0x9e3779b1)
  return h ^ (h >>> 15)
}

/** Multiply and mix, word by word (the finaliser of MurmurHash3). */
function hashAt(words: Int32Array, base: number, width: number): number {
  let h = 0x9747b28c
  for (let i = 0; i < width; i++) {
    let k = Math.imul(words[base + i] as number, 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}
