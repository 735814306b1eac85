/**
 * The tables of a product: outcomes per rule and combination of local values, results of operations, and which local values break what.
 * They fill as a search goes; what is in them is never asked of a front end again.
 */
import { type Component, createStates, type Outcome, type Product, type Rule, type States } from './product.ts'

/** An outcome as the inner loop wants it. */
export type Compiled = {
  readonly outcome: Outcome
  readonly writes: Int32Array
  /** Quadruples component, operation, component and operation instead (-1: none). */
  readonly operations: Int32Array
  readonly touched: Int32Array
  /** Values that `writes` replaces, where the rule has read them: then a state changes by the same bits each time. */
  readonly replaces: Int32Array | null
  /** Nothing changes. */
  readonly idle: boolean
  readonly broken: boolean
  readonly group: number
  readonly rule: number
}

const none: readonly Compiled[] = []
type Nested = (Nested | readonly Compiled[] | undefined)[]

/** Entries a bundle's flat table may have: 16 MiB of them. Beyond that its rules are asked one by one. */
const maxSlots = 1 << 22
/** Components a bundle may read. */
const maxReads = 4

/** Rules of one process that read few components together, answered by one look into one table. */
export class Bundle {
  readonly rules: readonly number[]
  readonly process: number
  /** Index into `lists` by key; 0: not asked yet. */
  slots = new Int32Array(0)
  readonly lists: (readonly Compiled[])[] = [none]
  readonly reads: readonly number[]
  readonly #product: Product
  #sizes: number[]
  #c0 = 0
  #c1 = 0
  #c2 = 0
  #c3 = 0
  #s0 = 0
  #s1 = 0
  #s2 = 0
  #s3 = 0

  constructor(product: Product, rules: readonly number[]) {
    this.#product = product
    this.rules = rules
    this.process = (product.rules[rules[0] as number] as Rule).process
    this.reads = [...new Set(rules.flatMap((rule) => (product.rules[rule] as Rule).reads))]
    this.#sizes = this.reads.map(() => 1)
    if (rules.some((rule) => (product.rules[rule] as Rule).direct) || this.reads.length > maxReads) this.#sizes = []
    else this.#layOut()
  }

