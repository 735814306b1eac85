/**
 * The set of states that all workers of a search add to at once, in memory that they share. As exact as a set of one search (arena.ts): two
 * states are one only if every bit is equal.
 *
 * A state is written down first; one atomic exchange then puts its index into an empty slot of the table, and nobody waits for anybody. What
 * a slot holds besides its index comes after that, by plain writes that others may see late or in part: it is made so that what is not there
 * yet is 0, and whoever sees a 0 asks for the index and looks at the state itself. Places of states are handed out by chunks, so that workers
 * do not write to one line of memory. Packing anew and growing is done by all together while they meet (control.ts), each its part.
 */
import { layoutOf } from '../layout.ts'
import { hashPair, inlined, StateSet, strideOf, touchSlots } from '../state-set.ts'
import { chunkStates, type Control, type StatesMemory } from './control.ts'
import type { Journal } from './journal.ts'

/** Bytes that memory for states may grow to: address space, which costs nothing until it is used. */
const mostBytes = 2 ** 32
const firstSlots = 1 << 16
/** A table this large is outside the nearest caches whatever one does: smaller ones grow in larger strides. */
const smallTable = 1 << 18
const fullest = 0.7
/** Slots that one worker moves alone when a table grows. */
const fewSlots = 1 << 13
/** Beyond every slot. */
const beyond = 2 ** 31
/** Words are kept in slots with these bits turned, because words are often 0. One that is 0 then is asked for as if it were not there. */
const turned = 0x5a5a5a5a
/** Room kept for what workers add on their way to a meeting: the successors of the states in hand, and the rest of a chunk. */
const reserve = 1 << 13

export function statesMemory(maxBytes: number): StatesMemory {
  const memory = (): SharedArrayBuffer =>
    new SharedArrayBuffer(0, { maxByteLength: Math.min(mostBytes, Math.max(2 ** 24, 2 ** Math.ceil(Math.log2(maxBytes)))) })
  return { words: memory(), parents: memory(), slots: memory() }
}

export class SharedStates extends StateSet {
  words: Int32Array = new Int32Array(0)
  parents: Int32Array = new Int32Array(0)
  /** States that this worker added. */
  count = 0
  /** Up to two words: the words, turned, and 1 + index. More: the hash, made odd, and 1 + index. */
  #slots: Int32Array = new Int32Array(0)
  #last = 0
  /** Kept so that looking ahead is not optimised away. */
  touched = 0
  #shift = 0
  #next = 0
  #end = 0
  /** Chunks that may be taken before all must meet, and at all. */
  #enough = 0
  #most = 0
  readonly #memory: StatesMemory
  readonly #control: Control
  readonly #journal: Journal
  readonly #workers: number
  readonly #me: number
  readonly #maxBytes: number

  constructor(
    shared: { memory: StatesMemory; control: Control; journal: Journal },
    { workers, me, maxBytes }: { workers: number; me: number; maxBytes: number },
  ) {
    super(shared.journal.bits)
    this.#memory = shared.memory
    this.#control = shared.control
    this.#journal = shared.journal
    this.#workers = workers
    this.#me = me
    this.#maxBytes = maxBytes
    this.layout = 1
    this.#control.meet(() => this.#makeRoom(firstSlots, this.width))
    this.#view()
  }

  get bytes(): number {
    const { words, parents, slots } = this.#memory
    return words.byteLength + parents.byteLength + slots.byteLength
  }

  /** Values that need more bits are written down with the layout that has them: all meet to pack states in it. */
  fit(): void {
    while (this.layout !== this.#journal.layouts) {
      this.#control.want()
      this.meet()
    }
  }

  /** Says how many states this worker has added, and where. */
  tell(): void {
    this.#control.tell(this.count, Math.floor((this.#end - 1) / chunkStates), chunkStates - (this.#end - this.#next))
  }

