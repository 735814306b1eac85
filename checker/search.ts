/**
 * Exhaustive search of a product. Breadth first finds shortest ways; depth first needs the same memory and finds some way sooner.
 *
 * The inner loop allocates nothing once the tables are warm: it reads outcomes from tables, changes the packed words where components
 * differ, and asks the arena.
 */
import { getHeapStatistics } from 'node:v8'
import { Arena } from './arena.ts'
import { createStates, type Problem, type StepInfo, written } from './product.ts'
import type { Bundle, Compiled, Tables } from './tables.ts'

export type TraceStep = StepInfo & { state: Record<string, unknown> }
/** A way through the product. `cycle`: the index in `steps` from which the rest repeats for ever. */
export type Trace = { initial: Record<string, unknown>; steps: TraceStep[]; cycle?: number }

export type ViolationKind = 'always' | 'sometimes' | 'deadlock' | 'eventually' | 'leadsTo' | 'possible' | Problem['kind']
export type Violation = { property: string; kind: ViolationKind; detail?: string; trace: Trace }

/** Successor lists in the order of states, kept when temporal properties need them. */
export type Edges = { offsets: Int32Array; targets: Int32Array; groups: Uint8Array }

export type SearchOptions = {
  /** Default `breadth`. */
  order?: 'breadth' | 'depth'
  maxStates?: number
  /** Bytes of states and their table; the search stops cleanly before it would need more. */
  maxBytes?: number
  stopAtFirst?: boolean
  keepEdges?: boolean
  /** Replaces a state by the representative of its class (symmetry.ts). */
  canonical?: (ids: Int32Array) => void
  /** The process whose steps alone need to be taken in a state, or -1 (reduce.ts). */
  ample?: (ids: Int32Array) => number
  onProgress?: (states: number, depth: number) => void
}

export type Found = {
  arena: Arena
  states: number
  transitions: number
  depth: number
  complete: boolean
  /** Why it is not complete. */
  stopped: 'states' | 'memory' | 'violation' | null
  violations: Violation[]
  edges: Edges | null
  /** Vector of a state. */
  state(index: number): Int32Array
  trace(index: number, last?: Compiled): Trace
}

const progressEvery = 50_000

/** Local values are objects, and a search of one actor has as many of them as states: they end a process before any typed array does. */
const heapEvery = 1_000
const heapShare = 0.85
const isHeapFull = (): boolean => {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
  return used > heapShare * limit
}

