/**
 * The tables of a search as numbers, for the inner loop (sweep.ts): one look finds all that may happen in a packed state, and each is a few
 * words to change it by.
 *
 *   list     n, steps that change nothing, then n entries
 *   entry    outcome, its program or 0, one word per word of a state
 *   program  n, then n times component, operation, component and operation instead (-1: none)
 *
 * A list with an outcome that needs more than that (it breaks a rule, or writes what its rule has not read) has no code.
 */
import type { StateSet } from './state-set.ts'
import type { Bundle, Compiled } from './tables.ts'

const firstCapacity = 1 << 12
/** Numbers before the first entry of a list. */
export const header = 2
/** Numbers an entry has before its words. */
export const entryHeader = 2
/** Numbers of one operation in a program. */
export const operationStride = 4
/** What a state does not say yet, and what cannot be said in numbers. */
export const unknown = 0
export const notFlat = -1
/** Entries a bundle's table may have: 16 MiB of them. */
const mostBits = 22

/** Where a bundle finds its list: fields of the packed state that make up an index, in turn word, shift, mask, and shift in the index. */
export type Head = { fields: Int32Array; starts: Int32Array; places: number[] }

export class Flat {
  code = new Int32Array(firstCapacity)
  readonly outcomes: Compiled[] = []
  heads: Head[] = []
  /** Whether every bundle has a table in the present layout. */
  usable = false
  readonly #bundles: readonly Bundle[]
  readonly #arena: StateSet
  readonly #keepIdle: boolean
  readonly #numbers = new Map<Compiled, number>()
  #used = 0
  #layout = -1

  /** @param keepIdle gives steps that change nothing as entries too, for those who want each step */
  constructor(bundles: readonly Bundle[], arena: StateSet, keepIdle: boolean) {
    this.#bundles = bundles
    this.#arena = arena
    this.#keepIdle = keepIdle
  }

  /** Follows the arena's layout: code for an earlier one means nothing any more. */
  follow(): void {
    if (this.#layout === this.#arena.layout) return
    this.#layout = this.#arena.layout
    // 0 stands for what is unknown.
    this.#used = 1
    this.usable = true
    this.heads = this.#bundles.map((bundle) => this.#head(bundle))
  }

  /** Looks a list up for the state `ids`, which is at `index` of the bundle's table: its place, `unknown` or `notFlat`. */
  find(bundle: number, index: number, ids: Int32Array): number {
    const { starts, places } = this.heads[bundle] as Head
    const of = this.#bundles[bundle] as Bundle
    const list = of.known(ids)
    if (list === 0) return unknown
    const place = (places[list] ??= this.#write(of.lists[list] as readonly Compiled[]))
    starts[index] = place
    return place
  }

  #head(bundle: Bundle): Head {
    const { word, shift, mask } = this.#arena
    const fields: number[] = []
    let bits = 0
    const read = bundle.reads
      .map((component) => ({ word: word[component] as number, shift: shift[component] as number, mask: mask[component] as number }))
      .filter((field) => field.mask !== 0)
      .toSorted((a, b) => a.word - b.word || a.shift - b.shift)
    let end = -1
    for (const field of read) {
      const width = 32 - Math.clz32(field.mask)
      const at = fields.length - 4
      if (at >= 0 && fields[at] === field.word && end === field.shift) {
        const before = fields[at + 2] as number
        fields[at + 2] = before | (field.mask << (32 - Math.clz32(before)))
      } else fields.push(field.word, field.shift, field.mask, bits)
      end = field.shift + width
      bits += width
    }
    if (bundle.slots.length === 0 || bits > mostBits) this.usable = false
    return { fields: Int32Array.from(fields), starts: new Int32Array(this.usable ? 1 << bits : 0), places: [] }
  }

  #write(list: readonly Compiled[]): number {
    if (list.some(({ broken, replaces }) => broken || replaces === null)) return notFlat
    const idle = this.#keepIdle ? 0 : list.filter((compiled) => compiled.idle).length
    const entries = this.#keepIdle ? list : list.filter((compiled) => !compiled.idle)
    const programs = entries.map((compiled) => this.#program(compiled))
    const place = this.#room(header + (entryHeader + this.#arena.width) * entries.length)
    const { code } = this
    code[place] = entries.length
    code[place + 1] = idle
    let at = place + header
    for (const [k, compiled] of entries.entries()) {
      code[at] = this.#number(compiled)
      code[at + 1] = programs[k] as number
      code.fill(0, at + 2, at + entryHeader + this.#arena.width)
      this.#change(compiled, at)
      at += entryHeader + this.#arena.width
    }
    return place
  }

  /** The bits by which an outcome's writes change a state. */
  #change({ writes, replaces }: Compiled, at: number): void {
    const { word, shift } = this.#arena
    for (const [i, before] of (replaces as Int32Array).entries()) {
      const component = writes[2 * i] as number
      const after = writes[2 * i + 1] as number
      const place = at + entryHeader + (word[component] as number)
      this.code[place] = (this.code[place] as number) ^ ((before ^ after) << (shift[component] as number))
    }
  }

  #program({ operations }: Compiled): number {
    if (operations.length === 0) return 0
    const place = this.#room(1 + operations.length)
    this.code[place] = operations.length / operationStride
    this.code.set(operations, place + 1)
    return place
  }

  #room(count: number): number {
    const place = this.#used
    this.#used += count
    if (this.#used > this.code.length) {
      const wider = new Int32Array(Math.max(2 * this.code.length, this.#used))
      wider.set(this.code)
      this.code = wider
    }
    return place
  }

  #number(compiled: Compiled): number {
    const known = this.#numbers.get(compiled)
    if (known !== undefined) return known
    const number = this.outcomes.push(compiled) - 1
    this.#numbers.set(compiled, number)
    return number
  }
}
