/**
 * What an actor's `model.ts` says about its machine, so that the checker can play everything around it: who sends what, how effects may end,
 * and what must hold. The machine itself is the production one.
 */
import type { AnyStateMachine } from 'xstate'
import type { Snapshot } from '../kernel/stepper.ts'
import type { Outgoing } from '../kernel/types.ts'

export type Event = { type: string; [key: string]: unknown }

/** Something the machine started and that has not ended. */
export type Pending =
  | { what: 'effect'; name: string; params: Readonly<Record<string, unknown>> }
  | { what: 'timer'; id: string; event: Event }
  | {
      what: 'request'
      ref: string
      kind: string
      to: number | string
      body: unknown
      /** False: it has none, and the kernel never gives it up. */
      deadline?: false
      /** The machine gave it up; `refused cancelled` follows. */
      cancelled?: true
      /** Its number and receiver, when that is an actor of the composition. */
      request?: number
      target?: string
    }

/** One state of the exploration. */
export type View<Context> = {
  /** xstate's state value: `'ready'`, `{ working: 'booting' }`. */
  value: unknown
  context: Context
  pending: readonly Pending[]
  /** Requests delivered to the machine and not answered by it yet. */
  open: readonly number[]
  /** How often each environment event of the model was sent on the way here. */
  sent: Readonly<Record<string, number>>
  /** How often each ref was used for a request inside the composition, modulo two: names the next one. */
  generations?: Readonly<Record<string, number>>
}

/** An event the environment may send, at most `times` on one path (default 1), while `when` holds. */
export type Stimulus<Context> = {
  name: string
  times?: number
  when?: (view: View<Context>) => boolean
  /** `request`: the request number, for events that expect an answer. */
  event: (view: View<Context>, request: number) => Event
  /** Whether the event carries `request` and so must be answered once. Default true. */
  request?: boolean
}

// Each model fixes its own context; the checker hands it back untouched.
// oxlint-disable-next-line typescript/no-explicit-any
export type Model<Context = any> = {
  actor: string
  machine: AnyStateMachine
  input: unknown
  stimuli: readonly Stimulus<Context>[]
  /**
   * How a pending effect may go on: events it may raise or end with. `ends: true` removes it from what is pending. Effects not listed
   * here never end. Events of effects carry the params' `ref` and `request`, as the runtime adds them.
   */
  effects: Readonly<Record<string, (params: never, view: View<Context>) => readonly { event: Event; ends: boolean }[]>>
  /** How requests the machine sent may be answered. Default: refused `actor-down`. */
  replies?: (request: Extract<Pending, { what: 'request' }>, view: View<Context>) => readonly Event[]
  /** Bounds what would grow for ever (counters, histories), without hiding what properties ask about. */
  project?: (context: Context) => unknown
  /** The same for what is pending: `undefined` drops what can change nothing any more (an effect of an earlier attempt). */
  projectPending?: (pending: Pending, view: View<Context>) => unknown
  /** Must hold in every state. */
  always: Readonly<Record<string, (view: View<Context>) => boolean>>
  /** Must hold in some state: a property that is never reached is a failure, because the rest may then hold vacuously. */
  sometimes: Readonly<Record<string, (view: View<Context>) => boolean>>
  /** Must hold across every step. */
  steps?: Readonly<Record<string, (before: View<Context>, event: Event, after: View<Context>, out: readonly Outgoing[]) => boolean>>
  /**
   * Where it holds the machine takes every message it is sent: one that it ignores, which the runtime refuses or drops, breaks a rule.
   * Default: nowhere.
   */
  takes?: (view: View<Context>) => boolean
  /** Holds at some time on every way, given fairness: progress that nothing can prevent for ever. */
  eventually?: Readonly<Record<string, (view: View<Context>) => boolean>>
  /** Whenever `from` holds, `to` holds then or later, given fairness. */
  leadsTo?: Readonly<Record<string, { from(view: View<Context>): boolean; to(view: View<Context>): boolean }>>
  /** From every state some way leads to one where it holds: nothing is ever lost for good. Asks nothing of fairness. */
  possible?: Readonly<Record<string, (view: View<Context>) => boolean>>
  /**
   * What is certain to happen if it stays possible (`weak`), or becomes possible again and again (`strong`). By default deliveries, timers,
   * ends of effects and answers from outside are weakly fair, stimuli and faults are not. Keys: `deliver`, `timer`, `deadline`,
   * `effect NAME` (with what `apart` adds), `reply KIND`, `stimulus NAME`.
   */
  fairness?: Readonly<Record<string, 'none' | 'weak' | 'strong'>>
  /**
   * Tells effects of one name apart for fairness: that one pause ends does not say that another does. Few different answers, because each
   * makes a group.
   */
  apart?: (params: Readonly<Record<string, unknown>>, name: string, view: View<Context>) => string
  /** Properties that speak of this model's own numbers or bounds: not asked of production runs (conform.ts). */
  onlyHere?: readonly string[]
  /** States with nothing left to happen that are fine. Anything else without a successor is a deadlock. */
  mayEnd?: (view: View<Context>) => boolean
}

/** The kernel stops the actor, at any moment. */
export const stopping = { name: 'stopping', request: false, event: (): Event => ({ type: 'stopping' }) } as const

/** The request that a message is; null: nobody waits for an answer, or it is no message. */
export const askedBy = (event: Event): number | null => (event['from'] as { request: number | null } | undefined)?.request ?? null

export function defineModel<Context>(model: Model<Context>): Model<Context> {
  return model
}

export type Explored<Context> = View<Context> & { snapshot: Snapshot<Context> }