export function search(tables: Tables, options: SearchOptions = {}): Found {
  const { product, allowed, bundles, next } = tables
  const { maxStates = 100_000_000, maxBytes = Number.POSITIVE_INFINITY, canonical, ample } = options
  const depthFirst = options.order === 'depth'
  const count = product.components.length
  const arena = new Arena(count)
  const sizes = (): number[] => product.components.map((component) => component.size())
  let known = sizes()
  let seen = -1
  const ids = new Int32Array(count)
  const after = new Int32Array(count)
  let packed = new Int32Array(1)
  let base = new Int32Array(1)
  const { look } = createStates(product)
  const global = product.properties.filter((property) => property.local === undefined)
  const violations: Violation[] = []
  const broken = new Set<string>()
  const edges = options.keepEdges ? createEdges() : null
  let transitions = 0
  let stopped: Found['stopped'] = null

  const violate = (kind: ViolationKind, property: string, trace: () => Trace, detail?: string): void => {
    if (broken.has(property)) return
    broken.add(property)
    violations.push({ kind, property, trace: trace(), ...(detail ? { detail } : {}) })
    if (options.stopAtFirst) stopped = 'violation'
  }
  const found: Found = {
    arena,
    get states() {
      return arena.count
    },
    get transitions() {
      return transitions
    },
    depth: 0,
    complete: false,
    get stopped() {
      return stopped
    },
    violations,
    edges: null,
    state(index) {
      const vector = new Int32Array(count)
      arena.unpack(index, vector)
      return vector
    },
    trace: (index: number, last?: Compiled) => traceTo(tables, arena, index, canonical, last),
  }

  /** After a front end was asked, values may need more bits than they had. */
  function adjust(): void {
    seen = tables.counters.misses
    let grown = false
    for (let i = 0; i < count; i++) if ((product.components[i] as { size(): number }).size() !== known[i]) grown = true
    if (!grown) return
    known = sizes()
    arena.fit(known)
    for (const bundle of bundles) bundle.fit()
    tables.judgeNew()
    if (packed.length !== arena.width) {
      packed = new Int32Array(arena.width)
      base = new Int32Array(arena.width)
    }
    arena.pack(ids, base)
  }

  function judge(index: number, vector: Int32Array): void {
    if (tables.hasBroken()) for (const name of tables.brokenBy(vector)) violate('always', name, () => found.trace(index))
    if (global.length === 0) return
    const state = look(vector)
    for (const property of global) {
      if (property.kind === 'always') {
        if (!property.holds(state)) violate('always', property.name, () => found.trace(index))
      } else if (!tables.reached.has(property.name) && property.holds(state)) tables.reached.add(property.name)
    }
  }

  /** Writes the successor into `packed`. False when an operation had no way to happen. */
  function change(compiled: Compiled): boolean {
    if (compiled.layout !== arena.layout) layDown(compiled, arena)
    const { delta, operations } = compiled
    for (let i = 0; i < delta.length; i++) packed[i] = (base[i] as number) ^ (delta[i] as number)
    if (operations.length === 0) return true
    let possible = true
    for (let i = 0; i < operations.length; i += 4) {
      let component = operations[i] as number
      let value = next(component, after[component] as number, operations[i + 1] as number)
      if (value < 0 && (operations[i + 2] as number) >= 0) {
        component = operations[i + 2] as number
        value = next(component, after[component] as number, operations[i + 3] as number)
      }
      if (value < 0) {
        possible = false
        break
      }
      after[component] = value
    }
    const { touched } = compiled
    if (possible && seen !== tables.counters.misses) {
      // New values may have changed the layout: pack what was worked out.
      const { writes } = compiled
      for (let i = 0; i < writes.length; i += 2) after[writes[i] as number] = writes[i + 1] as number
      adjust()
      arena.pack(after, packed)
    } else if (possible)
      for (let i = 0; i < operations.length; i += 2) {
        const component = operations[i] as number
        if (component < 0) continue
        const bits = (ids[component] as number) ^ (after[component] as number)
        const word = arena.word[component] as number
        packed[word] = (packed[word] as number) ^ (bits << (arena.shift[component] as number))
        after[component] = ids[component] as number
      }
    for (let i = 0; i < touched.length; i++) after[touched[i] as number] = ids[touched[i] as number] as number
    return possible
  }

  const crossing = product.transitions && product.transitions.length > 0
  const { look: lookAfter } = createStates(product)
  function judgeStep(at: number, compiled: Compiled): void {
    const reached = ids.slice()
    if (!tables.apply(compiled, reached)) return
    const before = look(ids)
    const then = lookAfter(reached)
    for (const { name, holds } of product.transitions ?? [])
      if (!broken.has(name) && !holds(before, compiled.outcome.info, then)) violate('steps', name, () => found.trace(at, compiled))
  }

  const judging = global.length > 0 || product.properties.length > 0
  tables.judgeNew()
  arena.fit(known)
  packed = new Int32Array(arena.width)
  base = new Int32Array(arena.width)
  const stack: number[] = []
  for (const vector of product.initial) {
    after.set(vector)
    canonical?.(after)
    adjust()
    arena.pack(after, packed)
    const index = arena.add(packed, -1)
    if (index < 0) continue
    judge(index, after)
    stack.push(index)
  }
  stack.reverse()

  let levelEnd = arena.count
  let sinceProgress = 0
  let sinceHeap = 0

  let expanded = 0
  while (stopped === null) {
    let at: number
    if (depthFirst) {
      const top = stack.pop()
      if (top === undefined) break
      at = top
    } else {
      if (expanded === arena.count) break
      if (expanded === levelEnd) {
        found.depth++
        levelEnd = arena.count
      }
      at = expanded
    }
    if (arena.count >= maxStates) {
      stopped = 'states'
      break
    }
    if (arena.bytes > maxBytes || (++sinceHeap === heapEvery && isHeapFull())) {
      stopped = 'memory'
      break
    }
    if (sinceHeap === heapEvery) sinceHeap = 0
    if (++sinceProgress === progressEvery) {
      sinceProgress = 0
      options.onProgress?.(arena.count, found.depth)
    }
    expanded++
    arena.unpack(at, ids)
    after.set(ids)
    for (let i = 0; i < base.length; i++) base[i] = arena.words[at * base.length + i] as number
    let successors = 0
    const only = ample ? ample(ids) : -1
    let isNew = false
    for (let pass = 0; pass < (only < 0 ? 1 : 2); pass++) {
      // The cycle proviso: a chosen process that leads nowhere new is not enough.
      if (pass === 1 && isNew) break
      for (let b = 0; b < bundles.length; b++) {
        const bundle = bundles[b] as Bundle
        if (only >= 0 && (bundle.process === only) !== (pass === 0)) continue
        const list = allowed(bundle, ids)
        for (let k = 0; k < list.length; k++) {
          const compiled = list[k] as Compiled
          if (compiled.broken) {
            const { kind, property, detail } = compiled.outcome.problem as Problem
            violate(kind, property, () => found.trace(at, compiled), detail)
            if (compiled.outcome.dead) {
              successors++
              transitions++
              continue
            }
          }
          let index: number
          if (compiled.idle) {
            transitions++
            successors++
            edges?.add(at, compiled.group)
            continue
          }
          if (canonical || compiled.replaces === null) {
            if (!tables.apply(compiled, after)) continue
            canonical?.(after)
            if (canonical || seen !== tables.counters.misses) adjust()
            arena.pack(after, packed)
            after.set(ids)
            index = arena.add(packed, at)
          } else {
            if (seen !== tables.counters.misses) adjust()
            if (arena.width <= 2 && compiled.operations.length === 0) {
              if (compiled.layout !== arena.layout) layDown(compiled, arena)
              index = arena.addPair((base[0] as number) ^ compiled.first, arena.width === 2 ? (base[1] as number) ^ compiled.second : 0, at)
            } else {
              if (!change(compiled)) continue
              index = arena.add(packed, at)
            }
          }
          transitions++
          successors++
          if (crossing) judgeStep(at, compiled)
          if (index >= 0) {
            if (judging) {
              if (canonical) arena.unpack(index, after)
              else tables.follow(compiled, after)
              judge(index, after)
              after.set(ids)
            }
            isNew = true
            if (depthFirst) stack.push(index)
          }
          edges?.add(index >= 0 ? index : -1 - index, compiled.group)
        }
      }
    }
    if (successors === 0 && product.mayEnd && !product.mayEnd(look(ids)))
      violate('deadlock', 'no deadlock', () => found.trace(at), 'nothing can happen any more')
    edges?.end()
  }
  if (edges) found.edges = edges.finish()
  found.complete = stopped === null
  if (found.complete)
    for (const property of product.properties)
      if (property.kind === 'sometimes' && !tables.reached.has(property.name))
        violate('sometimes', property.name, () => ({ initial: {}, steps: [] }), 'no state satisfies it')
  return found
}