  /** A key no table reaches when the bundle has none. */
  key(ids: Int32Array): number {
    return (
      (ids[this.#c0] as number) * this.#s0 +
      (ids[this.#c1] as number) * this.#s1 +
      (ids[this.#c2] as number) * this.#s2 +
      (ids[this.#c3] as number) * this.#s3
    )
  }

  /** Number of the list for the state `ids`, 0 when it was not asked yet or the bundle has no table. */
  known(ids: Int32Array): number {
    return this.slots[this.key(ids)] ?? 0
  }

  keep(ids: Int32Array, list: readonly Compiled[]): void {
    this.fit()
    const key = this.key(ids)
    if (key >= this.slots.length) return
    this.slots[key] = list.length === 0 ? this.#number(none) : this.#number(list)
  }

  #number(list: readonly Compiled[]): number {
    if (list === none) {
      if (this.lists.length === 1) this.lists.push(none)
      return 1
    }
    if (this.lists.length === 1) this.lists.push(none)
    return this.lists.push(list) - 1
  }

  #layOut(): void {
    const strides: number[] = []
    let total = 1
    for (const size of this.#sizes) {
      strides.push(total)
      total *= size
    }
    const [c0 = 0, c1 = 0, c2 = 0, c3 = 0] = this.reads
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = strides
    this.#c0 = c0
    this.#c1 = c1
    this.#c2 = c2
    this.#c3 = c3
    this.#s0 = s0
    this.#s1 = s1
    this.#s2 = s2
    this.#s3 = s3
    this.slots = new Int32Array(total)
  }

  /** Makes room for every value there is, so that no two combinations share a key. A table that would be too large is given up. */
  fit(): void {
    const before = this.#sizes
    const sizes = this.reads.map((component) => (this.#product.components[component] as Component).size())
    if (before.length === 0 || sizes.every((size, i) => size <= (before[i] as number))) return
    const after = sizes.map((size, i) => (size <= (before[i] as number) ? (before[i] as number) : 2 ** Math.ceil(Math.log2(size))))
    const total = after.reduce((product, size) => product * size, 1)
    if (total > maxSlots) {
      this.#sizes = []
      this.slots = new Int32Array(0)
      this.lists.length = 1
      return
    }
    const old = this.slots
    this.#sizes = after
    this.#layOut()
    const stride: number[] = []
    after.reduce((product, size) => (stride.push(product), product * size), 1)
    for (let key = 0; key < old.length; key++) {
      if (old[key] === 0) continue
      let rest = key
      let at = 0
      for (const [i, size] of before.entries()) {
        at += (rest % size) * (stride[i] as number)
        rest = Math.floor(rest / size)
      }
      this.slots[at] = old[key] as number
    }
  }
}

/** A result of an operation that was never asked for. */
export const neverAsked = -2

/** Results of operations on components: a class, so that the inner loop's calls of it have one target in every search. */
export class Results {
  readonly #of: (number | undefined)[][][]

  constructor(components: number) {
    this.#of = Array.from({ length: components }, () => [])
  }

  /** Value of the component after the operation, -1 when it cannot be, or `neverAsked`. */
  known(component: number, id: number, op: number): number {
    return this.#of[component]?.[op]?.[id] ?? neverAsked
  }

  keep(component: number, id: number, op: number, after: number): void {
    ;((this.#of[component] as (number | undefined)[][])[op] ??= [])[id] = after
  }

  /** Every operation asked so far as component, op, id, result. */
  *all(): Generator<[component: number, op: number, id: number, after: number]> {
    for (const [component, ops] of this.#of.entries())
      for (const [op, table] of ops.entries())
        if (table) for (const [id, after] of table.entries()) if (after !== undefined) yield [component, op, id, after]
  }
}

/** Rules of one process together while they read few components. */
function bundled(product: Product): number[][] {
  const bundles: { process: number; reads: Set<number>; rules: number[]; open: boolean }[] = []
  for (const [index, { process, reads, direct }] of product.rules.entries()) {
    const fits = bundles.find((other) => other.open && other.process === process && new Set([...other.reads, ...reads]).size <= maxReads)
    if (fits && !direct) {
      fits.rules.push(index)
      for (const component of reads) fits.reads.add(component)
    } else bundles.push({ process, reads: new Set(reads), rules: [index], open: !direct })
  }
  return bundles.map(({ rules }) => rules)
}

export type Tables = ReturnType<typeof createTables>

/** Asks front ends in place of the tables, which then hold the answer: for searches that number values alike (workers/journal.ts). */
export type Asking = {
  expand(rule: number, values: readonly number[]): void
  next(component: number, id: number, op: number): void
  /** A rule whose answers nobody keeps. */
  direct<Answer>(rule: number, values: readonly number[], ask: () => Answer): Answer
}

export function createTables(product: Product) {
  const memo: Nested[] = product.rules.map(() => [])
  const results = new Results(product.components.length)
  const { look } = createStates(product)
  const compiledOnce = new Map<Outcome, Compiled>()
  const counters = { misses: 0, expansions: 0 }
  let asking: Asking | null = null

  function compile(rule: number, found: readonly Outcome[], ids: ArrayLike<number>): readonly Compiled[] {
    if (found.length === 0) return none
    const { reads } = product.rules[rule] as Rule
    return found.map((outcome) => {
      // Front ends give the same outcome again where it is the same.
      const before = compiledOnce.get(outcome)
      if (before && before.rule === rule && before.replaces?.every((id, i) => ids[before.writes[2 * i] as number] === id)) return before
      const made = compileOne(rule, reads, outcome, ids)
      compiledOnce.set(outcome, made)
      return made
    })
  }

  function compileOne(rule: number, reads: readonly number[], outcome: Outcome, ids: ArrayLike<number>): Compiled {
    const touched = new Set<number>()
    for (let i = 0; i < outcome.writes.length; i += 2) touched.add(outcome.writes[i] as number)
    const operations: number[] = []
    for (const { component, op, orElse } of outcome.operations) {
      operations.push(component, op, orElse?.component ?? -1, orElse?.op ?? -1)
      touched.add(component)
      if (orElse) touched.add(orElse.component)
    }
    const written = outcome.writes.filter((_, i) => i % 2 === 0)
    const values = outcome.writes.filter((_, i) => i % 2 === 1)
    const fixed = written.every((component) => reads.includes(component)) && new Set(written).size === written.length
    return {
      outcome,
      replaces: fixed ? Int32Array.from(written, (component) => ids[component] as number) : null,
      broken: outcome.problem !== undefined,
      idle: outcome.operations.length === 0 && written.every((component, i) => reads.includes(component) && ids[component] === values[i]),
      writes: Int32Array.from(outcome.writes),
      operations: Int32Array.from(operations),
      touched: Int32Array.from(touched),
      group: outcome.group,
      rule,
    }
  }

  const valuesOf = (rule: Rule, ids: ArrayLike<number>): number[] => rule.reads.map((component) => ids[component] as number)

  /** Asks the front end for one combination of values, and keeps what it says. */
  function answer(index: number, values: readonly number[]): void {
    const rule = product.rules[index] as Rule
    const ids: number[] = []
    for (const [i, component] of rule.reads.entries()) ids[component] = values[i] as number
    counters.misses++
    const found = rule.expand(...values)
    if (rule.direct) return
    counters.expansions++
    const { at, id } = placeOf(index, ids)
    at[id] = compile(index, found, ids)
  }

  function placeOf(index: number, ids: ArrayLike<number>): { at: Nested; id: number } {
    const { reads } = product.rules[index] as Rule
    const last = reads.length - 1
    let at = memo[index] as Nested
    for (let i = 0; i < last; i++) at = inner(at, ids[reads[i] as number] as number)
    return { at, id: last < 0 ? 0 : (ids[reads[last] as number] as number) }
  }

  /** What `rule` allows in the state `ids`. */
  function outcomes(index: number, ids: ArrayLike<number>): readonly Compiled[] {
    const rule = product.rules[index] as Rule
    if (rule.direct) {
      counters.misses++
      const values = valuesOf(rule, ids)
      const ask = (): readonly Outcome[] => rule.expand(...values)
      return compile(index, asking === null ? ask() : asking.direct(index, values, ask), ids)
    }
    const { at, id } = placeOf(index, ids)
    const known = at[id] as readonly Compiled[] | undefined
    if (known) return known
    const values = valuesOf(rule, ids)
    if (asking === null) answer(index, values)
    else asking.expand(index, values)
    return at[id] as readonly Compiled[]
  }

  const bundles = bundled(product).map((members) => new Bundle(product, members))

  /** What a bundle allows in the state `ids`, from one look into its table when it was asked before. */
  function allowed(bundle: Bundle, ids: Int32Array): readonly Compiled[] {
    const list = bundle.slots[bundle.key(ids)]
    return list !== undefined && list > 0 ? (bundle.lists[list] as readonly Compiled[]) : fill(bundle, ids)
  }

  function fill(bundle: Bundle, ids: Int32Array): readonly Compiled[] {
    const { rules } = bundle
    const found = rules.length === 1 ? outcomes(rules[0] as number, ids) : rules.flatMap((rule) => outcomes(rule, ids))
    bundle.keep(ids, found.length === 0 ? none : found)
    return found
  }

  function next(component: number, id: number, op: number): number {
    const known = results.known(component, id, op)
    if (known !== neverAsked) return known
    if (asking === null) work(component, id, op)
    else asking.next(component, id, op)
    return results.known(component, id, op)
  }

  /** Asks the front end for one operation, and keeps what it says. */
  function work(component: number, id: number, op: number): void {
    counters.misses++
    results.keep(component, id, op, product.next(component, id, op))
  }

  /** Applies an outcome to `ids` in place. False when an operation had no way to happen: then `ids` is as it was. */
  function apply(compiled: Compiled, ids: Int32Array | number[]): boolean {
    const { writes, operations } = compiled
    const before = compiled.operations.length > 0 ? Array.from(compiled.touched, (component) => ids[component] as number) : []
    for (let i = 0; i < writes.length; i += 2) ids[writes[i] as number] = writes[i + 1] as number
    for (let i = 0; i < operations.length; i += 4) {
      let component = operations[i] as number
      let after = next(component, ids[component] as number, operations[i + 1] as number)
      if (after < 0 && (operations[i + 2] as number) >= 0) {
        component = operations[i + 2] as number
        after = next(component, ids[component] as number, operations[i + 3] as number)
      }
      if (after < 0) {
        for (const [index, touched] of compiled.touched.entries()) ids[touched] = before[index] as number
        return false
      }
      ids[component] = after
    }
    return true
  }

  // Properties of one component are asked once per value.
  const localBad: Map<number, readonly string[]>[] = product.components.map(() => new Map<number, readonly string[]>())
  const judged = product.components.map(() => 0)
  const reached = new Set<string>()
  let anyBad = false
  const probe = (component: number, id: number): States => {
    const ids = [...(product.initial[0] as readonly number[])]
    ids[component] = id
    return look(ids)
  }
  const local = product.components.map((_, component) => product.properties.filter((property) => property.local === component))

  /** Judges local values that are new since the last call. */
  function judgeNew(): void {
    for (const [component, properties] of local.entries()) {
      const size = (product.components[component] as { size(): number }).size()
      for (let id = judged[component] as number; id < size; id++) {
        const bad: string[] = []
        for (const property of properties) {
          if (property.kind === 'sometimes' && reached.has(property.name)) continue
          const holds = property.holds(probe(component, id))
          if (property.kind === 'always' && !holds) bad.push(property.name)
          else if (property.kind === 'sometimes' && holds) reached.add(property.name)
        }
        if (bad.length > 0) {
          anyBad = true
          ;(localBad[component] as Map<number, readonly string[]>).set(id, bad)
        }
      }
      judged[component] = size
    }
  }

  /** Names of local `always` properties that the state breaks. */
  function brokenBy(ids: ArrayLike<number>): readonly string[] {
    if (!anyBad) return []
    return localBad.flatMap((bad, component) => bad.get(ids[component] as number) ?? [])
  }

  return {
    product,
    outcomes,
    bundles,
    allowed,
    results,
    apply,
    answer,
    work,
    /** Whether the front end was asked for these values already. */
    knows(rule: number, values: readonly number[]): boolean {
      let at: Nested | readonly Compiled[] | undefined = memo[rule]
      for (const value of values) at = (at as Nested | undefined)?.[value] as Nested | undefined
      return (values.length === 0 ? (at as Nested)[0] : at) !== undefined
    },
    askThrough(other: Asking): void {
      asking = other
    },
    judgeNew,
    brokenBy,
    reached,
    /** Whether any local value breaks a property. */
    hasBroken: () => anyBad,
    /** `expansions`: times a front end was asked, once per local combination where states of the whole are millions. */
    counters,
    /** All that was ever asked, for exports: rule, values read, outcomes. */
    *rows(): Generator<{ rule: number; ids: readonly number[]; outcomes: readonly Compiled[] }> {
      for (const [rule, nested] of memo.entries()) {
        const depth = (product.rules[rule] as Rule).reads.length
        yield* walk(rule, nested, depth, [])
      }
    },
    operations: () => results.all(),
  }
}

function inner(at: Nested, id: number): Nested {
  return (at[id] as Nested | undefined) ?? (at[id] = [])
}

function* walk(
  rule: number,
  nested: Nested | readonly Compiled[],
  depth: number,
  ids: readonly number[],
): Generator<{ rule: number; ids: readonly number[]; outcomes: readonly Compiled[] }> {
  if (depth === 0 && ids.length === 0) {
    const only = (nested as Nested)[0] as readonly Compiled[] | undefined
    if (only) yield { rule, ids, outcomes: only }
    return
  }
  for (const [id, below] of (nested as Nested).entries()) {
    if (below === undefined) continue
    if (depth === 1) yield { rule, ids: [...ids, id], outcomes: below as readonly Compiled[] }
    else yield* walk(rule, below as Nested, depth - 1, [...ids, id])
  }
}
