/**
 * Beyond exhaustive: random walks, and a search that keeps bits instead of states. Neither proves anything, and both say how much they are
 * likely to have missed.
 */
import { createStates, type States } from './product.ts'
import type { Trace, Violation, ViolationKind } from './trace.ts'
import { written } from './product.ts'
import type { Compiled, Tables } from './tables.ts'

/** A generator of numbers in [0, 1) that gives the same walk for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Watch = { judge(ids: Int32Array, trace: () => Trace): void; violations: Violation[] }

function watcher(tables: Tables): Watch {
  const { product } = tables
  const { look } = createStates(product)
  const violations: Violation[] = []
  const broken = new Set<string>()
  const violate = (kind: ViolationKind, property: string, trace: Trace): void => {
    broken.add(property)
    violations.push({ kind, property, trace })
  }
  return {
    violations,
    judge(ids, trace) {
      tables.judgeNew()
      for (const name of tables.brokenBy(ids)) if (!broken.has(name)) violate('always', name, trace())
      let state: States | null = null
      for (const property of product.properties) {
        if (property.local !== undefined) continue
        state ??= look(ids)
        if (property.kind === 'always') {
          if (!broken.has(property.name) && !property.holds(state)) violate('always', property.name, trace())
        } else if (!tables.reached.has(property.name) && property.holds(state)) tables.reached.add(property.name)
      }
    },
  }
}

function enabled(tables: Tables, ids: Int32Array): { compiled: Compiled; after: Int32Array }[] {
  const steps: { compiled: Compiled; after: Int32Array }[] = []
  for (const bundle of tables.bundles)
    for (const compiled of tables.allowed(bundle, ids)) {
      if (compiled.outcome.dead) continue
      const after = ids.slice()
      if (tables.apply(compiled, after)) steps.push({ compiled, after })
    }
  return steps
}

export type Simulated = {
  walks: number
  steps: number
  /** Distinct states seen. */
  states: number
  /**
   * Good's estimate of the chance that the next step of such a walk sees a state none has seen: states seen exactly once / steps. High means
   * that the walks have seen little of what they can.
   */
  unseen: number
  /** Local transitions taken at least once, of those known. */
  covered: { taken: number; known: number }
  violations: Violation[]
}

/** Random walks of at most `depth` steps from initial states. */
export function simulate(tables: Tables, { walks, depth, seed }: { walks: number; depth: number; seed: number }): Simulated {
  const { product } = tables
  const random = seeded(seed)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const seen = new Map<string, number>()
  const taken = new Set<Compiled>()
  const known = new Set<Compiled>()
  const watch = watcher(tables)
  let steps = 0
  for (let walk = 0; walk < walks; walk++) {
    let ids: Int32Array = Int32Array.from(pick(product.initial))
    const path: { compiled: Compiled; after: Int32Array }[] = []
    const initial = ids
    const trace = (): Trace => ({
      initial: written(product, initial),
      steps: path.map(({ compiled, after }) => ({ ...compiled.outcome.info, state: written(product, after) })),
    })
    for (let step = 0; ; step++) {
      const key = ids.join()
      seen.set(key, (seen.get(key) ?? 0) + 1)
      watch.judge(ids, trace)
      if (step === depth) break
      const choices = enabled(tables, ids)
      for (const { compiled } of choices) known.add(compiled)
      if (choices.length === 0) break
      const chosen = pick(choices)
      taken.add(chosen.compiled)
      path.push(chosen)
      ids = chosen.after
      steps++
    }
  }
  let once = 0
  for (const count of seen.values()) if (count === 1) once++
  return {
    walks,
    steps,
    states: seen.size,
    unseen: steps === 0 ? 1 : once / (steps + walks),
    covered: { taken: taken.size, known: known.size },
    violations: watch.violations,
  }
}

export type Bitstate = {
  /** States the filter took for new: at most as many as there are. */
  states: number
  transitions: number
  /** Chance, at the end, that a new state is taken for one seen before: the share of set bits to the power of the hash functions. */
  omission: number
  complete: boolean
  violations: Violation[]
}

const hashes = 3

/** Depth first with three bits a state (Holzmann's bitstate). `mebibytes`: of bits. */
export function bitstate(tables: Tables, { mebibytes, maxDepth = 1_000_000 }: { mebibytes: number; maxDepth?: number }): Bitstate {
  const { product } = tables
  const bits = mebibytes * 2 ** 23
  const filter = new Int32Array(bits / 32)
  const watch = watcher(tables)
  let set = 0
  /** True when at least one bit was new. */
  const mark = (ids: Int32Array): boolean => {
    let fresh = false
    for (let k = 0; k < hashes; k++) {
      const bit = hash(ids, 0x9e3779b9 * (k + 1)) % bits
      const word = Math.floor(bit / 32)
      const mask = 1 << (bit % 32)
      if (((filter[word] as number) & mask) === 0) {
        filter[word] = (filter[word] as number) | mask
        set++
        fresh = true
      }
    }
    return fresh
  }
  let states = 0
  let transitions = 0
  let complete = true
  const path: { compiled: Compiled | null; ids: Int32Array; rest: { compiled: Compiled; after: Int32Array }[] }[] = []
  const trace = (): Trace => ({
    initial: written(product, (path[0] as { ids: Int32Array }).ids),
    steps: path.slice(1).map(({ compiled, ids }) => ({ ...(compiled as Compiled).outcome.info, state: written(product, ids) })),
  })
  const enter = (compiled: Compiled | null, ids: Int32Array): void => {
    if (!mark(ids)) return
    if (path.length >= maxDepth) {
      complete = false
      return
    }
    states++
    path.push({ compiled, ids, rest: enabled(tables, ids) })
    watch.judge(ids, trace)
  }
  for (const vector of product.initial) {
    enter(null, Int32Array.from(vector))
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const next = top.rest.pop()
      if (!next) path.pop()
      else {
        transitions++
        enter(next.compiled, next.after)
      }
    }
  }
  return { states, transitions, omission: (set / bits) ** hashes, complete, violations: watch.violations }
}

function hash(ids: Int32Array, seed: number): number {
  let h = seed | 0
  for (let i = 0; i < ids.length; i++) {
    h = Math.imul(h ^ (ids[i] as number), 0x85ebca6b)
    h ^= h >>> 13
    h = Math.imul(h, 0xc2b2ae35)
    h ^= h >>> 16
  }
  return h >>> 0
}