/** The bits by which an outcome changes a state, in the arena's present layout. */
function layDown(compiled: Compiled, arena: Arena): void {
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

/** The way the search went to a state, with what happened on it found again from the tables. */
function traceTo(tables: Tables, arena: Arena, index: number, canonical: SearchOptions['canonical'], last?: Compiled): Trace {
  const path: number[] = []
  for (let at = index; at >= 0; at = arena.parents[at] as number) path.unshift(at)
  return traceAlong(tables, arena, path, canonical, last)
}

/** A trace along states that follow one another. With a canonical form the way is one that can really be gone, not one of representatives. */
export function traceAlong(
  tables: Tables,
  arena: Arena,
  path: readonly number[],
  canonical?: SearchOptions['canonical'],
  last?: Compiled,
  groups?: readonly number[],
): Trace {
  const { product } = tables
  const components = product.components.length
  const wanted = new Int32Array(components)
  arena.unpack(path[0] as number, wanted)
  let real: Int32Array = wanted.slice()
  if (canonical)
    for (const vector of product.initial) {
      const form = Int32Array.from(vector)
      canonical(form)
      if (form.every((id, i) => id === wanted[i])) real = Int32Array.from(vector)
    }
  const trace: Trace = { initial: written(product, real), steps: [] }
  for (const [position, index] of path.slice(1).entries()) {
    arena.unpack(index, wanted)
    const taken = stepTo(tables, real, wanted, canonical, groups?.[position])
    if (!taken) throw new Error('a state on the way has no step to the next one')
    real = taken.after
    trace.steps.push({ ...taken.compiled.outcome.info, state: written(product, real) })
  }
  if (last) {
    const vector = real.slice()
    tables.apply(last, vector)
    trace.steps.push({ ...last.outcome.info, state: written(product, last.outcome.dead ? real : vector) })
  }
  return trace
}

function stepTo(
  tables: Tables,
  from: Int32Array,
  wanted: Int32Array,
  canonical: SearchOptions['canonical'],
  group?: number,
): { compiled: Compiled; after: Int32Array } | null {
  for (let rule = 0; rule < tables.product.rules.length; rule++)
    for (const compiled of tables.outcomes(rule, from)) {
      if (compiled.outcome.dead || (group !== undefined && compiled.group !== group)) continue
      const after = from.slice()
      if (!tables.apply(compiled, after)) continue
      const form = after.slice()
      canonical?.(form)
      if (form.every((id, i) => id === wanted[i])) return { compiled, after }
    }
  return null
}

function createEdges() {
  let targets = new Int32Array(1 << 12)
  let groups = new Uint8Array(1 << 12)
  let offsets = new Int32Array(1 << 10)
  let count = 0
  let states = 0
  return {
    add(target: number, group: number): void {
      if (count === targets.length) {
        const wider = new Int32Array(count * 2)
        wider.set(targets)
        targets = wider
        const more = new Uint8Array(count * 2)
        more.set(groups)
        groups = more
      }
      targets[count] = target
      groups[count++] = group
    },
    end(): void {
      if (states + 2 > offsets.length) {
        const wider = new Int32Array(offsets.length * 2)
        wider.set(offsets)
        offsets = wider
      }
      offsets[++states] = count
    },
    finish: (): Edges => ({
      offsets: offsets.subarray(0, states + 1),
      targets: targets.subarray(0, count),
      groups: groups.subarray(0, count),
    }),
  }
}
