/** Exhaustive search of a product. Breadth first finds shortest ways; depth first needs the same memory and finds some way sooner. */
import { getHeapStatistics } from 'node:v8'
import { Arena } from './arena.ts'
import type { Edges } from './edges.ts'
import { Expansion, type ExpansionOptions } from './expansion.ts'
import type { Compiled, Tables } from './tables.ts'
import { type Trace, traceTo, type Violation } from './trace.ts'

export type SearchOptions = Pick<ExpansionOptions, 'keepEdges' | 'canonical' | 'ample'> & {
  /** Default `breadth`. */
  order?: 'breadth' | 'depth'
  maxStates?: number
  /** Bytes of states and their table; the search stops cleanly before it would need more. */
  maxBytes?: number
  stopAtFirst?: boolean
  onProgress?: (states: number, depth: number) => void
}

/** Why a search did not see everything. */
export type Stopped = 'states' | 'memory' | 'violation'
export type Found = {
  arena: Arena
  states: number
  transitions: number
  depth: number
  complete: boolean
  /** Why it is not complete. */
  stopped: Stopped | null
  violations: Violation[]
  edges: Edges | null
  /** Vector of a state. */
  state(index: number): Int32Array
  trace(index: number, last?: Compiled): Trace
}

export const defaultMaxStates = 100_000_000
const progressEvery = 50_000

/** Local values are objects, and a search of one actor has as many of them as states: they end a process before any typed array does. */
const heapEvery = 1_000
const heapShare = 0.85
export function isHeapFull(): boolean {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
  return used > heapShare * limit
}

export function search(tables: Tables, options: SearchOptions = {}): Found {
  const { maxStates = defaultMaxStates, maxBytes = Number.POSITIVE_INFINITY, canonical } = options
  const stack: number[] | null = options.order === 'depth' ? [] : null
  const arena = new Arena(tables.product.components.length)
  const expansion = new Expansion(tables, arena, { ...options, ...(stack ? { onNew: (index: number) => stack.push(index) } : {}) })
  const { sightings } = expansion
  expansion.start()
  stack?.reverse()

  let stopped: Stopped | null = null
  let depth = 0
  let levelEnd = arena.count
  let sinceProgress = 0
  let sinceHeap = 0
  let expanded = 0
  for (;;) {
    if (options.stopAtFirst && sightings.length > 0) stopped = 'violation'
    else if (stack ? stack.length === 0 : expanded === arena.count) break
    else if (arena.count >= maxStates) stopped = 'states'
    else if (arena.bytes > maxBytes || (sinceHeap >= heapEvery && isHeapFull())) stopped = 'memory'
    if (stopped !== null) break
    const at = stack ? (stack.pop() as number) : expanded
    if (!stack && expanded === levelEnd) {
      depth++
      levelEnd = arena.count
    }
    const took = expansion.expand(at, stack ? at + 1 : levelEnd) - at
    expanded += took
    sinceHeap = sinceHeap >= heapEvery ? 0 : sinceHeap + took
    sinceProgress += took
    if (sinceProgress >= progressEvery) {
      sinceProgress = 0
      options.onProgress?.(arena.count, depth)
    }
  }
  const trace = (index: number, last?: Compiled): Trace => traceTo(tables, arena, index, canonical, last)
  return {
    arena,
    states: arena.count,
    transitions: expansion.transitions,
    depth,
    complete: stopped === null,
    stopped,
    violations: [
      ...sightings.map(
        ({ kind, property, at, last, detail }): Violation => ({ kind, property, trace: trace(at, last), ...(detail ? { detail } : {}) }),
      ),
      ...(stopped === null ? unreached(tables) : []),
    ],
    edges: expansion.edges?.finish() ?? null,
    state(index) {
      const vector = new Int32Array(tables.product.components.length)
      arena.unpack(index, vector)
      return vector
    },
    trace,
  }
}

/** What was to be reached and was not, once everything was seen. */
export function unreached({ product, reached }: Tables): Violation[] {
  return product.properties
    .filter(({ kind, name }) => kind === 'sometimes' && !reached.has(name))
    .map(({ name }) => ({ kind: 'sometimes', property: name, trace: { initial: {}, steps: [] }, detail: 'no state satisfies it' }))
}
