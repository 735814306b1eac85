/**
 * The MCP host as a machine. Servers, calls and lists come and go, so they live in the context as records, each with its own little course
 * of events (running.ts, asking.ts, changing.ts: pure functions); the machine routes what arrives to them. The life of one server's
 * process is a machine of its own, in its own actor: mcp-server.
 */
import { setup } from 'xstate'
import { noRequest } from '../../kernel/index.ts'
import type { Fault, Inbound, KernelEvent, Outgoing } from '../../kernel/index.ts'
import type { ServerStatus } from '../mcp-server/protocol.ts'
import type { Policy as InForce } from '../policy/protocol.ts'
import { call, callEnded, hold, isKnown, settleOver, toolRule, tools, withdrawn } from './asking.ts'
import { applyPolicy, approve, change, changeEnded, load, loadRef, restart, signatureRule } from './changing.ts'
import { watchAgainMs } from './limits.ts'
import { forgetPins } from './pins.ts'
import type { protocol } from './protocol.ts'
import { actorsTold, again, loaded, lost, spawned, told } from './running.ts'
import {
  andThen,
  type Change,
  type Context,
  effect,
  type EffectCall,
  empty,
  type Loaded,
  type Out,
  refuse,
  reply,
  type Step,
  stay,
} from './state.ts'
import { viewOf } from './view.ts'

type Event =
  | Inbound<typeof protocol>
  | KernelEvent
  | { type: 'load.done'; loaded: Loaded }
  | { type: 'load.crashed' | 'change.crashed'; ref: string; error: Fault }
  | { type: 'change.done'; ticket: number; change: Change; loaded: Loaded; body: unknown }
  | { type: 'change.failed'; ticket: number; error: Fault }
  | { type: 'savePins.done' | 'savePins.failed' }
  | { type: 'pause.done'; ref: string }
  | { type: 'relay.done'; request: number; body: unknown }
  | { type: 'relay.failed' | 'relay.crashed'; request: number; error: Fault }

/** The request under which policy tells what is in force, and the pause before it is asked again. */
const policyRef = 'policy'
const watchPolicy: Out = { type: 'send', to: 'policy', kind: 'watch', body: {}, ref: policyRef, deadlineMs: null }

/** The same for actors from outside that offer tools. */
const actorsRef = 'actors'
const watchActors: Out = { type: 'send', to: 'addons', kind: 'watch', body: {}, ref: actorsRef, deadlineMs: null }
const watches: Readonly<Record<string, Out>> = { [policyRef]: watchPolicy, [actorsRef]: watchActors }

function step(context: Context, event: Event): Step {
  switch (event.type) {
    case 'tools':
      return tools(context, requestOf(event))
    case 'call':
      return call(context, requestOf(event), event.from.badge, event.body)
    case 'tool-rule':
      return toolRule(context, requestOf(event), event.body.tool)
    case 'servers':
      return stay(context, reply(requestOf(event), { servers: viewOf(context) }))
    case 'add':
      return change(context, requestOf(event), { do: 'add', ...event.body })
    case 'remove':
      return change(context, requestOf(event), { do: 'remove', ...event.body })
    case 'tool-mode':
      return change(context, requestOf(event), { do: 'tool-mode', ...event.body })
    case 'install-extension':
      return change(context, requestOf(event), { do: 'install', ...event.body, required: signatureRule(context) })
    case 'remove-extension':
      return change(context, requestOf(event), { do: 'remove-extension', ...event.body })
    case 'approve':
      return approve(context, requestOf(event), event.body.name)
    case 'restart':
      return restart(context, requestOf(event), event.body.name)
    case 'load.done':
      return loaded(context, event.loaded)
    case 'change.done': {
      const { change: made } = event
      const forgotten =
        made.do === 'remove'
          ? forgetPins(context, made.name)
          : made.do === 'remove-extension'
            ? forgetPins(context, made.id)
            : stay(context)
      return andThen(
        andThen(forgotten, (now) => loaded(now, event.loaded)),
        (now) => changeEnded(now, event.ticket, reply(event.ticket, event.body)),
      )
    }
    case 'change.failed':
      return changeEnded(context, event.ticket, refuse(event.ticket, event.error))
    case 'change.crashed': {
      const [, ticket] = refOf(event.ref)
      return changeEnded(context, ticket, refuse(ticket, event.error))
    }
    // Whoever is held waits for it, so it is not given up.
    case 'load.crashed':
      return stay(context, effect({ name: 'pause', params: { ref: loadRef, ms: watchAgainMs } }))
    case 'pause.done': {
      if (watches[event.ref]) return stay(context, watches[event.ref] as Out)
      if (event.ref === loadRef) return stay(context, load(context.policy?.managedMcpServers ?? []))
      const [what, n] = refOf(event.ref)
      return what === 'settle' ? settleOver(context, n) : again(context, n)
    }
    case 'relay.done':
      return callEnded(context, event.request, { body: event.body })
    case 'relay.failed':
    case 'relay.crashed':
      return callEnded(context, event.request, { error: event.error })
    case 'replied': {
      if (watches[event.ref]) return watchLost(context, event.ref)
      const [what, n] = refOf(event.ref)
      if (what === 'restart') return stay(context, reply(n, {}))
      return what === 'spawn' ? spawned(context, n, event.caps[0]) : stay(context)
    }
    case 'refused': {
      if (watches[event.ref]) return watchLost(context, event.ref)
      const [what, n] = refOf(event.ref)
      // Withdrawn: nobody waits for its answer.
      if (what === 'restart') return event.error.code === 'cancelled' ? stay(context) : stay(context, refuse(n, event.error))
      return what === 'spawn' || what === 'watch' ? lost(context, n, event.error) : stay(context)
    }
    case 'part': {
      if (event.ref === policyRef) return applyPolicy(context, (event.body as { policy: InForce }).policy)
      if (event.ref === actorsRef) return actorsTold(context, (event.body as { actors: { name: string; hash: string }[] }).actors)
      const [, n] = refOf(event.ref)
      return told(context, n, (event.body as { status: ServerStatus }).status)
    }
    case 'cancelled':
      return andThen(withdrawn(context, event.request), (now) => stay(now, { type: 'cancel', ref: `restart:${event.request}` }))
    case 'savePins.done':
    case 'savePins.failed':
    case 'stopping':
      return stay(context)
    default:
      return event satisfies never
  }
}

