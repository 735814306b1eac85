/** One worker's part of a search: it takes states of a level until all are taken, as all workers do, and adds what they lead to. */
import { Arena } from '../arena.ts'
import { Expansion } from '../expansion.ts'
import { ofWholes } from '../judge.ts'
import type { Product } from '../product.ts'
import { isHeapFull, type Stopped } from '../search.ts'
import type { Compiled, Tables } from '../tables.ts'
import type { ViolationKind } from '../trace.ts'
import { Control, type SharedMemory } from './control.ts'
import { Journal } from './journal.ts'
import { SharedStates } from './shared-states.ts'

export type CrewLimits = {
  maxStates: number
  maxBytes: number
  stopAtFirst: boolean
  /**
   * States that every worker finds for itself before all add to one set: most questions come up among the first states, where workers that
   * ask them in one order would wait for one another.
   */
  firstStates: number
}

/** A sighting as another thread can read it: `last` is the outcome of a rule, by its place among those of the state. */
export type Told = { kind: ViolationKind; property: string; at: number; last: { rule: number; place: number } | null; detail?: string }

export type Part = {
  transitions: number
  depth: number
  /** Local steps computed, by whichever worker. */
  expansions: number
  reached: readonly string[]
  sightings: readonly Told[]
}

/** States taken between looks at the heap. */
const heapEvery = 1 << 12

/** @param me from 0 */
export function searchPart(tables: Tables, memory: SharedMemory, workers: number, me: number, limits: CrewLimits): Part {
  const { product } = tables
  const control = new Control(memory.control, workers, me)
  const own = new Arena(product.components.length)
  const first = new Expansion(tables, own)
  const begun = begin(first, own, limits)
  if (begun.stopped !== null) control.stop(begun.stopped)
  const journal = new Journal(tables, control, memory.journal)
  const states = new SharedStates({ memory: memory.states, control, journal }, { workers, me, maxBytes: limits.maxBytes })
  const expansion = new Expansion(tables, states, { looks: looksOf(product, memory.looks) })
  const { sightings } = expansion
  let { depth } = begun
  if (me === 0) {
    expansion.transitions = first.transitions
    addFirst(own, expansion, states)
    // Seen again as they were added; those of a step are seen where it is taken.
    for (const sighting of first.sightings) if (!sightings.some(({ property }) => property === sighting.property)) sightings.push(sighting)
  }
  while (!states.meet(() => control.begin(begun.expanded))) {}

  const isBroken = (): boolean => limits.stopAtFirst && sightings.length > 0
  const mayGoOn = (): boolean => {
    if (isBroken()) control.stop('violation')
    else if (control.states() >= limits.maxStates) control.stop('states')
    else if (states.bytes > limits.maxBytes) control.stop('memory')
    return control.stopped === null
  }
  let sinceHeap = 0
  for (;;) {
    journal.catchUp()
    expansion.heed()
    while (control.take() && mayGoOn()) {
      const { from, to } = control.range
      for (let state = from; state < to; ) {
        states.makeReady()
        state = expansion.expand(state, to)
      }
      states.tell()
      sinceHeap += to - from
      if (sinceHeap > heapEvery && isHeapFull()) control.stop('memory')
      if (sinceHeap > heapEvery) sinceHeap = 0
    }
    if (isBroken()) control.stop('violation')
    const ended = states.meet(() => {
      if (!control.advance() || control.stopped !== null) control.end()
    })
    if (!ended) continue
    if (control.isOver) break
    depth++
  }
  return {
    transitions: expansion.transitions,
    depth,
    expansions: tables.counters.expansions,
    reached: [...tables.reached],
    sightings: sightings.map(({ kind, property, at, last, detail }) => ({
      kind,
      property,
      at,
      last: last ? placeOf(tables, states, at, last) : null,
      ...(detail === undefined ? {} : { detail }),
    })),
  }
}

/** For each property of whole states, what it looked at: a byte a component. */
export const looksBytes = (product: Product): number => ofWholes(product).length * product.components.length

function looksOf(product: Product, memory: SharedArrayBuffer): Uint8Array[] {
  const { length } = product.components
  return ofWholes(product).map((_, property) => new Uint8Array(memory, property * length, length))
}

/** Level by level until there are enough states to share out. */
export function begin(
  expansion: Expansion,
  arena: Arena,
  { maxStates, stopAtFirst, firstStates }: CrewLimits,
): { done: boolean; stopped: Stopped | null; expanded: number; depth: number } {
  const { sightings } = expansion
  expansion.start()
  let expanded = 0
  for (let depth = 0; ; depth++) {
    for (const end = arena.count; expanded < end; ) {
      if (stopAtFirst && sightings.length > 0) return { done: true, stopped: 'violation', expanded, depth }
      if (arena.count >= maxStates) return { done: true, stopped: 'states', expanded, depth }
      expanded = expansion.expand(expanded, end)
    }
    if (stopAtFirst && sightings.length > 0) return { done: true, stopped: 'violation', expanded, depth }
    if (expanded === arena.count) return { done: true, stopped: null, expanded, depth }
    if (arena.count >= firstStates) return { done: false, stopped: null, expanded, depth: depth + 1 }
  }
}

/** Adds the states that were found before there were several workers: their numbers stay what they are. */
function addFirst(own: Arena, expansion: Expansion, states: SharedStates): void {
  const ids = new Int32Array(own.word.length)
  const packed = new Int32Array(states.width)
  for (let state = 0; state < own.count; state++) {
    states.makeReady()
    own.unpack(state, ids)
    states.pack(ids, packed)
    expansion.receive(packed, own.parents[state] as number)
  }
}

function placeOf(tables: Tables, states: SharedStates, at: number, last: Compiled): { rule: number; place: number } {
  const ids = new Int32Array(tables.product.components.length)
  states.unpack(at, ids)
  const all = tables.outcomes(last.rule, ids)
  const place = all.indexOf(last)
  const same = ({ info, problem }: Compiled['outcome']): boolean =>
    info.label === last.outcome.info.label && problem?.property === last.outcome.problem?.property
  // A rule that is asked in every state gives other objects each time.
  return { rule: last.rule, place: place >= 0 ? place : all.findIndex(({ outcome }) => same(outcome)) }
}
