/**
 * Asks properties of whole states, as seldom as it can. A property is a function of the components it looks at: which those are is seen when
 * it is asked, its answers are kept by their values, and after a step that changes none of them it is not asked again.
 */
import { type Component, createStates, type Product, type StateProperty } from './product.ts'

/** Answers kept for one property: a byte each, 4 MiB. A property that looks at more is asked every time. */
const maxAnswers = 1 << 22
const holding = 1
const broken = 2

class Asked {
  readonly property: StateProperty
  /** Components it has ever looked at: 1. */
  readonly reads: Uint8Array
  readonly #product: Product
  readonly #states: ReturnType<typeof createStates>
  #components = new Int32Array(0)
  #strides = new Int32Array(0)
  #sizes = new Int32Array(0)
  #answers = new Uint8Array(0)

  constructor(product: Product, property: StateProperty) {
    this.property = property
    this.#product = product
    this.reads = new Uint8Array(product.components.length)
    this.#states = createStates(product, this.reads)
  }

  holds(ids: Int32Array): boolean {
    const components = this.#components
    const strides = this.#strides
    const sizes = this.#sizes
    let key = 0
    for (let i = 0; i < components.length; i++) {
      const id = ids[components[i] as number] as number
      // A value that is new since keys were laid out has none.
      if (id >= (sizes[i] as number)) return this.#ask(ids)
      key += id * (strides[i] as number)
    }
    const known = this.#answers[key]
    if (known === holding) return true
    if (known === broken) return false
    return this.#ask(ids)
  }

  #ask(ids: Int32Array): boolean {
    const answer = this.property.holds(this.#states.look(ids))
    this.#fit()
    if (this.#answers.length > 0) {
      let key = 0
      for (let i = 0; i < this.#components.length; i++) key += (ids[this.#components[i] as number] as number) * (this.#strides[i] as number)
      this.#answers[key] = answer ? holding : broken
    }
    return answer
  }

  /** When it looks at more than before, or at new values, keys mean something else: what was kept is asked again. */
  #fit(): void {
    const components = [...this.reads.keys()].filter((component) => this.reads[component] === 1)
    const sizes = components.map((component) => (this.#product.components[component] as Component).size())
    const same = components.length === this.#components.length
    if (same && sizes.every((size, i) => size <= (this.#sizes[i] as number))) return
    this.#sizes = Int32Array.from(sizes, (size) => 2 ** Math.ceil(Math.log2(Math.max(2, size))))
    const total = this.#sizes.reduce((product, size) => product * size, 1)
    this.#components = Int32Array.from(total <= maxAnswers ? components : [])
    this.#strides = new Int32Array(this.#components.length)
    let stride = 1
    for (let i = 0; i < this.#components.length; i++) {
      this.#strides[i] = stride
      stride *= this.#sizes[i] as number
    }
    this.#answers = new Uint8Array(total <= maxAnswers ? total : 0)
  }
}

export type Judge = {
  /** Whether a step that touched these components may have changed any answer. */
  concerns(touched: Int32Array): boolean
  /** `broke` is told each `always` that does not hold; each `sometimes` that does is added to `reached`. */
  judge(ids: Int32Array, broke: (property: string) => void): void
}

export function createJudge(product: Product, reached: Set<string>): Judge {
  const asked = product.properties.filter((property) => property.local === undefined).map((property) => new Asked(product, property))
  let open = asked
  return {
    concerns(touched) {
      for (let i = 0; i < open.length; i++) {
        const { reads } = open[i] as Asked
        for (let j = 0; j < touched.length; j++) if (reads[touched[j] as number] === 1) return true
      }
      return false
    },
    judge(ids, broke) {
      let settled = false
      for (let i = 0; i < open.length; i++) {
        const one = open[i] as Asked
        const { kind, name } = one.property
        if (one.holds(ids) === (kind === 'always')) continue
        if (kind === 'always') broke(name)
        else reached.add(name)
        settled = true
      }
      // A property that is broken is told once, with the shortest way; one that was reached is reached.
      if (settled) open = open.filter(({ property: { kind, name } }) => kind === 'always' || !reached.has(name))
    },
  }
}
