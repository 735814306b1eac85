/**
 * One order for all that front ends are asked. Values get their numbers in the order in which they first come up, so that workers that ask
 * the same questions in the same order number them alike, and a packed state says the same to each of them. Whoever has a new question first asks
 * all that others asked since its last, then its own, then writes it down; nobody else asks meanwhile. Questions are few where states are
 * many. How states are packed is written down in the same order.
 *
 *   entry   ints, kind, then: rule and values it reads | component, value, operation | bits of each component; last the number of all values
 */
import { bitsFor } from '../layout.ts'
import { type Asking, neverAsked, type Tables } from '../tables.ts'
import { type Control, journalLengthAt } from './control.ts'

const kinds = { expand: 0, direct: 1, next: 2, layout: 3 } as const
/** Bytes the journal begins with and may grow to. */
export const journalBytes = { first: 1 << 20, most: 1 << 30 } as const

export class Journal implements Asking {
  /** How many layouts there were, and bits of each component in the last one. */
  layouts = 1
  readonly #tables: Tables
  readonly #control: Control
  readonly #memory: SharedArrayBuffer
  readonly #entries: Int32Array
  bits: Int32Array
  /** How many values each component had then. */
  #before: readonly number[]
  #read = 0

  constructor(tables: Tables, control: Control, memory: SharedArrayBuffer) {
    this.#tables = tables
    this.#control = control
    this.#memory = memory
    this.#entries = new Int32Array(memory)
    this.#before = this.#sizes()
    this.bits = bitsFor(
      this.#before,
      this.#before.map(() => 1),
    )
    tables.askThrough(this)
  }

  expand(rule: number, values: readonly number[]): void {
    this.#ask(
      () => this.#tables.knows(rule, values),
      () => this.#tables.answer(rule, values),
      [kinds.expand, rule, ...values],
    )
  }

  next(component: number, id: number, op: number): void {
    this.#ask(
      () => this.#tables.results.known(component, id, op) !== neverAsked,
      () => this.#tables.work(component, id, op),
      [kinds.next, component, id, op],
    )
  }

  /** Asked in every state: written down only where it gave a value that is new. */
  direct<Answer>(rule: number, values: readonly number[], ask: () => Answer): Answer {
    const answers: Answer[] = []
    this.catchUp()
    this.#control.exclusively(() => {
      this.catchUp()
      const before = this.#values()
      answers.push(ask())
      if (this.#values() !== before) this.#write([kinds.direct, rule, ...values])
    })
    return answers[0] as Answer
  }

  /** Asks what others asked. */
  catchUp(): void {
    const end = Atomics.load(this.#control.numbers, journalLengthAt)
    while (this.#read < end) {
      const length = this.#entries[this.#read] as number
      const [kind, ...rest] = this.#entries.slice(this.#read + 1, this.#read + length)
      this.#read += length
      const values = rest.pop()
      const [first = 0, second = 0, third = 0] = rest
      if (kind === kinds.next) this.#tables.work(first, second, third)
      else if (kind === kinds.layout) this.#keepLayout(Int32Array.from(rest))
      else this.#tables.answer(first, rest.slice(1))
      if (this.#values() !== values)
        throw new Error(`${this.#tables.product.name}: asked the same in the same order, its front end does not give the same values.`)
    }
  }

  #ask(isKnown: () => boolean, ask: () => void, entry: readonly number[]): void {
    // What others asked meanwhile takes as long as it took them: nobody is to wait for that.
    this.catchUp()
    if (isKnown()) return
    this.#control.exclusively(() => {
      this.catchUp()
      if (isKnown()) return
      ask()
      this.#write(entry)
    })
  }

  /** Values and the bits they need are made known at once: who read of the one without the other would pack states wrongly. */
  #write(entry: readonly number[]): void {
    this.#append(entry)
    const sizes = this.#sizes()
    if (!sizes.every((size, i) => size <= 2 ** (this.bits[i] as number))) {
      const bits = bitsFor(sizes, this.#before)
      this.#append([kinds.layout, ...bits])
      this.#keepLayout(bits)
    }
    Atomics.store(this.#control.numbers, journalLengthAt, this.#read)
  }

  #append(entry: readonly number[]): void {
    const length = entry.length + 2
    if (4 * (this.#read + length) > this.#memory.byteLength) {
      if (2 * this.#memory.byteLength > journalBytes.most)
        throw new Error(`${this.#tables.product.name}: too many local steps for several workers. Check it with one.`)
      this.#memory.grow(2 * this.#memory.byteLength)
    }
    this.#entries.set([length, ...entry, this.#values()], this.#read)
    this.#read += length
  }

  #keepLayout(bits: Int32Array): void {
    this.bits = bits
    this.#before = this.#sizes()
    this.layouts++
  }

  #sizes(): number[] {
    return this.#tables.product.components.map((component) => component.size())
  }

  /** How many values there are. */
  #values(): number {
    let sum = 0
    for (const component of this.#tables.product.components) sum += component.size()
    return sum
  }
}
