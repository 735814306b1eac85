/** One worker's part of a search: its own states, and what it sends to and gets from the others. */
import { Expansion } from '../expansion.ts'
import type { Arena } from '../arena.ts'
import { chooseKey, type Key } from '../key.ts'
import { unpackAt } from '../layout.ts'
import { isHeapFull, type Stopped } from '../search.ts'
import type { Compiled, Tables } from '../tables.ts'
import type { ViolationKind } from '../trace.ts'
import { Control, type SharedMemory } from './control.ts'
import { Journal } from './journal.ts'
import { Outbox, Queue, readBatch } from './queue.ts'

export type CrewLimits = {
  maxStates: number
  maxBytes: number
  stopAtFirst: boolean
  /**
   * States that every worker finds for itself before they are shared out: most questions come up among the first states, where workers that ask
   * them in one order would wait for one another; and what the states are shared out by is chosen by what these are.
   */
  firstStates: number
}

/** A sighting as another thread can read it: `last` is the outcome of a rule, by its place among those of the state. */
export type Told = { kind: ViolationKind; property: string; at: number; last: { rule: number; place: number } | null; detail?: string }

export type Part = {
  states: number
  transitions: number
  depth: number
  bytes: number
  /** Local steps computed, by whichever worker. */
  expansions: number
  reached: readonly string[]
  sightings: readonly Told[]
  /** States and their parents, for traces: a parent is its index in times of workers, and the number of its worker. */
  words: Int32Array
  parents: Int32Array
  /** Of each component in a state. */
  bits: Int32Array
}

/** States taken between looks at what came in and what was used up. */
const turn = 256

/** @param me from 0 */
export function searchPart(tables: Tables, memory: SharedMemory, workers: number, me: number, limits: CrewLimits): Part {
  const control = new Control(memory.control, workers, me)
  const first = new Expansion(tables, {})
  const begun = begin(first, limits)
  if (begun.stopped !== null) control.stop(0, begun.stopped)
  // All find the same: one tells of it.
  if (begun.done) {
    const part = partOf(tables, first, begun.depth)
    if (me > 0) return { ...part, states: 0, transitions: 0, sightings: [] }
    return { ...part, parents: part.parents.map((parent) => (parent < 0 ? parent : parent * workers)) }
  }
  const key = chooseKey(tables.product, first.arena, workers)
  const journal = new Journal(tables, control, memory.journal)
  const others = Array.from({ length: workers }, (_, other) => other).filter((other) => other !== me)
  const queue = (from: number, to: number): Queue => new Queue(memory.queues[from * workers + to] as SharedArrayBuffer)
  const inboxes = others.map((other) => queue(other, me))
  const outboxes = Array.from({ length: workers }, (_, other) => new Outbox(queue(me, other)))
  const ownerOf = (number: number): number => ((number >>> 16) * workers) >>> 16

  const expansion = new Expansion(tables, {
    share: {
      layOut: (arena) => journal.layOut(arena),
      parent: (index) => index * workers + me,
      key,
      send(of, words, from, parent) {
        const owner = ownerOf(of)
        if (owner === me) return false
        ;(outboxes[owner] as Outbox).add(arena.layout, parent, words, from, arena.width)
        return true
      },
    },
  })
  const { arena, sightings } = expansion
  const ids = new Int32Array(tables.product.components.length)

  function receive(): void {
    for (const inbox of inboxes) for (let batch = inbox.pull(); batch !== null; batch = inbox.pull()) receiveBatch(batch)
  }

  function receiveBatch(batch: Int32Array): void {
    const { layout, first: from } = readBatch(batch)
    // What the sender knew when it sent this is written down.
    journal.catchUp()
    expansion.adjust()
    const written = journal.layouts[layout - 1]
    if (!written) throw new Error('a state came in a layout that is not written down')
    if (layout === arena.layout) return expansion.receiveAll(batch, from)
    const packed = new Int32Array(arena.width)
    for (let at = from; at < batch.length; at += 1 + written.width) {
      unpackAt(batch.subarray(at + 1), 0, written, ids)
      arena.pack(ids, packed)
      expansion.receive(packed, batch[at] as number)
    }
  }

  /** Whether anything is still to be sent. */
  function send(all: boolean): boolean {
    let more = false
    for (const other of others) more = (outboxes[other] as Outbox).send(all) || more
    control.ring()
    return more
  }

  function stopWhere(level: number): boolean {
    control.use(arena.count, arena.bytes)
    if (limits.stopAtFirst && sightings.length > 0) control.stop(level, 'violation')
    else if (control.states() >= limits.maxStates) control.stop(level, 'states')
    else if (control.bytes() > limits.maxBytes || isHeapFull()) control.stop(level, 'memory')
    return control.hasStopped(level)
  }

  const places = shareOut(first.arena, expansion, { workers, me, ownerOf, key })
  const isMine = (state: number): boolean => (places[state] as number) % workers === me
  let next = 0
  for (let state = 0; state < begun.expanded; state++) if (isMine(state)) next++
  let { depth } = begun
  if (me === 0) expansion.transitions = first.transitions
  for (const sighting of first.sightings)
    if (isMine(sighting.at)) sightings.push({ ...sighting, at: Math.floor((places[sighting.at] as number) / workers) })
  for (let level = 0; ; level++) {
    const end = arena.count
    while (next < end && !stopWhere(level)) {
      for (const last = Math.min(end, next + turn); next < last; next++) expansion.expand(next)
      send(false)
      receive()
    }
    control.until(() => {
      receive()
      return !send(true)
    })
    control.finish()
    control.until(() => {
      receive()
      return control.haveFinished(level)
    })
    receive()
    stopWhere(level)
    control.count(arena.count - end)
    control.until(() => control.haveCounted(level))
    if (control.fresh() === 0 || control.hasStopped(level)) break
    depth++
  }
  journal.catchUp()
  return partOf(tables, expansion, depth)
}

