/**
 * What a search does with a state: finds all its successors, keeps the new ones, and judges each once. Once the tables know all that may
 * happen in a state, its successors are worked out in packed words (sweep.ts); until then from outcomes, one by one.
 */
import { createEdges } from './edges.ts'
import { Judge } from './judge.ts'
import { createStates, type Problem, type States } from './product.ts'
import type { StateSet } from './state-set.ts'
import { Sweep } from './sweep.ts'
import type { Bundle, Compiled, Tables } from './tables.ts'
import type { Canonical, ViolationKind } from './trace.ts'

export type ExpansionOptions = {
  keepEdges?: boolean
  /** Replaces a state by the representative of its class (symmetry.ts). */
  canonical?: Canonical
  /** The process whose steps alone need to be taken in a state, or -1 (reduce.ts). */
  ample?: (ids: Int32Array) => number
  onNew?: (index: number) => void
  /** Where it is written down what each property of whole states has looked at (judge.ts). */
  looks?: readonly Uint8Array[]
}

/** Something that must not be, and where: in a state, or in what its outcome `last` leads to. */
export type Sighting = { kind: ViolationKind; property: string; at: number; last?: Compiled; detail?: string }

export class Expansion {
  readonly arena: StateSet
  readonly sightings: Sighting[] = []
  readonly edges: ReturnType<typeof createEdges> | null
  transitions = 0
  readonly #tables: Tables
  readonly #options: ExpansionOptions
  readonly #judge: Judge
  readonly #sweep: Sweep | null
  readonly #broken = new Set<string>()
  readonly #ids: Int32Array
  readonly #after: Int32Array
  readonly #crossing: boolean
  readonly #look: (ids: ArrayLike<number>) => States
  readonly #lookAfter: (ids: ArrayLike<number>) => States
  #packed = new Int32Array(1)
  #known: number[]
  #seen = -1
  /** The state in hand, and what was found for it so far. */
  #from = -1
  #successors = 0
  #isNew = false
  /** By outcome: 1 when its step may change what a property says, 2 when not, 0 when that was not asked; as of `concernsAsOf`. */
  #concerns = new Uint8Array(64)
  #concernsAsOf = -1

