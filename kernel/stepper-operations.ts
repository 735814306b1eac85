/**
 * Guards and actions of a machine, looked up once instead of at every step: a guard becomes a function, an action becomes an operation of
 * the dialect. What the dialect lacks (children, foreign sends, logging, computed outputs) is `Foreign`, and the machine then runs on xstate.
 */
import { and, type AnyStateMachine, matchesState, not, or, stateIn } from 'xstate'
import type { Node } from './stepper-graph.ts'

export type Event = { type: string; [key: string]: unknown }
/** Contexts differ per machine; its own functions take them back as they were given. */
export type Context = object

/** What a machine's functions are called with. The rest of xstate's arguments reach outside the machine. */
export class Args {
  readonly context: Context
  readonly event: Event
  constructor(context: Context, event: Event) {
    this.context = context
    this.event = event
  }
  get self(): never {
    throw new Foreign('self')
  }
  get system(): never {
    throw new Foreign('system')
  }
  get spawn(): never {
    throw new Foreign('spawn')
  }
}

export class Foreign extends Error {
  constructor(what: string) {
    super(`${what} is not part of the machine dialect`)
  }
}

/** The states that are active while a guard is asked. */
export type Where = { nodes: readonly Node[]; value: unknown }
export type Guard = (context: Context, event: Event, where: Where) => boolean
type Computed = unknown

export type Operation =
  | { do: 'assign'; assignment: Computed; params: Computed }
  | { do: 'emit'; event: Computed; params: Computed }
  | { do: 'raise'; event: Computed; id: unknown; delay: Computed; params: Computed }
  | { do: 'cancel'; id: Computed; params: Computed }
  | { do: 'enqueue'; collect: (args: object, params: unknown) => void; params: Computed }
  | { do: 'effect'; name: string; params: Computed }
  /** A compound or parallel state is finished: its `onDone` may fire within the same step. */
  | { do: 'finish'; event: Event }

type Marked = {
  type?: string
  resolve?: unknown
  check?: unknown
  guards?: readonly unknown[]
  stateValue?: unknown
  [key: string]: unknown
}
// xstate marks its own guards and actions by these functions; they are compared, never called.
const checkOf = (guard: unknown): unknown => (guard as Marked).check
const builtIn = { and: checkOf(and([])), or: checkOf(or([])), not: checkOf(not('')), stateIn: checkOf(stateIn('')) }

export function createVocabulary(machine: AnyStateMachine) {
  const implementations = machine.implementations as unknown as Record<'actions' | 'guards' | 'delays', Record<string, unknown>>
  const guards = new Map<unknown, Guard>()

  function guard(spec: unknown): Guard {
    const known = guards.get(spec)
    if (known) return known
    const made: Guard = makeGuard(spec)
    guards.set(spec, made)
    return made
  }

  function makeGuard(spec: unknown): Guard {
    const inline = typeof spec === 'function'
    const name = inline ? '' : typeof spec === 'string' ? spec : String((spec as { type: unknown }).type)
    const resolved = inline ? spec : implementations.guards[name]
    if (resolved === undefined)
      return () => {
        throw new Error(`Guard '${name}' is not implemented.`)
      }
    if (typeof resolved !== 'function') return guard(resolved)
    const params = inline || typeof spec === 'string' ? undefined : (spec as { params?: unknown }).params
    const marked = resolved as unknown as Marked
    if (marked.check === undefined) {
      const ask = resolved as (args: object, params: unknown) => boolean
      if (params === undefined) return (context, event) => ask({ context, event }, undefined)
      return (context, event) => ask({ context, event }, computed(params, { context, event }))
    }
    const parts = (marked.guards ?? []).map(guard)
    switch (marked.check) {
      case builtIn.and:
        return (context, event, where) => parts.every((part) => part(context, event, where))
      case builtIn.or:
        return (context, event, where) => parts.some((part) => part(context, event, where))
      case builtIn.not:
        return (context, event, where) => !parts[0]?.(context, event, where)
      case builtIn.stateIn: {
        const wanted = marked.stateValue
        if (typeof wanted !== 'string' || !wanted.startsWith('#'))
          return (_context, _event, { value }) => matchesState(wanted as never, value as never)
        const node = machine.getStateNodeById(wanted)
        return (_context, _event, { nodes }) => nodes.includes(node)
      }
      default:
        throw new Foreign(`the guard ${name}`)
    }
  }

  /** Throws `Foreign` for what the dialect lacks. */
  function operation(action: unknown): Operation {
    const inline = typeof action === 'function'
    const name = inline ? action.name || '(anonymous)' : typeof action === 'string' ? action : String((action as { type: unknown }).type)
    const resolved = inline ? action : implementations.actions[name]
    const params = inline || typeof action === 'string' ? undefined : (action as { params?: unknown }).params
    if (typeof resolved !== 'function' || !('resolve' in resolved)) return { do: 'effect', name, params }
    const marked = resolved as unknown as Marked
    switch (marked.type) {
      case 'xstate.assign':
        return { do: 'assign', assignment: marked['assignment'], params }
      case 'xstate.emit':
        return { do: 'emit', event: marked['event'], params }
      case 'xstate.raise':
        return { do: 'raise', event: marked['event'], id: marked['id'], delay: marked['delay'], params }
      case 'xstate.cancel':
        return { do: 'cancel', id: marked['sendId'], params }
      case 'xstate.enqueueActions':
        return { do: 'enqueue', collect: marked['collect'] as never, params }
      default:
        throw new Foreign(marked.type ?? name)
    }
  }

  /** A delay in ms; undefined when it names none, which xstate takes as "at once". */
  function delay(spec: Computed, args: Args, params: unknown): number | undefined {
    const named = typeof spec === 'string' ? implementations.delays[spec] : spec
    const value: unknown = typeof named === 'function' ? (named as (args: Args, params: unknown) => unknown)(args, params) : named
    return typeof value === 'number' ? value : undefined
  }

  return { guard, operation, delay }
}

/** A value of the config that may be a function of context and event. */
export function computed(value: Computed, args: object, params?: unknown): unknown {
  return typeof value === 'function' ? (value as (args: object, params: unknown) => unknown)(args, params) : value
}
