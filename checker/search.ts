/**
 * Exhaustive search of a product. Breadth first finds shortest ways; depth first needs the same memory and finds some way sooner.
 *
 * The inner loop allocates nothing once the tables are warm: it reads outcomes from tables, changes the packed words where components
 * differ, and asks the arena.
 */
import { getHeapStatistics } from 'node:v8'
import { Arena, hashPair } from './arena.ts'
import { createEdges, type Edges } from './edges.ts'
import { Flat, header, layDown, stride } from './flat.ts'
import { createJudge } from './judge.ts'
import { createStates, type Problem } from './product.ts'
import type { Bundle, Compiled, Tables } from './tables.ts'
import { type Canonical, type Trace, traceTo, type Violation, type ViolationKind } from './trace.ts'

export type SearchOptions = {
  /** Default `breadth`. */
  order?: 'breadth' | 'depth'
  maxStates?: number
  /** Bytes of states and their table; the search stops cleanly before it would need more. */
  maxBytes?: number
  stopAtFirst?: boolean
  keepEdges?: boolean
  /** Replaces a state by the representative of its class (symmetry.ts). */
  canonical?: Canonical
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
  const asked = createJudge(product, tables.reached)
  const flat = new Flat()
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
    asked.judge(vector, (name) => violate('always', name, () => found.trace(index)))
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

  /** Where the search is, and what it found there so far. */
  let from = -1
  let successors = 0
  let isNew = false
  /** Whether outcomes may be taken as numbers: nobody looks at the step itself. */
  const short = !canonical && !crossing
  const stack: number[] = []
  let hashes = new Int32Array(64)
  /** Kept so that looking at the table ahead of time is not optimised away. */
  let touched = 0

  function arrive(index: number, compiled: Compiled): void {
    isNew = true
    if (depthFirst) stack.push(index)
    if (canonical) arena.unpack(index, after)
    else if (tables.hasBroken() || asked.concerns(compiled.touched)) tables.follow(compiled, after)
    else return
    judge(index, after)
    after.set(ids)
  }

  /** Everything a list allows, by its code. */
  function takeList(bundle: Bundle, list: number): void {
    const place = flat.at(bundle, list, arena)
    const { code } = flat
    const n = code[place] as number
    const { layout } = arena
    const first = base[0] as number
    const second = arena.width === 2 ? (base[1] as number) : 0
    if (hashes.length < n) hashes = new Int32Array(2 * n)
    for (let k = 0; k < n; k++) {
      const at = place + header + stride * k
      const hash = hashPair(first ^ (code[at] as number), second ^ (code[at + 1] as number))
      hashes[k] = hash
      touched |= arena.touch(hash)
    }
    for (let k = 0; k < n; k++) {
      const at = place + header + stride * k
      const number = code[at + 2] as number
      if (number >= 0) {
        const index = arena.addHashed(first ^ (code[at] as number), second ^ (code[at + 1] as number), hashes[k] as number, from)
        transitions++
        successors++
        if (index >= 0) arrive(index, flat.outcomes[number] as Compiled)
        edges?.add(index >= 0 ? index : -1 - index, (flat.outcomes[number] as Compiled).group)
        continue
      }
      take(flat.outcomes[-1 - number] as Compiled)
      if (arena.layout === layout) continue
      // New values made all codes mean something else: the rest is taken from the outcomes themselves.
      for (k++; k < n; k++) take((bundle.lists[list] as readonly Compiled[])[k] as Compiled)
      return
    }
  }

  function take(compiled: Compiled): void {
    if (compiled.broken) {
      const { kind, property, detail } = compiled.outcome.problem as Problem
      const at = from
      violate(kind, property, () => found.trace(at, compiled), detail)
      if (compiled.outcome.dead) {
        successors++
        transitions++
        return
      }
    }
    if (compiled.idle) {
      transitions++
      successors++
      edges?.add(from, compiled.group)
      return
    }
    if (canonical || compiled.replaces === null) {
      if (!tables.apply(compiled, after)) return
      canonical?.(after)
      if (canonical || seen !== tables.counters.misses) adjust()
      arena.pack(after, packed)
      after.set(ids)
    } else if (!change(compiled)) return
    const index = arena.add(packed, from)
    transitions++
    successors++
    if (crossing) judgeStep(from, compiled)
    if (index >= 0) arrive(index, compiled)
    edges?.add(index >= 0 ? index : -1 - index, compiled.group)
  }

  tables.judgeNew()
  arena.fit(known)
  packed = new Int32Array(arena.width)
  base = new Int32Array(arena.width)
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
    if (seen !== tables.counters.misses) adjust()
    arena.unpack(at, ids)
    after.set(ids)
    for (let i = 0; i < base.length; i++) base[i] = arena.words[at * base.length + i] as number
    from = at
    successors = 0
    isNew = false
    const only = ample ? ample(ids) : -1
    for (let pass = 0; pass < (only < 0 ? 1 : 2); pass++) {
      // The cycle proviso: a chosen process that leads nowhere new is not enough.
      if (pass === 1 && isNew) break
      for (let b = 0; b < bundles.length; b++) {
        const bundle = bundles[b] as Bundle
        if (only >= 0 && (bundle.process === only) !== (pass === 0)) continue
        const list = short ? bundle.slots[bundle.key(ids)] : 0
        if (list !== undefined && list > 0) takeList(bundle, list)
        else {
          const outcomes = allowed(bundle, ids)
          if (seen !== tables.counters.misses) adjust()
          for (let k = 0; k < outcomes.length; k++) take(outcomes[k] as Compiled)
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