  /** Before a state is taken or added from elsewhere: others may need room. */
  makeReady(): void {
    while (this.#control.isWanted()) this.meet()
  }

  /**
   * Meets the others.
   * @param atEnd what who comes last does alone when nobody came for more room or another layout
   * @returns whether that was so
   */
  meet(atEnd: () => void = () => {}): boolean {
    const control = this.#control
    this.tell()
    control.meet(() => {
      if (control.isWanted()) {
        this.#journal.catchUp()
        return control.decide(this.#plan() ? 'rebuild' : 'stop')
      }
      control.decide('end')
      atEnd()
    })
    if (control.decided === 'rebuild') this.#rebuild()
    return control.decided === 'end'
  }

  /** Makes room for what all need from now on. False: that would be too much, and the search stops with what there is. */
  #plan(): boolean {
    const { layouts, bits } = this.#journal
    const isSame = layouts === this.layout
    const width = isSame ? this.width : layoutOf(bits).width
    let slots = this.#last + 1
    const states = this.#control.chunks * chunkStates + reserve * this.#workers
    while (states > fullest * slots) slots *= slots < smallTable ? 4 : 2
    const each = [4 * strideOf(width) * slots, 4 * width * roomFor(slots), 4 * roomFor(slots)]
    const bytes = each.reduce((sum, one) => sum + one, 0)
    if (isSame && (bytes > this.#maxBytes || each.some((one) => one > mostBytes))) {
      this.#control.stop('memory')
      return false
    }
    this.#makeRoom(slots, width)
    return true
  }

  #makeRoom(slots: number, width: number): void {
    grow(this.#memory.slots, 4 * strideOf(width) * slots)
    grow(this.#memory.words, 4 * width * roomFor(slots))
    grow(this.#memory.parents, 4 * roomFor(slots))
  }

  /** Looks at all the memory there is: its table may be a power of two of slots, and no more. */
  #view(): void {
    const { words, parents, slots } = this.#memory
    this.words = new Int32Array(words, 0, words.byteLength / 4)
    this.parents = new Int32Array(parents, 0, parents.byteLength / 4)
    const size = 2 ** Math.floor(Math.log2(slots.byteLength / (4 * strideOf(this.width))))
    this.#slots = new Int32Array(slots, 0, strideOf(this.width) * size)
    this.#last = size - 1
    this.#shift = 32 - Math.log2(size)
    this.#most = Math.floor(Math.min(this.words.length / this.width, this.parents.length, fullest * size) / chunkStates)
    this.#enough = this.#most - Math.ceil((reserve * this.#workers) / chunkStates)
  }

  /** Packs states in the last layout, where there is another, and makes the table anew: each worker its part of both. */
  #rebuild(): void {
    this.#journal.catchUp()
    if (this.#journal.layouts === this.layout) this.#widen()
    else this.#repack()
    this.#control.meet()
  }

  /** Where this worker's part of so many begins and ends. */
  #part(count: number): [number, number] {
    return [Math.floor((count * this.#me) / this.#workers), Math.floor((count * (this.#me + 1)) / this.#workers)]
  }

  /**
   * A larger table with what the present one holds, which is in the order of hashes already. Memory that was added holds zeros, and a page of
   * it costs more the first time than what is done there later: so nothing is copied elsewhere. The upper half goes to places above all that
   * there were, each worker writing its part from front to back; then the half of what is left, which goes to places that are free by now.
   */
  #widen(): void {
    const before = this.#last + 1
    this.#view()
    const growth = (this.#last + 1) / before
    // Asked for by one who had not seen yet that there is room again.
    if (growth === 1) return
    // What does not belong to the half in hand was moved on from elsewhere, and waits until every other has its place.
    const late: number[] = []
    let end = before
    for (; end > fewSlots; end /= growth) {
      const begin = end / growth
      const [from, to] = this.#part(end - begin)
      this.#move(begin + from, begin + to, begin * growth, end * growth, late)
      this.#control.meet()
    }
    if (this.#me === 0) this.#move(0, end, beyond, 0, late)
    this.#control.meet()
    for (let i = 0; i < late.length; i += 3) this.#put(late[i] as number, late[i + 1] as number, late[i + 2] as number, 0, beyond)
  }

  /** Moves what is between two places of the smaller table to where it belongs in the larger one, if that is between `low` and `high`. */
  #move(from: number, to: number, low: number, high: number, late: number[]): void {
    const slots = this.#slots
    const stride = strideOf(this.width)
    for (let place = stride * from; place < stride * to; place += stride) {
      const found = slots[place + stride - 1] as number
      if (found === 0) continue
      const first = slots[place] as number
      const second = stride === 3 ? (slots[place + 1] as number) : 0
      slots[place] = 0
      slots[place + 1] = 0
      slots[place + stride - 1] = 0
      if (!this.#put(first, second, found, low, high)) late.push(first, second, found)
    }
  }

  /** Puts what a slot held where it belongs, if there is a place for it between these. */
  #put(first: number, second: number, found: number, low: number, high: number): boolean {
    const slots = this.#slots
    const last = this.#last
    const stride = strideOf(this.width)
    // Of a hash that was made odd, what is left after the shift is the same.
    let at = (stride === 3 ? hashPair(first ^ turned, second ^ turned) : first) >>> this.#shift
    if (at < low) return false
    for (;;) {
      if (at >= high) return false
      if (Atomics.compareExchange(slots, stride * at + stride - 1, 0, found) === 0) break
      at = (at + 1) & last
    }
    slots[stride * at] = first
    if (stride === 3) slots[stride * at + 1] = second
    return true
  }

  #repack(): void {
    const control = this.#control
    const { bits, layouts } = this.#journal
    const [from, to] = this.#part(control.chunks)
    const { width, words } = this
    const packed = this.layOut(bits, layouts)
    // States that keep their places are packed where they are.
    const kept = width === this.width
    const before = kept ? new Int32Array(chunkStates * width) : words.slice(from * chunkStates * width, to * chunkStates * width)
    this.#view()
    control.meet()
    for (let chunk = from; chunk < to; chunk++) {
      const mine = this.words.subarray(chunk * chunkStates * this.width, (chunk + 1) * chunkStates * this.width)
      const first = kept ? 0 : (chunk - from) * chunkStates * width
      if (kept) before.set(mine)
      packed(before.subarray(first, first + chunkStates * width), chunkStates, mine.fill(0))
    }
    this.#slots.fill(0, ...this.#part(this.#slots.length))
    control.meet()
    for (let chunk = from; chunk < to; chunk++) this.#index(chunk * chunkStates, chunk * chunkStates + control.filled(chunk))
  }

  #index(from: number, to: number): void {
    const { words, width } = this
    const slots = this.#slots
    const last = this.#last
    const shift = this.#shift
    const hashes = new Int32Array(to - from)
    for (let state = from; state < to; state++) hashes[state - from] = this.hashOf(words, state * width)
    this.touched |= this.touch(hashes, hashes.length)
    for (let state = from; state < to; state++) {
      const hash = hashes[state - from] as number
      let at = hash >>> shift
      if (width > inlined) {
        while (Atomics.compareExchange(slots, 2 * at + 1, 0, state + 1) !== 0) at = (at + 1) & last
        slots[2 * at] = hash | 1
        continue
      }
      while (Atomics.compareExchange(slots, 3 * at + 2, 0, state + 1) !== 0) at = (at + 1) & last
      slots[3 * at] = (words[state * width] as number) ^ turned
      slots[3 * at + 1] = (width === 2 ? (words[2 * state + 1] as number) : 0) ^ turned
    }
  }

  /** The index of a new state; -1, and no index, for a known one. */
  addAt(packed: Int32Array, from: number, hash: number, parent: number): number {
    const { width } = this
    if (width > inlined) return this.#addWide(packed, from, hash, parent)
    return this.#addPair(packed[from] as number, width === 2 ? (packed[from + 1] as number) : 0, hash, parent)
  }

  touch(hashes: Int32Array, count: number): number {
    return touchSlots(this.#slots, strideOf(this.width), this.#shift, hashes, count)
  }

  #addPair(first: number, second: number, hash: number, parent: number): number {
    const slots = this.#slots
    const last = this.#last
    const one = first ^ turned
    const two = second ^ turned
    let at = hash >>> this.#shift
    for (;;) {
      const place = 3 * at
      const other = slots[place] as number
      const then = slots[place + 1] as number
      if (other !== 0 && then !== 0) {
        if (other === one && then === two) return -1
      } else {
        let found = slots[place + 2] as number
        if (found === 0) {
          const index = this.#place(parent)
          if (this.width === 1) this.words[index] = first
          else {
            this.words[2 * index] = first
            this.words[2 * index + 1] = second
          }
          found = Atomics.compareExchange(slots, place + 2, 0, index + 1)
          if (found === 0) {
            slots[place] = one
            slots[place + 1] = two
            return this.#kept()
          }
        } else found = Atomics.load(slots, place + 2)
        if (this.#isPair(found - 1, first, second)) return -1
      }
      at = (at + 1) & last
    }
  }

  #isPair(state: number, first: number, second: number): boolean {
    if (this.width === 1) return this.words[state] === first
    return this.words[2 * state] === first && this.words[2 * state + 1] === second
  }

  #addWide(packed: Int32Array, from: number, hash: number, parent: number): number {
    const { width } = this
    const slots = this.#slots
    const last = this.#last
    const one = hash | 1
    let at = hash >>> this.#shift
    for (;;) {
      const place = 2 * at
      const other = slots[place] as number
      if (other === 0 || other === one) {
        let found = Atomics.load(slots, place + 1)
        if (found === 0) {
          const index = this.#place(parent)
          const base = index * width
          for (let i = 0; i < width; i++) this.words[base + i] = packed[from + i] as number
          found = Atomics.compareExchange(slots, place + 1, 0, index + 1)
          if (found === 0) {
            slots[place] = one
            return this.#kept()
          }
        }
        if (this.equals(found - 1, packed, from)) return -1
      }
      at = (at + 1) & last
    }
  }

  /** A place for a new state, which it has once it is kept. */
  #place(parent: number): number {
    if (this.#next === this.#end) this.#takeChunk()
    this.parents[this.#next] = parent
    return this.#next
  }

  #kept(): number {
    this.count++
    return this.#next++
  }

  #takeChunk(): void {
    const chunk = this.#control.chunk()
    if (chunk >= this.#enough) this.#control.want()
    if (chunk >= this.#most) throw new Error('one state has more successors than several workers have room for. Check it with one.')
    this.#next = chunk * chunkStates
    this.#end = this.#next + chunkStates
  }
}

/** Places of states for a table with so many slots. */
const roomFor = (slots: number): number => Math.ceil((fullest * slots) / chunkStates) * chunkStates

function grow(memory: SharedArrayBuffer, bytes: number): void {
  if (memory.byteLength < bytes) memory.grow(bytes)
}
