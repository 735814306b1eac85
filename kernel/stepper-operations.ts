/**
 * Guards and actions of a machine, looked up once instead of at every step: a guard becomes a function, an action becomes an operation of
 * the dialect. What the dialect lacks (children, foreign sends, logging, computed outputs) is `Foreign`, and the machine then runs on xstate.
 */
import { and, type AnyStateMachine, matchesState, not, or, stateIn } from 'xstate'
import type { Command } from './stepper.ts'
import type { Node } from './stepper-graph.ts'
import type { Outgoing } from './types.ts'

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

/** A function of the whole context, or what becomes of each key that changes. */
export type Assignment = ((args: object, params: unknown) => object) | readonly { key: string; value: Computed }[]

/** All of one shape, `what` being of the kind that `do` says: whoever goes through a list of them reads each in the same way. */
type Shaped<Do extends string, What> = { do: Do; what: What; params: Computed; id: unknown; delay: Computed }
export type Operation =
  | Shaped<'assign', Assignment>
  /** The message. */
  | Shaped<'emit', Computed>
  /** The event. */
  | Shaped<'raise', Computed>
  /** The id. */
  | Shaped<'cancel', Computed>
  | Shaped<'enqueue', (args: object, params: unknown) => void>
  /** Its name. */
  | Shaped<'effect', string>
  /** A compound or parallel state is finished: its `onDone` may fire within the same step. */
  | Shaped<'finish', Event>

export type Assign = Extract<Operation, { do: 'assign' }>

export function shaped(
  what: Pick<Operation, 'do' | 'what'>,
  { params, id, delay }: { params?: Computed; id?: unknown; delay?: Computed } = {},
): Operation {
  return { do: what.do, what: what.what, params, id, delay } as Operation
}

export function assigning(assignment: unknown, params: Computed): Operation {
  const what =
    typeof assignment === 'function'
      ? (assignment as Extract<Assignment, (...given: never) => object>)
      : Object.entries(assignment as object).map(([key, value]) => ({ key, value: value as unknown }))
  return shaped({ do: 'assign', what }, { params })
}

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
    if (typeof resolved !== 'function' || !('resolve' in resolved)) return shaped({ do: 'effect', what: name }, { params })
    const marked = resolved as unknown as Marked
    const { id, delay: after } = marked
    switch (marked.type) {
      case 'xstate.assign':
        return assigning(marked['assignment'], params)
      case 'xstate.emit':
        return shaped({ do: 'emit', what: marked['event'] }, { params })
      case 'xstate.raise':
        return shaped({ do: 'raise', what: marked['event'] }, { params, id, delay: after })
      case 'xstate.cancel':
        return shaped({ do: 'cancel', what: marked['sendId'] }, { params })
      case 'xstate.enqueueActions':
        return shaped({ do: 'enqueue', what: marked['collect'] as never }, { params })
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

/** What entering a final state, or the last one of a parallel state, raises. */
export const doneIn = ({ id }: Node): Operation =>
  shaped({ do: 'finish', what: { type: `xstate.done.state.${id}`, output: undefined } satisfies Event })

/** Params of an operation, which may be computed. */
export const paramsOf = ({ params }: Operation, args: Args): unknown => (typeof params === 'function' ? computed(params, args) : params)

/** What an operation asks for that is no more than a command. */
export function commanded(operation: Extract<Operation, { do: 'emit' | 'effect' | 'cancel' }>, context: Context, event: Event): Command {
  const args = new Args(context, event)
  const params = paramsOf(operation, args)
  if (operation.do === 'emit') return { do: 'emit', message: computed(operation.what, args, params) as Outgoing }
  if (operation.do === 'effect') return { do: 'effect', name: operation.what, params: (params ?? {}) as Record<string, unknown> }
  return { do: 'dropTimer', id: String(computed(operation.what, args, params)) }
}

/** The context an assignment leads to: a new one, each of its functions asked with the one before. */
export function assigned(operation: Assign, context: Context, event: Event): Context {
  const { what } = operation
  const args = new Args(context, event)
  const params = paramsOf(operation, args)
  if (typeof what === 'function') return Object.assign({}, context, what(args, params))
  const next: Record<string, unknown> = { ...context }
  // By index, here and in the table: asking an iterator costs more than most assignments.
  for (let at = 0; at < what.length; at++) {
    const { key, value } = what[at] as { key: string; value: Computed }
    next[key] = computed(value, args, params)
  }
  return next
}
