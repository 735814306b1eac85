/** States seen, each packed into a few 32-bit words: what is common to a set of one search (arena.ts) and one that workers share. */
import { type Layout, layoutOf, maskOf, unpackAt } from './layout.ts'

/** Words of a state that the table holds itself. */
export const inlined = 2

export abstract class StateSet implements Layout {
  /** Grows when states are packed anew. */
  layout = 0
  /** Words per state. */
  width = 1
  word: Int32Array
  shift: Int32Array
  mask: Int32Array
  abstract words: Int32Array
  /** Index of the state each was first reached from; -1 for initial ones. */
  abstract parents: Int32Array
  #bits: Int32Array

  constructor(bits: Int32Array) {
    this.#bits = bits
    const { word, shift, mask, width } = layoutOf(bits)
    this.word = word
    this.shift = shift
    this.mask = mask
    this.width = width
  }

  /** Bits of each component in the present layout. */
  get bits(): Int32Array {
    return this.#bits
  }

  abstract get bytes(): number

  /** Makes room for values below `sizes[i]` of each component. */
  abstract fit(sizes: readonly number[]): void

  /** Adds the state at `from` in `packed`, whose hash is given: its index when it is new, otherwise -1 - index. */
  abstract addAt(packed: Int32Array, from: number, hash: number, parent: number): number

  /** Looks where so many hashes will be looked for, with nothing else between: memory works on them at once. */
  abstract touch(hashes: Int32Array, count: number): number

  add(packed: Int32Array, parent: number): number {
    return this.addAt(packed, 0, this.hashOf(packed, 0), parent)
  }

  hashOf(packed: Int32Array, from: number): number {
    const { width } = this
    return width > inlined ? hashAt(packed, from, width) : hashPair(packed[from] as number, width === 2 ? (packed[from + 1] as number) : 0)
  }

  pack(ids: ArrayLike<number>, into: Int32Array): void {
    into.fill(0)
    for (let i = 0; i < this.word.length; i++) {
      const at = this.word[i] as number
      into[at] = (into[at] as number) | ((ids[i] as number) << (this.shift[i] as number))
    }
  }

  unpack(state: number, into: Int32Array | number[]): void {
    unpackAt(this.words, state, this, into)
  }

  /** Whether a state of this set is the one at `from` in `packed`. */
  protected equals(state: number, packed: Int32Array, from: number): boolean {
    const { width, words } = this
    const base = state * width
    let i = 0
    while (i < width && words[base + i] === packed[from + i]) i++
    return i === width
  }

  /** Lays states out with so many bits for each component; what it gives packs states of the layout before into zeros. */
  protected layOut(bits: Int32Array, layout: number): (words: Int32Array, count: number, into: Int32Array) => void {
    const before = { word: this.word, shift: this.shift, bits: this.#bits }
    const { width: widthBefore } = this
    const next = layoutOf(bits)
    const { width } = next
    this.#bits = bits
    this.word = next.word
    this.shift = next.shift
    this.mask = next.mask
    this.width = width
    this.layout = layout
    const runs = runsBetween(before, { word: next.word, shift: next.shift, bits })
    return (words, count, packed) => {
      for (let i = 0; i < runs.length; i += 5) {
        let from = runs[i] as number
        let to = runs[i + 2] as number
        const right = runs[i + 1] as number
        const left = runs[i + 3] as number
        const mask = runs[i + 4] as number
        for (let state = 0; state < count; state++) {
          packed[to] = (packed[to] as number) | ((((words[from] as number) >>> right) & mask) << left)
          from += widthBefore
          to += width
        }
      }
    }
  }
}

type Packed = { word: Int32Array; shift: Int32Array; bits: Int32Array }

/** Neighbours that move together: word and shift they come from, word and shift they go to, and their mask. */
function runsBetween(before: Packed, after: Packed): number[] {
  const runs: number[] = []
  let reaches = 0
  for (let i = 0; i < before.bits.length; i++) {
    const bits = before.bits[i] as number
    if (bits === 0) continue
    const at = [before.word[i] as number, before.shift[i] as number, after.word[i] as number, after.shift[i] as number] as const
    const [fromWord, fromShift, toWord, toShift] = runs.slice(-5) as [number, number, number, number]
    const joins = runs.length > 0 && at[0] === fromWord && at[2] === toWord && at[1] === fromShift + reaches && at[3] === toShift + reaches
    if (joins) {
      reaches += bits
      runs[runs.length - 1] = maskOf(reaches)
    } else {
      reaches = bits
      runs.push(...at, maskOf(bits))
    }
  }
  return runs
}

/** Numbers a slot of the table takes: two words and an index, or of wider states a hash and an index. */
export const strideOf = (width: number): number => (width <= inlined ? 3 : 2)

/** `StateSet.touch` for a table whose searches begin where `shift` leaves a hash. */
export function touchSlots(slots: Int32Array, stride: number, shift: number, hashes: Int32Array, count: number): number {
  let seen = 0
  for (let k = 0; k < count; k++) seen |= slots[stride * ((hashes[k] as number) >>> shift)] as number
  return seen
}

export function hashPair(first: number, second: number): number {
  let h = Math.imul(first ^ (first >>> 15), 0x85ebca6b) ^ Math.imul(second ^ (second >>> 13), 0xc2b2ae35)
  h ^= h >>> 16
  h = Math.imul(h, 0x9e3779b1)
  return h ^ (h >>> 15)
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
