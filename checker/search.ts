/**
 * Exhaustive search of a product. Breadth first finds shortest ways; depth first needs the same memory and finds some way sooner.
 *
 * Once the tables know all that may happen in a state, its successors are worked out in packed words (sweep.ts); until then the careful way.
 */
import { getHeapStatistics } from 'node:v8'
import { Arena } from './arena.ts'
import { createEdges, type Edges } from './edges.ts'
import { createJudge } from './judge.ts'
import { createStates, type Problem } from './product.ts'
import { Sweep } from './sweep.ts'
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
  const { product, allowed, bundles } = tables
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
  const { look } = createStates(product)
  const asked = createJudge(product, tables.reached, arena)
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
    asked.fit()
    if (packed.length !== arena.width) packed = new Int32Array(arena.width)
  }

  function judge(index: number): void {
    judging = index
    if (tables.hasBroken()) for (const name of tables.brokenBy(found.state(index))) brokeNow(name)
    asked.judge(index, brokeNow)
  }
  let judging = -1
  function brokeNow(name: string): void {
    const index = judging
    violate('always', name, () => found.trace(index))
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
  const stack: number[] = []
  /** Null when somebody looks at every step itself. */
  const sweep = canonical || crossing || ample ? null : new Sweep(tables, arena, edges !== null)
  /** By outcome: 1 when its step may change what a property says, 2 when not, 0 when that was not asked; as of `concernsAsOf`. */
  let concerns = new Uint8Array(64)
  let concernsAsOf = -1

  function arrive(index: number, compiled: Compiled): void {
    isNew = true
    if (depthFirst) stack.push(index)
    if (canonical || tables.hasBroken() || asked.concerns(compiled.touched)) judge(index)
  }

  /** All successors of a state, where the tables know them. */
  function sweepOf(at: number, from: Sweep): boolean {
    if (!from.of(at)) return false
    const { count: n, outcomes, flat } = from
    for (let k = 0; k < n; k++) {
      const index = from.add(k, at)
      const outcome = outcomes[k] as number
      if (index >= 0) {
        if (depthFirst) stack.push(index)
        if (concernsNow(outcome, flat.outcomes) || tables.hasBroken()) judge(index)
      }
      edges?.add(index >= 0 ? index : -1 - index, (flat.outcomes[outcome] as Compiled).group)
    }
    transitions += n + from.idle
    successors = n + from.idle
    return true
  }

  function concernsNow(outcome: number, outcomes: readonly Compiled[]): boolean {
    if (concernsAsOf !== asked.version || outcome >= concerns.length) {
      concernsAsOf = asked.version
      concerns = new Uint8Array(2 * outcomes.length)
    }
    const known = concerns[outcome] as number
    if (known !== 0) return known === 1
    const answer = asked.concerns((outcomes[outcome] as Compiled).touched)
    concerns[outcome] = answer ? 1 : 2
    return answer
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
    if (!tables.apply(compiled, after)) return
    canonical?.(after)
    if (canonical || seen !== tables.counters.misses) adjust()
    arena.pack(after, packed)
    after.set(ids)
    const index = arena.add(packed, from)
    transitions++
    successors++
    if (crossing) judgeStep(from, compiled)
    if (index >= 0) arrive(index, compiled)
    edges?.add(index >= 0 ? index : -1 - index, compiled.group)
  }

  /** All successors of a state, from outcomes as the tables have them or the front end gives them now. */
  function careful(at: number): void {
    arena.unpack(at, ids)
    after.set(ids)
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
        const outcomes = allowed(bundle, ids)
        if (seen !== tables.counters.misses) adjust()
        for (let k = 0; k < outcomes.length; k++) take(outcomes[k] as Compiled)
      }
    }
  }

  tables.judgeNew()
  arena.fit(known)
  packed = new Int32Array(arena.width)
  for (const vector of product.initial) {
    after.set(vector)
    canonical?.(after)
    adjust()
    arena.pack(after, packed)
    const index = arena.add(packed, -1)
    if (index < 0) continue
    judge(index)
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
    if (!sweep || !sweepOf(at, sweep)) careful(at)
    if (successors === 0 && product.mayEnd && !product.mayEnd(look(found.state(at))))
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
