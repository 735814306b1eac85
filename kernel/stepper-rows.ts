/** What the table of a machine is made of (stepper-table.ts): rows for configurations, and in them what events lead to. */
import type { Command, Snapshot } from './stepper.ts'
import type { History, Node } from './stepper-graph.ts'
import type { Context, Guard, Operation } from './stepper-operations.ts'

export type Candidate = {
  id: number
  guard: Guard | null
  source: Node
  target: readonly Node[] | undefined
  reenter: boolean
  operations: readonly Operation[]
  /** Itself, as the set of transitions it mostly is. */
  alone: readonly Candidate[]
}
/** A candidate in a configuration, and what it does there when it is the only one; found out when it is first chosen. */
export type Choice = { candidate: Candidate; move: Move | null }
/**
 * Regions are asked first; without an answer from any of them, the first candidate whose guard holds. `sure`: the quiet move that is made
 * whatever the context, once it was.
 */
export type Selector = { regions: readonly Selector[]; choices: readonly Choice[]; sure: Move | null }
/**
 * What a set of transitions does. `same`: the configuration does not change. `short`: it is all that a step does, because it raises nothing and
 * leads to where nothing happens by itself. `handles`: it changes something whatever its operations come to. `quiet`: it is short,
 * changes something and asks for nothing.
 */
export type Move = {
  operations: readonly Operation[]
  next: Configuration
  same: boolean
  done: boolean
  short: boolean
  quiet: boolean
  handles: boolean
}

export type Configuration = {
  nodes: readonly Node[]
  history: History
  value: unknown
  on: Map<string, Selector>
  /** The event type that was asked for last, and its selector: events come in runs. */
  lastType: string | null
  last: Selector
  /** Per atomic state, innermost first. */
  always: readonly (readonly Candidate[])[]
  moves: Map<number | string, Move>
}

export const noSelector: Selector = Object.freeze({ regions: [], choices: [], sure: null })
export const none: readonly Candidate[] = Object.freeze([])
/** Frozen: whoever would add to it is told. */
export const nothing: Command[] = Object.freeze([]) as never

export class TableSnapshot implements Snapshot {
  readonly at: Configuration
  readonly context: Context
  readonly status: Snapshot['status']
  constructor(at: Configuration, context: Context, status: Snapshot['status']) {
    this.at = at
    this.context = context
    this.status = status
  }
  get value(): unknown {
    return this.at.value
  }
}