/** Level by level until there are enough states to share out. */
export function begin(
  expansion: Expansion,
  { maxStates, stopAtFirst, firstStates }: CrewLimits,
): { done: boolean; stopped: Stopped | null; expanded: number; depth: number } {
  const { arena, sightings } = expansion
  expansion.start()
  let expanded = 0
  for (let depth = 0; ; depth++) {
    for (const end = arena.count; expanded < end; expanded++) {
      if (stopAtFirst && sightings.length > 0) return { done: true, stopped: 'violation', expanded, depth }
      if (arena.count >= maxStates) return { done: true, stopped: 'states', expanded, depth }
      expansion.expand(expanded)
    }
    if (stopAtFirst && sightings.length > 0) return { done: true, stopped: 'violation', expanded, depth }
    if (expanded === arena.count) return { done: true, stopped: null, expanded, depth }
    if (arena.count >= firstStates) return { done: false, stopped: null, expanded, depth: depth + 1 }
  }
}

/** Gives each of the first states to whom it belongs: its place is written as parents are. */
function shareOut(
  arena: Arena,
  own: Expansion,
  { workers, me, ownerOf, key }: { workers: number; me: number; ownerOf(key: number): number; key: Key },
): Int32Array {
  const counts = new Int32Array(workers)
  const places = new Int32Array(arena.count)
  const ids = new Int32Array(arena.word.length)
  const packed = new Int32Array(own.arena.width)
  for (let state = 0; state < arena.count; state++) {
    arena.unpack(state, ids)
    const owner = ownerOf(key.of(ids))
    const index = counts[owner] as number
    counts[owner] = index + 1
    places[state] = index * workers + owner
    if (owner !== me) continue
    const parent = arena.parents[state] as number
    own.arena.pack(ids, packed)
    // Judged here as well: from now on this search asks only what steps may have changed since.
    own.receive(packed, parent < 0 ? -1 : (places[parent] as number))
  }
  return places
}

function partOf(tables: Tables, expansion: Expansion, depth: number): Part {
  const { arena, transitions, sightings } = expansion
  return {
    states: arena.count,
    transitions,
    depth,
    bytes: arena.bytes,
    expansions: tables.counters.expansions,
    reached: [...tables.reached],
    sightings: sightings.map(({ kind, property, at, last, detail }) => ({
      kind,
      property,
      at,
      last: last ? placeOf(tables, expansion, at, last) : null,
      ...(detail === undefined ? {} : { detail }),
    })),
    words: arena.words.slice(0, arena.count * arena.width),
    parents: arena.parents.slice(0, arena.count),
    bits: arena.bits,
  }
}

function placeOf(tables: Tables, { arena }: Expansion, at: number, last: Compiled): { rule: number; place: number } {
  const ids = new Int32Array(tables.product.components.length)
  arena.unpack(at, ids)
  const all = tables.outcomes(last.rule, ids)
  const place = all.indexOf(last)
  const same = ({ info, problem }: Compiled['outcome']): boolean =>
    info.label === last.outcome.info.label && problem?.property === last.outcome.problem?.property
  // A rule that is asked in every state gives other objects each time.
  return { rule: last.rule, place: place >= 0 ? place : all.findIndex(({ outcome }) => same(outcome)) }
}
