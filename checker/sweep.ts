/**
 * The inner loop: all successors of a few states, as packed words, from the tables' code (flat.ts). It allocates nothing and asks nobody.
 * All successors are worked out, and then looked for in one go, before the first is added, so that memory works on many of them at once; and
 * as soon as anything is not known yet of a state, nothing has been done for it, and the search takes it the careful way.
 */
import { entryHeader, Flat, header, notFlat, operationStride, unknown } from './flat.ts'
import { hashAt, hashPair, type StateSet } from './state-set.ts'
import { neverAsked, type Results, type Tables } from './tables.ts'

const firstRoom = 64
/**
 * States remembered: 128 KiB of pairs, which the near caches hold. Steps that do not depend on one another lead to one state along many ways that lie
 * close together in a search, so that three of four successors are found here and the table, which no cache holds, is not looked at.
 */
const recentBits = 14
/** States taken before what they lead to is added: memory that no cache holds is asked for some thirty places at once instead of four. */
const atOnce = 8
/** No more are taken then: what they lead to is to stay in the nearest cache. */
const enough = 256

export class Sweep {
  /** States taken, how many steps of each change nothing or lead to a state noted, and before which successor those of the next begin. */
  taken = 0
  readonly states = new Int32Array(atOnce)
  readonly idle = new Int32Array(atOnce)
  readonly ends = new Int32Array(atOnce)
  /** Successors found for them: outcome, hash, and words from `room * k`. */
  count = 0
  outcomes = new Int32Array(firstRoom)
  hashes = new Int32Array(firstRoom)
  words = new Int32Array(2 * firstRoom)
  readonly flat: Flat
  readonly #results: Results
  readonly #arena: StateSet
  readonly #ids: Int32Array
  /** Words of states noted last, by hash. */
  #recent: Int32Array | null
  #recentOf = -1
  /** Kept so that looking at the table ahead of time is not optimised away. */
  touched = 0

  constructor(tables: Tables, arena: StateSet, keepIdle: boolean) {
    this.#results = tables.results
    this.#arena = arena
    this.#ids = new Int32Array(tables.product.components.length)
    this.flat = new Flat(tables.bundles, arena, keepIdle)
    // Who wants each step wants to know where it leads.
    this.#recent = keepIdle ? null : new Int32Array(0)
  }

  begin(): void {
    this.taken = 0
    this.count = 0
  }

  get isFull(): boolean {
    return this.taken === atOnce || this.count >= enough
  }

