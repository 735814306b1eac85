/**
 * Temporal properties over the graph of states, under fairness: is there a way that goes on for ever, is fair, and never reaches the goal?
 *
 * Such a way ends up within one strongly connected part of the states outside the goal. A part is fair when each weakly fair group takes a
 * step in it or is somewhere in it not able to, and each strongly fair group takes a step in it or is nowhere in it able to (if it is able
 * somewhere without stepping, the part without those states is looked into). A state in which nothing fair can happen may be stayed in for
 * ever, and so counts as a part by itself. A step that changes nothing is not a step, as in TLA.
 */
import { createStates, type TemporalProperty } from './product.ts'
import type { Edges } from './edges.ts'
import type { Found } from './search.ts'
import { type Trace, traceAlong, vectorsOf, type Violation } from './trace.ts'
import type { Tables } from './tables.ts'

/** `vacuous`: it holds for want of cases; what would have to be led on from, or could be lost, never comes up. */
export type TemporalResult = { name: string; kind: TemporalProperty['kind']; held: boolean; vacuous?: true }

/** @param found of a search with `keepEdges` that was complete */
export function temporal(tables: Tables, found: Found): { results: TemporalResult[]; violations: Violation[] } {
  const { product } = tables
  const results: TemporalResult[] = []
  const violations: Violation[] = []
  if (product.temporal.length === 0) return { results, violations }
  const { edges } = found
  if (!edges) throw new Error('temporal properties need the edges of the search')
  const graph = new Graph(tables, found, edges)
  for (const property of product.temporal) {
    const { trace, cases } = property.kind === 'possible' ? graph.lost(property.holds) : graph.avoids(property)
    results.push({ name: property.name, kind: property.kind, held: trace === null, ...(cases === 0 ? { vacuous: true as const } : {}) })
    if (trace) violations.push({ property: property.name, kind: property.kind, trace, detail: detailOf(property, trace) })
  }
  return { results, violations }
}

function detailOf(property: TemporalProperty, trace: Trace): string {
  if (property.kind === 'possible') return 'from the last state no way leads to it any more'
  const repeats = trace.cycle === undefined ? 0 : trace.steps.length - trace.cycle
  return repeats === 0 ? 'everything may stay as in the last state for ever' : `the last ${repeats} step(s) repeat for ever`
}

/** `cases`: states from which the goal has yet to be reached. */
type Answer = { trace: Trace | null; cases: number }

class Graph {
  readonly #tables: Tables
  readonly #found: Found
  readonly #edges: Edges

  constructor(tables: Tables, found: Found, edges: Edges) {
    this.#tables = tables
    this.#found = found
    this.#edges = edges
  }

