/** What a composition is made of: actors' models, who holds a capability to whom, how messages wait, what may go wrong. */
import type { Limits } from '../kernel/types.ts'
import type { Order, Item } from './channels.ts'
import type { Model, View } from './model.ts'
import type { StepInfo } from './product.ts'

// Each model fixes its own context.
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyView = View<any>

/** A slot the actor holds from the start, as a manifest would grant it. */
export type Wiring = { to: string; limits?: Limits; reason?: string }

export type Part = {
  model: Model
  /** By slot name. Slots not named here lead outside, where the model's `replies` answer. */
  grants?: Readonly<Record<string, Wiring>>
  /** Messages that may wait. Default `mailbox` of the system. */
  mailbox?: number
}

export type Faults = {
  /** How many crashes one path may have in all, and whose. A crashed actor is restarted with fresh state. */
  crashes?: { times: number; of: readonly string[] }
  /** Grants somebody may revoke at any moment, once each. */
  revocations?: Readonly<Record<string, { holder: string; slot: string }>>
  /** The kernel may give up any request that has a deadline, at any moment. */
  deadlines?: boolean
}

/** One state of the whole: each actor's view under its id, and what waits for it. */
export type SystemView = {
  actor(id: string): AnyView
  /** What waits for an actor, oldest first. */
  waiting(id: string): readonly Item[]
  /** The capability tables, written out: `caps` by id, `clists` by holder. */
  readonly capabilities: unknown
  /** Names of the revocations that happened, crashes so far. */
  faults: { crashes: number; revoked: readonly string[] }
}
type Holds = (view: SystemView) => boolean

export type SystemModel = {
  system: string
  actors: Readonly<Record<string, Part>>
  /** Default `fifo`, the kernel's. */
  channel?: Order
  /** Default 2 messages a mailbox: enough to have one overtaken, refused or withdrawn while another waits. */
  mailbox?: number
  faults?: Faults
  /**
   * The kernel answers what is sent to it over slots wired to `kernel`, at once, as kernel/control.ts does: derivations and revocations are
   * real, and who is spawned is, by kind, an actor of the system that is there from the start. Without it kernel requests lead outside.
   */
  instances?: Readonly<Record<string, string>>
  always?: Readonly<Record<string, Holds>>
  sometimes?: Readonly<Record<string, Holds>>
  /** Must hold across every step. */
  steps?: Readonly<Record<string, (before: SystemView, step: StepInfo, after: SystemView) => boolean>>
  eventually?: Readonly<Record<string, Holds>>
  possible?: Readonly<Record<string, Holds>>
  leadsTo?: Readonly<Record<string, { from: Holds; to: Holds }>>
  /** States with nothing left to happen that are fine. Default: each actor may end as its model says, and nothing waits. */
  mayEnd?: Holds | true
  /** Ids of actors that differ in nothing but their name. */
  symmetric?: readonly string[]
}

export const defaultMailbox = 2

/** The property that `takes` of a model stands for. */
export const taking = 'every message is taken'

export function defineSystem(system: SystemModel): SystemModel {
  return system
}

/** One actor alone: everything it talks to is around it. */
export function alone(model: Model): SystemModel {
  return { system: model.actor, actors: { [model.actor]: { model } } }
}