  /**
   * Whether the successors of a state could be told. What they are is noted, so that it need not be given again until states are packed
   * otherwise: it is to be added in any case.
   */
  take(state: number): boolean {
    const flat = this.flat
    flat.follow()
    if (!flat.usable) return false
    if (this.#recentOf !== this.#arena.layout) this.#forget()
    const idle = this.#arena.width <= 2 ? this.#pairs(state) : this.#wide(state)
    if (idle < 0) return false
    this.states[this.taken] = state
    this.idle[this.taken] = idle
    this.ends[this.taken++] = this.count
    return true
  }

  /** Looks ahead at where successors will be looked for. */
  reach(): void {
    this.touched |= this.#arena.touch(this.hashes, this.count)
  }

  /** Numbers in `words` for each successor. */
  get room(): number {
    return Math.max(2, this.#arena.width)
  }

  /** How many steps are idle; -1: not all are known. */
  #pairs(state: number): number {
    const flat = this.flat
    const { heads } = flat
    const results = this.#results
    const { width, words: states, word, shift, mask } = this.#arena
    const base = width * state
    const first = states[base] as number
    const second = width === 2 ? (states[base + 1] as number) : 0
    let { code } = flat
    let { outcomes, hashes, words } = this
    const recent = this.#recent
    let { count } = this
    let idle = 0
    for (let b = 0; b < heads.length; b++) {
      const { fields, starts } = heads[b] as Flat['heads'][number]
      let index = 0
      for (let i = 0; i < fields.length; i += 4)
        index |=
          (((fields[i] === 0 ? first : second) >>> (fields[i + 1] as number)) & (fields[i + 2] as number)) << (fields[i + 3] as number)
      let place = starts[index] as number
      if (place <= 0) {
        if (place === unknown) place = this.#find(b, index, state)
        if (place <= 0) return -1
        code = flat.code
      }
      idle += code[place + 1] as number
      const end = count + (code[place] as number)
      if (end > hashes.length) {
        this.#widen(end)
        outcomes = this.outcomes
        hashes = this.hashes
        words = this.words
      }
      let at = place + header
      for (let k = code[place] as number; k > 0; k--) {
        let one = first ^ (code[at + entryHeader] as number)
        let two = second
        if (width === 2) two ^= code[at + entryHeader + 1] as number
        let program = code[at + 1] as number
        let possible = true
        if (program !== 0) {
          const stop = program + 1 + operationStride * (code[program] as number)
          for (program++; program < stop; program += operationStride) {
            let component = code[program] as number
            let right = shift[component] as number
            let before = ((word[component] === 0 ? one : two) >>> right) & (mask[component] as number)
            let after = results.known(component, before, code[program + 1] as number)
            if (after === -1 && (code[program + 2] as number) >= 0) {
              component = code[program + 2] as number
              right = shift[component] as number
              before = ((word[component] === 0 ? one : two) >>> right) & (mask[component] as number)
              after = results.known(component, before, code[program + 3] as number)
            }
            if (after === neverAsked) return -1
            if (after === -1) {
              possible = false
              break
            }
            if (word[component] === 0) one ^= (before ^ after) << right
            else two ^= (before ^ after) << right
          }
        }
        if (possible) {
          const hash = hashPair(one, two)
          const spot = 2 * (hash >>> (32 - recentBits))
          if (recent !== null && recent[spot] === one && recent[spot + 1] === two) idle++
          else {
            if (recent !== null) {
              recent[spot] = one
              recent[spot + 1] = two
            }
            outcomes[count] = code[at] as number
            words[2 * count] = one
            words[2 * count + 1] = two
            hashes[count++] = hash
          }
        }
        at += entryHeader + width
      }
    }
    this.count = count
    return idle
  }

  /** The same for states of more words. */
  #wide(state: number): number {
    const flat = this.flat
    const { heads } = flat
    const results = this.#results
    const { width, words: states, word, shift, mask } = this.#arena
    const base = width * state
    const recent = this.#recent
    let { count } = this
    let idle = 0
    for (let b = 0; b < heads.length; b++) {
      const { fields, starts } = heads[b] as Flat['heads'][number]
      let index = 0
      for (let i = 0; i < fields.length; i += 4)
        index |=
          (((states[base + (fields[i] as number)] as number) >>> (fields[i + 1] as number)) & (fields[i + 2] as number)) <<
          (fields[i + 3] as number)
      let place = starts[index] as number
      if (place === unknown) place = this.#find(b, index, state)
      if (place === unknown || place === notFlat) return -1
      const { code } = flat
      idle += code[place + 1] as number
      this.#widen(count + (code[place] as number))
      const { words, outcomes, hashes } = this
      let at = place + header
      for (let k = code[place] as number; k > 0; k--) {
        const to = width * count
        for (let i = 0; i < width; i++) words[to + i] = (states[base + i] as number) ^ (code[at + entryHeader + i] as number)
        let program = code[at + 1] as number
        let possible = true
        if (program !== 0) {
          const stop = program + 1 + operationStride * (code[program] as number)
          for (program++; program < stop; program += operationStride) {
            let component = code[program] as number
            let field = to + (word[component] as number)
            let right = shift[component] as number
            let before = ((words[field] as number) >>> right) & (mask[component] as number)
            let after = results.known(component, before, code[program + 1] as number)
            if (after === -1 && (code[program + 2] as number) >= 0) {
              component = code[program + 2] as number
              field = to + (word[component] as number)
              right = shift[component] as number
              before = ((words[field] as number) >>> right) & (mask[component] as number)
              after = results.known(component, before, code[program + 3] as number)
            }
            if (after === neverAsked) return -1
            if (after === -1) {
              possible = false
              break
            }
            words[field] = (words[field] as number) ^ ((before ^ after) << right)
          }
        }
        if (possible) {
          const hash = hashAt(words, to, width)
          const spot = width * (hash >>> (32 - recentBits))
          if (recent !== null && isSame(recent, spot, words, to, width)) idle++
          else {
            if (recent !== null) for (let i = 0; i < width; i++) recent[spot + i] = words[to + i] as number
            outcomes[count] = code[at] as number
            hashes[count++] = hash
          }
        }
        at += entryHeader + width
      }
    }
    this.count = count
    return idle
  }

  #forget(): void {
    const { room } = this
    const { width, layout } = this.#arena
    this.#recentOf = layout
    if (this.#recent === null) return
    this.#recent = new Int32Array(room << recentBits)
    // Nothing noted is what is 0: at the one place where a state of zeros would be looked for there is one that is never looked for there.
    const probe = new Int32Array(room)
    const placeOf = (): number => (width <= 2 ? hashPair(probe[0] as number, 0) : hashAt(probe, 0, width)) >>> (32 - recentBits)
    const place = placeOf()
    do probe[0] = (probe[0] as number) + 1
    while (placeOf() === place)
    this.#recent[room * place] = probe[0]
  }

  /** Adds successor `k`: the index of a new state, or -1 - index of a known one. */
  add(k: number, parent: number): number {
    return this.#arena.addAt(this.words, this.room * k, this.hashes[k] as number, parent)
  }

  #find(bundle: number, index: number, state: number): number {
    this.#arena.unpack(state, this.#ids)
    return this.flat.find(bundle, index, this.#ids)
  }

  #widen(count: number): void {
    const room = Math.max(2, this.#arena.width) * count
    if (count <= this.hashes.length && room <= this.words.length) return
    const size = 2 * Math.max(count, this.hashes.length)
    const outcomes = new Int32Array(size)
    outcomes.set(this.outcomes)
    this.outcomes = outcomes
    const hashes = new Int32Array(size)
    hashes.set(this.hashes)
    this.hashes = hashes
    const words = new Int32Array(Math.max(2, this.#arena.width) * size)
    words.set(this.words)
    this.words = words
  }
}

function isSame(one: Int32Array, at: number, other: Int32Array, from: number, width: number): boolean {
  for (let i = 0; i < width; i++) if (one[at + i] !== other[from + i]) return false
  return true
}
