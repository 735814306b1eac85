/**
 * The set of states seen: each packed into a few 32-bit words, in one typed array, with an open-addressing table over it. Exact: two
 * states are one only if every bit is equal.
 *
 * Components need as many bits as they have had values; one that outgrows its bits makes the arena pack everything anew. That happens
 * early and seldom, because the number of local values grows far slower than the number of states.
 */

const firstCapacity = 1 << 10
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
  #table = new Int32Array(2 * firstCapacity).fill(-1)
  #capacity = firstCapacity

  constructor(components: number) {
    this.#bits = new Int32Array(components).fill(1)
    this.word = new Int32Array(components)
    this.shift = new Int32Array(components)
    this.mask = new Int32Array(components)
    this.#layOut()
    this.words = new Int32Array(firstCapacity * this.width)
  }

  get bytes(): number {
    return this.words.byteLength + this.parents.byteLength + this.#table.byteLength
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
    for (const [i, size] of sizes.entries())
      if (size > 2 ** (this.#bits[i] as number)) grown = true
    if (!grown) return
    const { word, shift, mask, width, words, count } = this
    const before = { word: word.slice(), shift: shift.slice(), mask: mask.slice() }
    for (const [i, size] of sizes.entries()) while (size > 2 ** (this.#bits[i] as number)) (this.#bits[i] as number)++
    this.#layOut()
    this.layout++
    const packed = new Int32Array(this.#capacity * this.width)
    const components = this.#bits.length
    for (let state = 0; state < count; state++)
      for (let i = 0; i < components; i++) {
        const value = ((words[state * width + (before.word[i] as number)] as number) >>> (before.shift[i] as number)) & (before.mask[i] as number)
        const at = state * this.width + (this.word[i] as number)
        packed[at] = (packed[at] as number) | (value << (this.shift[i] as number))
      }
    this.words = packed
    this.#rehash()
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
    for (let i = 0; i < word.length; i++) into[i] = ((words[base + (word[i] as number)] as number) >>> (shift[i] as number)) & (mask[i] as number)
  }

  /** The state's index when it is new, otherwise -1 - index. */
  add(packed: Int32Array, parent: number): number {
    const { width, words } = this
    const table = this.#table
    const last = table.length - 1
    let at = hash(packed, width) & last
    for (let found = table[at] as number; found >= 0; found = table[(at = (at + 1) & last)] as number) {
      const base = found * width
      let i = 0
      while (i < width && words[base + i] === packed[i]) i++
      if (i === width) return -1 - found
    }
    const index = this.count++
    table[at] = index
    const base = index * width
    for (let i = 0; i < width; i++) words[base + i] = packed[i] as number
    this.parents[index] = parent
    if (this.count === this.#capacity) this.#grow()
    else if (this.count > last * fullest) this.#rehash()
    return index
  }

  find(packed: Int32Array): number {
    const { width, words } = this
    const table = this.#table
    const last = table.length - 1
    let at = hash(packed, width) & last
    for (let found = table[at] as number; found >= 0; found = table[(at = (at + 1) & last)] as number) {
      const base = found * width
      let i = 0
      while (i < width && words[base + i] === packed[i]) i++
      if (i === width) return found
    }
    return -1
  }

  #grow(): void {
    this.#capacity = Math.ceil(this.#capacity * 1.5)
    const words = new Int32Array(this.#capacity * this.width)
    words.set(this.words)
    this.words = words
    const parents = new Int32Array(this.#capacity)
    parents.set(this.parents)
    this.parents = parents
    if (this.count > this.#table.length * fullest) this.#rehash()
  }

  #rehash(): void {
    let slots = this.#table.length
    while (this.count > slots * fullest) slots *= 2
    const table = new Int32Array(slots).fill(-1)
    const last = slots - 1
    const { words, width, count } = this
    for (let state = 0; state < count; state++) {
      let at = hashAt(words, state * width, width) & last
      while ((table[at] as number) >= 0) at = (at + 1) & last
      table[at] = state
    }
    this.#table = table
  }
}

function hash(words: Int32Array, width: number): number {
  return hashAt(words, 0, width)
}

/** Multiply and mix, word by word (the finaliser of MurmurHash3). */
export function hashAt(words: Int32Array, base: number, width: number): number {
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