  #label(holds: (state: object) => boolean): Uint8Array {
    const { look } = createStates(this.#tables.product)
    const marks = new Uint8Array(this.#found.states)
    const ids = new Int32Array(this.#tables.product.components.length)
    for (let at = 0; at < marks.length; at++) {
      this.#found.arena.unpack(at, ids)
      marks[at] = holds(look(ids)) ? 1 : 0
    }
    return marks
  }

  /** A shortest way to a state from which no state that holds can be reached. */
  lost(holds: (state: never) => boolean): Answer {
    const { offsets, targets } = this.#edges
    const count = this.#found.states
    const reaches = this.#label(holds as never)
    // Backwards: predecessors in one list, grouped by target.
    const starts = new Int32Array(count + 1)
    for (const target of targets) starts[target + 1] = (starts[target + 1] as number) + 1
    for (let i = 0; i < count; i++) starts[i + 1] = (starts[i + 1] as number) + (starts[i] as number)
    const sources = new Int32Array(targets.length)
    const fill = starts.slice()
    for (let from = 0; from < count; from++)
      for (let e = offsets[from] as number; e < (offsets[from + 1] as number); e++) {
        const target = targets[e] as number
        sources[fill[target] as number] = from
        fill[target] = (fill[target] as number) + 1
      }
    const queue: number[] = []
    for (let at = 0; at < count; at++) if (reaches[at] === 1) queue.push(at)
    const cases = count - queue.length
    for (let next = queue.pop(); next !== undefined; next = queue.pop())
      for (let e = starts[next] as number; e < (starts[next + 1] as number); e++) {
        const source = sources[e] as number
        if (reaches[source] === 0) {
          reaches[source] = 1
          queue.push(source)
        }
      }
    const bad = reaches.indexOf(0)
    return { trace: bad < 0 ? null : this.#found.trace(bad), cases }
  }

  /** A fair way on which the goal is never reached (after `from`, for leads-to). */
  avoids(property: Exclude<TemporalProperty, { kind: 'possible' }>): Answer {
    const goal = this.#label((property.kind === 'leadsTo' ? property.to : property.holds) as never)
    const count = this.#found.states
    const { arena } = this.#found
    const inside = new Uint8Array(count)
    const parent = new Int32Array(count).fill(-1)
    const queue: number[] = []
    const enter = (at: number, from: number): void => {
      if (inside[at] === 1 || goal[at] === 1) return
      inside[at] = 1
      parent[at] = from
      queue.push(at)
    }
    if (property.kind === 'leadsTo') {
      const from = this.#label(property.from as never)
      for (let at = 0; at < count; at++) if (from[at] === 1) enter(at, -1)
    } else for (let at = 0; at < count && (arena.parents[at] as number) < 0; at++) enter(at, -1)
    const cases = queue.length
    const { offsets, targets } = this.#edges
    for (let head = 0; head < queue.length; head++) {
      const at = queue[head] as number
      for (let e = offsets[at] as number; e < (offsets[at + 1] as number); e++) enter(targets[e] as number, at)
    }
    // Parts are judged in the order in which they can be reached: the first fair one gives a short way.
    const part = this.#fairPart(Int32Array.from(queue), inside)
    if (!part) return { trace: null, cases }
    const first = part.reduce((least, at) => (queue.indexOf(at) < queue.indexOf(least) ? at : least), part[0] as number)
    const way: number[] = []
    for (let at = first; at >= 0; at = parent[at] as number) way.unshift(at)
    const prefix: number[] = []
    for (let at = arena.parents[way[0] as number] as number; at >= 0; at = arena.parents[at] as number) prefix.unshift(at)
    const path = [...prefix, ...way]
    const { states: round, groups } = this.#round(part, first)
    const trace = traceAlong(this.#tables, vectorsOf(arena, [...path, ...round]), undefined, undefined, [
      ...path.slice(1).map(() => undefined as never),
      ...groups,
    ])
    trace.cycle = path.length - 1
    return { trace, cases }
  }

  /** States of a fair strongly connected part within `inside`, or null. */
  #fairPart(order: Int32Array, inside: Uint8Array): number[] | null {
    const pending: { states: Int32Array; inside: Uint8Array }[] = [{ states: order, inside }]
    for (let next = pending.pop(); next; next = pending.pop()) {
      for (const part of this.#parts(next.states, next.inside)) {
        const verdict = this.#judge(part)
        if (verdict === 'fair') return part
        if (verdict !== 'unfair') {
          const rest = new Uint8Array(this.#found.states)
          const states = part.filter((at) => !verdict.has(at))
          for (const at of states) rest[at] = 1
          if (states.length > 0) pending.push({ states: Int32Array.from(states), inside: rest })
        }
      }
    }
    return null
  }

  /** `fair`, `unfair`, or the states to leave out before looking again. */
  #judge(part: readonly number[]): 'fair' | 'unfair' | Set<number> {
    const { offsets, targets, groups } = this.#edges
    const members = new Set(part)
    const kinds = this.#tables.product.groups
    const taken = new Set<number>()
    const enabledIn = new Map<number, number>()
    for (const at of part) {
      const here = new Set<number>()
      for (let e = offsets[at] as number; e < (offsets[at + 1] as number); e++) {
        if (targets[e] === at) continue
        const group = groups[e] as number
        if (kinds[group]?.fair === 'none') continue
        here.add(group)
        if (members.has(targets[e] as number)) taken.add(group)
      }
      for (const group of here) enabledIn.set(group, (enabledIn.get(group) ?? 0) + 1)
    }
    let starved: number | null = null
    for (const [group, count] of enabledIn) {
      if (taken.has(group)) continue
      // A strongly fair group may not be enabled anywhere; a weakly fair one not everywhere.
      if (count === part.length) return 'unfair'
      if (kinds[group]?.fair === 'strong') starved = group
    }
    if (starved === null) return 'fair'
    const without = new Set<number>()
    for (const at of part)
      for (let e = offsets[at] as number; e < (offsets[at + 1] as number); e++)
        if (groups[e] === starved && targets[e] !== at) without.add(at)
    return without
  }

  /** Tarjan's algorithm without recursion, in an order that starts with what was reached first. */
  *#parts(states: Int32Array, inside: Uint8Array): Generator<number[]> {
    const { offsets, targets } = this.#edges
    const count = this.#found.states
    const number = new Int32Array(count)
    const low = new Int32Array(count)
    const onStack = new Uint8Array(count)
    const stack: number[] = []
    let counter = 0
    for (const root of states) {
      if (number[root] !== 0) continue
      const frames: { at: number; edge: number }[] = [{ at: root, edge: offsets[root] as number }]
      number[root] = low[root] = ++counter
      stack.push(root)
      onStack[root] = 1
      while (frames.length > 0) {
        const frame = frames.at(-1) as { at: number; edge: number }
        const { at } = frame
        if (frame.edge < (offsets[at + 1] as number)) {
          const target = targets[frame.edge++] as number
          if (inside[target] === 0) continue
          if (number[target] === 0) {
            number[target] = low[target] = ++counter
            stack.push(target)
            onStack[target] = 1
            frames.push({ at: target, edge: offsets[target] as number })
          } else if (onStack[target] === 1) low[at] = Math.min(low[at] as number, number[target] as number)
          continue
        }
        frames.pop()
        const above = frames.at(-1)
        if (above) low[above.at] = Math.min(low[above.at] as number, low[at] as number)
        if (low[at] !== number[at]) continue
        const part: number[] = []
        for (let member = stack.pop() as number; ; member = stack.pop() as number) {
          onStack[member] = 0
          part.push(member)
          if (member === at) break
        }
        yield part
      }
    }
  }