  constructor(tables: Tables, arena: StateSet, options: ExpansionOptions = {}) {
    const { product } = tables
    const count = product.components.length
    this.#tables = tables
    this.#options = options
    this.arena = arena
    this.edges = options.keepEdges ? createEdges() : null
    this.#judge = new Judge(product, tables.reached, arena, options.looks)
    this.#crossing = (product.transitions?.length ?? 0) > 0
    // Where somebody looks at every step itself there is nothing to be taken as numbers alone.
    this.#sweep = options.canonical || this.#crossing || options.ample ? null : new Sweep(tables, arena, this.edges !== null)
    this.#ids = new Int32Array(count)
    this.#after = new Int32Array(count)
    this.#look = createStates(product).look
    this.#lookAfter = createStates(product).look
    this.#known = this.#sizes()
    tables.judgeNew()
    arena.fit(this.#known)
    this.#packed = new Int32Array(this.arena.width)
  }

  /** Adds the initial states. */
  start(): void {
    for (const vector of this.#tables.product.initial) {
      this.#after.set(vector)
      this.#options.canonical?.(this.#after)
      this.adjust()
      this.arena.pack(this.#after, this.#packed)
      this.receive(this.#packed, -1)
    }
  }

  /** Adds a packed state that comes from elsewhere. */
  receive(packed: Int32Array, parent: number): void {
    const index = this.arena.add(packed, parent)
    if (index < 0) return
    this.#options.onNew?.(index)
    this.#judgeState(index)
  }

  /**
   * Finds all successors of states that follow one another, of a few of them at once where the tables know them: which one comes next.
   * What is found is what would be found one by one, in the same order.
   */
  expand(from: number, to: number): number {
    if (this.#seen !== this.#tables.counters.misses) this.adjust()
    const sweep = this.#sweep
    if (sweep === null) {
      this.#takeCarefully(from)
      return from + 1
    }
    sweep.begin()
    let next = from
    let isKnown = true
    while (isKnown && next < to && !sweep.isFull) if ((isKnown = sweep.take(next))) next++
    this.#addAll(sweep)
    // At once: what was noted of it on the way counts as added.
    if (!isKnown) this.#takeCarefully(next++)
    return next
  }

  /** Before states are taken that others have judged: what their properties looked at is looked at here as well. */
  heed(): void {
    this.#judge.heed()
  }

  /** After a front end was asked, values may need more bits than they had. */
  adjust(): void {
    const { components } = this.#tables.product
    this.#seen = this.#tables.counters.misses
    let grown = false
    for (let i = 0; i < components.length; i++) if (components[i]?.size() !== this.#known[i]) grown = true
    if (!grown) return
    this.#known = this.#sizes()
    this.arena.fit(this.#known)
    for (const bundle of this.#tables.bundles) bundle.fit()
    this.#tables.judgeNew()
    this.#judge.fit()
    if (this.#packed.length !== this.arena.width) this.#packed = new Int32Array(this.arena.width)
  }

  #sizes(): number[] {
    return this.#tables.product.components.map((component) => component.size())
  }

  #sight(sighting: Sighting): void {
    if (this.#broken.has(sighting.property)) return
    this.#broken.add(sighting.property)
    this.sightings.push(sighting)
  }

  #judgeState(index: number): void {
    const tables = this.#tables
    if (tables.hasBroken()) {
      const vector = new Int32Array(this.#ids.length)
      this.arena.unpack(index, vector)
      for (const property of tables.brokenBy(vector)) this.#sight({ kind: 'always', property, at: index })
    }
    for (const property of this.#judge.broken(index)) this.#sight({ kind: 'always', property, at: index })
  }

  /** Adds what the states taken lead to. */
  #addAll(sweep: Sweep): void {
    const { taken, count, outcomes, flat } = sweep
    const { edges } = this
    sweep.reach()
    let k = 0
    for (let one = 0; one < taken; one++) {
      const at = sweep.states[one] as number
      const end = sweep.ends[one] as number
      const idle = sweep.idle[one] as number
      if (end === k && idle === 0) this.#judgeEnd(at)
      for (; k < end; k++) {
        const index = sweep.add(k, at)
        if (index >= 0) {
          if (this.#options.onNew) this.#options.onNew(index)
          if (this.#mayMatter(outcomes[k] as number, flat.outcomes) || this.#tables.hasBroken()) this.#judgeState(index)
        }
        if (edges !== null) edges.add(index >= 0 ? index : -1 - index, (flat.outcomes[outcomes[k] as number] as Compiled).group)
      }
      edges?.end()
      this.transitions += idle
    }
    this.transitions += count
  }

  #judgeEnd(at: number): void {
    const { mayEnd } = this.#tables.product
    if (!mayEnd) return
    this.arena.unpack(at, this.#ids)
    if (!mayEnd(this.#look(this.#ids)))
      this.#sight({ kind: 'deadlock', property: 'no deadlock', at, detail: 'nothing can happen any more' })
  }

  #mayMatter(outcome: number, outcomes: readonly Compiled[]): boolean {
    if (this.#concernsAsOf !== this.#judge.version || outcome >= this.#concerns.length) {
      this.#concernsAsOf = this.#judge.version
      this.#concerns = new Uint8Array(2 * outcomes.length)
    }
    const known = this.#concerns[outcome] as number
    if (known !== 0) return known === 1
    const answer = this.#judge.concerns((outcomes[outcome] as Compiled).touched)
    this.#concerns[outcome] = answer ? 1 : 2
    return answer
  }

  /** All successors of a state, from outcomes as the tables have them or the front end gives them now. */
  #takeCarefully(at: number): void {
    const ids = this.#ids
    const tables = this.#tables
    this.arena.unpack(at, ids)
    this.#after.set(ids)
    this.#from = at
    this.#successors = 0
    this.#isNew = false
    const only = this.#options.ample ? this.#options.ample(ids) : -1
    for (let pass = 0; pass < (only < 0 ? 1 : 2); pass++) {
      // The cycle proviso: a chosen process that leads nowhere new is not enough.
      if (pass === 1 && this.#isNew) break
      for (let b = 0; b < tables.bundles.length; b++) {
        const bundle = tables.bundles[b] as Bundle
        if (only >= 0 && (bundle.process === only) !== (pass === 0)) continue
        const outcomes = tables.allowed(bundle, ids)
        if (this.#seen !== tables.counters.misses) this.adjust()
        for (let k = 0; k < outcomes.length; k++) this.#follow(outcomes[k] as Compiled)
      }
    }
    this.transitions += this.#successors
    if (this.#successors === 0) this.#judgeEnd(at)
    this.edges?.end()
  }

  #follow(compiled: Compiled): void {
    const from = this.#from
    if (compiled.broken) {
      const { kind, property, detail } = compiled.outcome.problem as Problem
      this.#sight({ kind, property, at: from, last: compiled, ...(detail ? { detail } : {}) })
      if (compiled.outcome.dead) {
        this.#successors++
        return
      }
    }
    if (compiled.idle) {
      this.#successors++
      this.edges?.add(from, compiled.group)
      return
    }
    const after = this.#after
    const tables = this.#tables
    if (!tables.apply(compiled, after)) return
    const { canonical } = this.#options
    canonical?.(after)
    if (canonical || this.#seen !== tables.counters.misses) this.adjust()
    this.arena.pack(after, this.#packed)
    after.set(this.#ids)
    this.#successors++
    if (this.#crossing) this.#judgeStep(compiled)
    const index = this.arena.add(this.#packed, from)
    if (index >= 0) {
      this.#isNew = true
      this.#options.onNew?.(index)
      if (canonical || tables.hasBroken() || this.#judge.concerns(compiled.touched)) this.#judgeState(index)
    }
    this.edges?.add(index >= 0 ? index : -1 - index, compiled.group)
  }

  #judgeStep(compiled: Compiled): void {
    const reached = this.#ids.slice()
    if (!this.#tables.apply(compiled, reached)) return
    const before = this.#look(this.#ids)
    const then = this.#lookAfter(reached)
    for (const { name, holds } of this.#tables.product.transitions ?? [])
      if (!this.#broken.has(name) && !holds(before, compiled.outcome.info, then))
        this.#sight({ kind: 'steps', property: name, at: this.#from, last: compiled })
  }
}
