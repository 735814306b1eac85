/**
 * Consent as a machine. Sessions and questions come and go by the dozen, so they live in the context as records, each with its own
 * little course of events (opening.ts, asking.ts, sessions.ts: pure functions); the machine routes what arrives to them.
 */
import { setup } from 'xstate'
import type { Inbound, KernelEvent, Outgoing } from '../../kernel/index.ts'
import { answered, ask, askRefused, derived, ruled, stamped, withdrawn } from './asking.ts'
import { abandon, minted, open, taskAgain, taskDone, taskRefused } from './opening.ts'
import type { protocol } from './protocol.ts'
import { restarted, watch, watchRef } from './restarting.ts'
import { close, revoke } from './revoking.ts'
import { unknownSession } from './sessions.ts'
import { type Context, empty, grantsOf, refuse, type Step, stay, andThen, withSession } from './state.ts'

type Event =
  | Inbound<typeof protocol>
  | KernelEvent
  | { type: 'mint.done'; ref: string; name: string; at: number }
  | { type: 'stamp.done'; ref: string; at: number }
  | { type: 'pause.done'; ref: string }

/** Where an event leads. */
function step(context: Context, event: Event): Step {
  switch (event.type) {
    case 'open':
      return open(context, requestOf(event), 'member', event.body)
    case 'close':
      return close(context, requestOf(event), event.body.session)
    case 'revoke':
      return revoke(context, requestOf(event), event.body.session, event.body.grant)
    case 'grants': {
      const session = context.sessions[event.body.session]
      if (!session) return stay(context, refuse(requestOf(event), unknownSession(event.body.session)))
      return stay(context, { type: 'reply', request: requestOf(event), body: { grants: grantsOf(session) } })
    }
    case 'approve-mode': {
      const { session, approve } = event.body
      if (!context.sessions[session]) return stay(context, refuse(requestOf(event), unknownSession(session)))
      const changed = withSession(context, session, (now) => ({ ...now, approve }))
      return stay(changed, { type: 'reply', request: requestOf(event), body: {} })
    }
    case 'ask':
      return ask(context, requestOf(event), event.from.badge.session, event.body)
    case 'mint.done':
      return minted(context, event.ref, event.name, event.at)
    case 'pause.done':
      return taskAgain(context, event.ref)
    case 'stamp.done':
      return stamped(context, event.ref, event.at)
    case 'replied':
      if (event.ref.startsWith('open:')) return taskDone(context, event.ref, event.body, event.caps)
      if (event.kind === 'tool-rule') return ruled(context, event.ref, event.body)
      return event.kind === 'derive' ? derived(context, event.ref, event.body, event.caps) : answered(context, event.ref, event.body)
    case 'refused':
      return event.ref.startsWith('open:') ? taskRefused(context, event.ref, event.error) : askRefused(context, event.ref, event.error)
    case 'cancelled':
      return andThen(abandon(context, event.request), (now) => withdrawn(now, event.request))
    case 'part':
      return event.ref === watchRef ? restarted(context, event.body) : stay(context)
    case 'stopping':
      return stay(context)
    default:
      return event satisfies never
  }
}

/** Someone may send a request kind one-way: then there is no one to answer, and no open request has the number -1. */
const requestOf = (event: Inbound<typeof protocol>): number => event.from.request ?? -1

const dialect = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing },
  /** Effects: see effects.ts. */
  actions: {
    mint: (_, _params: { ref: string }) => {},
    stamp: (_, _params: { ref: string }) => {},
    pause: (_, _params: { ref: string }) => {},
  },
})

const advance = dialect.enqueueActions(({ context, event, enqueue }) => {
  const { context: after, out } = step(context, event)
  enqueue.assign(() => after)
  for (const item of out) {
    if (item.type !== 'effect') enqueue.emit(item)
    else enqueue({ type: item.name, params: { ref: item.ref } })
  }
})

export const machine = dialect.extend({ actions: { advance } }).createMachine({
  id: 'consent',
  context: empty,
  initial: 'serving',
  states: {
    serving: {
      entry: dialect.emit(watch),
      on: {
        part: { actions: 'advance' },
        open: { actions: 'advance' },
        close: { actions: 'advance' },
        revoke: { actions: 'advance' },
        grants: { actions: 'advance' },
        'approve-mode': { actions: 'advance' },
        ask: { actions: 'advance' },
        'mint.done': { actions: 'advance' },
        'stamp.done': { actions: 'advance' },
        'pause.done': { actions: 'advance' },
        replied: { actions: 'advance' },
        refused: { actions: 'advance' },
        cancelled: { actions: 'advance' },
        stopping: 'stopping',
      },
    },
    /** The kernel stops the sessions' actors itself; new requests find no transition and are refused `not-now`. */
    stopping: {},
  },
})