  /** A round through a part that takes every fair group's step it can and visits where the others are not able to: the repeating end. */
  #round(part: readonly number[], first: number): { states: number[]; groups: number[] } {
    const { offsets, targets, groups } = this.#edges
    const members = new Set(part)
    const states: number[] = []
    const taken: number[] = []
    let at = first
    const walk = (isThere: (from: number, edge: number) => boolean, isState: ((at: number) => boolean) | null): boolean => {
      if (isState?.(at)) return true
      const came = new Map<number, { from: number; edge: number }>()
      const queue = [at]
      for (let head = 0; head < queue.length; head++) {
        const from = queue[head] as number
        for (let e = offsets[from] as number; e < (offsets[from + 1] as number); e++) {
          const target = targets[e] as number
          if (!members.has(target)) continue
          const arrived = isState ? isState(target) : isThere(from, e)
          if (!arrived && (came.has(target) || target === at)) continue
          const way = [{ edge: e, to: target }]
          for (let back = from; back !== at; ) {
            const step = came.get(back) as { from: number; edge: number }
            way.unshift({ edge: step.edge, to: back })
            back = step.from
          }
          if (arrived) {
            for (const { edge, to } of way) {
              states.push(to)
              taken.push(groups[edge] as number)
            }
            at = target
            return true
          }
          came.set(target, { from, edge: e })
          queue.push(target)
        }
      }
      return false
    }
    for (const [group, { fair }] of this.#tables.product.groups.entries()) {
      if (fair === 'none' || taken.includes(group)) continue
      const steps = walk((from, e) => groups[e] === group && targets[e] !== from, null)
      if (!steps && fair === 'weak')
        walk(
          () => false,
          (state) => {
            for (let e = offsets[state] as number; e < (offsets[state + 1] as number); e++)
              if (groups[e] === group && targets[e] !== state) return false
            return true
          },
        )
    }
    if (at !== first)
      walk(
        () => false,
        (state) => state === first,
      )
    // A part of several states that needed no particular step still has to go round once.
    if (states.length === 0 && part.length > 1) {
      walk((from, e) => from === first && targets[e] !== from, null)
      walk(
        () => false,
        (state) => state === first,
      )
    }
    return { states, groups: taken }
  }
}