/** Questions wait until servers and policy are known, and are then taken in their order. */
function taken(context: Context, event: Event): Step {
  if (isKnown(context)) return step(context, event)
  if ('from' in event && event.type !== 'tools') return hold(context, event)
  return andThen(step(context, event), (now) =>
    isKnown(now)
      ? now.held.reduce((last, question) => andThen(last, (next) => step(next, question)), stay({ ...now, held: [] }))
      : stay(now),
  )
}

/** Whoever tells went down: what it said stays in force, and it is asked again in a moment. */
const watchLost = (context: Context, ref: string): Step => stay(context, effect({ name: 'pause', params: { ref, ms: watchAgainMs } }))

/** All other refs are `what:number`. */
function refOf(ref: string): [string, number] {
  const [what = '', n = ''] = ref.split(':')
  return [what, Number(n)]
}

/** Someone may send a request kind one-way: then there is no one to answer. */
const requestOf = (event: Inbound<typeof protocol>): number => event.from.request ?? noRequest

type Params<Name extends EffectCall['name']> = Extract<EffectCall, { name: Name }>['params']

const dialect = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing; input: { params: Record<string, unknown>; slots: readonly string[] } },
  /** Effects: see effects.ts. */
  actions: {
    load: (_, _params: Params<'load'>) => {},
    change: (_, _params: Params<'change'>) => {},
    savePins: (_, _params: Params<'savePins'>) => {},
    pause: (_, _params: Params<'pause'>) => {},
    relay: (_, _params: Params<'relay'>) => {},
  },
})

const take = (next: (context: Context, event: Event) => Step) =>
  dialect.enqueueActions(({ context, event, enqueue }) => {
    const { context: after, out } = next(context, event)
    enqueue.assign(() => after)
    for (const item of out) {
      if (item.type !== 'effect') enqueue.emit(item)
      else if (item.call.name === 'load') enqueue({ type: 'load', params: item.call.params })
      else if (item.call.name === 'change') enqueue({ type: 'change', params: item.call.params })
      else if (item.call.name === 'savePins') enqueue({ type: 'savePins', params: item.call.params })
      else if (item.call.name === 'pause') enqueue({ type: 'pause', params: item.call.params })
      else enqueue({ type: 'relay', params: item.call.params })
    }
  })

const advance = take(taken)
/** Everything is read as soon as the policy is known, which may bring servers itself. */
const begin = take((context) => stay(context, watchPolicy, watchActors))

const on = { actions: 'advance' } as const

export const machine = dialect.extend({ actions: { advance, begin } }).createMachine({
  id: 'mcp-host',
  context: empty,
  initial: 'serving',
  states: {
    serving: {
      entry: 'begin',
      on: {
        tools: on,
        call: on,
        'tool-rule': on,
        servers: on,
        add: on,
        remove: on,
        'tool-mode': on,
        'install-extension': on,
        'remove-extension': on,
        approve: on,
        restart: on,
        'load.done': on,
        'load.crashed': on,
        'change.done': on,
        'change.failed': on,
        'change.crashed': on,
        'savePins.done': on,
        'savePins.failed': on,
        'pause.done': on,
        'relay.done': on,
        'relay.failed': on,
        'relay.crashed': on,
        replied: on,
        refused: on,
        part: on,
        cancelled: on,
        stopping: 'stopping',
      },
    },
    /** The kernel ends the servers' actors like any other. */
    stopping: {},
  },
})
