/**
 * A bundle's outcomes as numbers, for the inner loop: one look finds all that may happen in a state, and each is two words to change it by.
 *
 *   n, then n times: change of the first word, of the second, outcome
 *
 * An outcome that needs more than that (it appends to a mailbox, changes nothing, breaks a rule, has more words) is given as -1 - outcome,
 * and taken the long way.
 */
import type { Arena } from './arena.ts'
import type { Bundle, Compiled } from './tables.ts'

const firstCapacity = 1 << 12
/** Numbers before the first outcome of a list. */
export const header = 1
/** Numbers an outcome takes. */
export const stride = 3

export class Flat {
  code = new Int32Array(firstCapacity)
  readonly outcomes: Compiled[] = []
  readonly #numbers = new Map<Compiled, number>()
  #used = 0
  #layout = -1

  /** Where the code of a list begins, in the arena's present layout. */
  at(bundle: Bundle, list: number, arena: Arena): number {
    if (this.#layout !== arena.layout) this.#begin(arena.layout)
    if (bundle.layout !== this.#layout) {
      bundle.layout = this.#layout
      bundle.places = new Int32Array(0)
    }
    if (list >= bundle.places.length) {
      const wider = new Int32Array(Math.max(16, 2 * list)).fill(-1)
      wider.set(bundle.places)
      bundle.places = wider
    }
    const known = bundle.places[list] as number
    if (known >= 0) return known
    return (bundle.places[list] = this.#write(bundle.lists[list] as readonly Compiled[], arena))
  }

  #begin(layout: number): void {
    this.#layout = layout
    this.#used = 0
  }

  #write(list: readonly Compiled[], arena: Arena): number {
    const place = this.#used
    const end = place + header + stride * list.length
    if (end > this.code.length) {
      const wider = new Int32Array(Math.max(2 * this.code.length, end))
      wider.set(this.code)
      this.code = wider
    }
    const { code } = this
    code[place] = list.length
    let at = place + header
    for (const compiled of list) {
      const number = this.#number(compiled)
      const short = arena.width <= 2 && compiled.replaces !== null && !compiled.idle && !compiled.broken && compiled.operations.length === 0
      if (short && compiled.layout !== arena.layout) layDown(compiled, arena)
      code[at] = short ? compiled.first : 0
      code[at + 1] = short && arena.width === 2 ? compiled.second : 0
      code[at + 2] = short ? number : -1 - number
      at += stride
    }
    this.#used = end
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

/** The bits by which an outcome changes a state, in the arena's present layout. */
export function layDown(compiled: Compiled, arena: Arena): void {
  const delta = new Int32Array(arena.width)
  const { writes } = compiled
  const replaces = compiled.replaces as Int32Array
  for (let i = 0; i < replaces.length; i++) {
    const component = writes[2 * i] as number
    const word = arena.word[component] as number
    delta[word] =
      (delta[word] as number) ^ (((replaces[i] as number) ^ (writes[2 * i + 1] as number)) << (arena.shift[component] as number))
  }
  compiled.delta = delta
  compiled.first = delta[0] ?? 0
  compiled.second = delta[1] ?? 0
  compiled.layout = arena.layout
}
