/**
 * Consent as a machine. Sessions and questions come and go by the dozen, so they live in the context as records, each with its own
 * little course of events (opening.ts, asking.ts, sessions.ts: pure functions); the machine routes what arrives to them.
 */
import { setup } from 'xstate'
import { noRequest } from '../../kernel/index.ts'
import type { Inbound, KernelEvent, Outgoing } from '../../kernel/index.ts'
import { answered, ask, askRefused, derived, ruled, stamped, withdrawn } from './asking.ts'
import { history, historyRef, historyRefused, historyReplied, historyWithdrawn, recalled } from './histories.ts'
import { askHost, editHosts, explained, explainHost, hostAnswered, hostRefused, hostWithdrawn } from './hosts.ts'
import { abandon, minted, open, taskAgain, taskDone, taskRefused } from './opening.ts'
import type { Policy } from '../policy/protocol.ts'
import { policyChanged } from './policy-change.ts'
import type { protocol } from './protocol.ts'
import { isRecordRef, recorded, released, withheld } from './recording.ts'
import { restarted, watch, watchRef } from './restarting.ts'
import { close, revoke } from './revoking.ts'
import { unknownSession } from './sessions.ts'
import { type Context, empty, grantsOf, type KnownFolder, refuse, type Step, stay, andThen, withSession } from './state.ts'

type Event =
  | Inbound<typeof protocol>
  | KernelEvent
  | { type: 'mint.done'; ref: string; name: string; at: number }
  | { type: 'stamp.done'; ref: string; at: number }
  | { type: 'pause.done'; ref: string }
  | { type: 'recall.done'; ref: string; folders: KnownFolder[] }
  | { type: 'rest.done' }

/** The request under which policy tells what is in force. */
const policyRef = 'policy'

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
    case 'changes':
    case 'undo':
    case 'redo':
    case 'recent':
      return history(context, requestOf(event), event.type, event.body)
    case 'recall.done':
      return recalled(context, event.ref, event.folders)
    case 'ask-host':
      return askHost(context, requestOf(event), event.body)
    case 'allow-host':
    case 'drop-host':
      return editHosts(context, requestOf(event), event.body.session, event.body.host, event.type === 'allow-host')
    case 'explain-host':
      return explainHost(context, requestOf(event), event.body.session, event.body.url)
    case 'mint.done':
      return minted(context, event.ref, event.name, event.at)
    case 'pause.done':
      return taskAgain(context, event.ref)
    case 'stamp.done':
      return stamped(context, event.ref, event.at)
    case 'replied':
      if (isRecordRef(event.ref)) return released(context, event.ref)
      if (historyRef(event.ref)) return historyReplied(context, event.ref, event.kind, event.body, event.caps)
      if (event.ref.startsWith('open:')) return taskDone(context, event.ref, event.body, event.caps)
      if (event.ref.startsWith('host:')) return hostAnswered(context, event.ref, event.body)
      if (event.ref.startsWith('explain:')) return explained(context, event.ref, event)
      if (event.kind === 'tool-rule') return ruled(context, event.ref, event.body)
      return event.kind === 'derive' ? derived(context, event.ref, event.body, event.caps) : answered(context, event.ref, event.body)
    case 'refused':
      if (event.ref.startsWith('host:')) return hostRefused(context, event.ref, event.error)
      if (event.ref.startsWith('explain:')) return explained(context, event.ref, event)
      if (isRecordRef(event.ref)) return withheld(context, event.ref, event.error)
      if (historyRef(event.ref)) return historyRefused(context, event.ref, event.error)
      return event.ref.startsWith('open:') ? taskRefused(context, event.ref, event.error) : askRefused(context, event.ref, event.error)
    case 'cancelled':
      return [abandon, withdrawn, historyWithdrawn, hostWithdrawn].reduce(
        (last, give) => andThen(last, (now) => give(now, event.request)),
        stay(context),
      )
    case 'part':
      if (event.ref === policyRef) return policyChanged(context, (event.body as { policy: Policy }).policy)
      return event.ref === watchRef ? restarted(context, event.body) : stay(context)
    case 'rest.done':
    case 'stopping':
      return stay(context)
    default:
      return event satisfies never
  }
}

const storeOf = (params: Record<string, unknown> | undefined): string | null => {
  const { changes } = params ?? {}
  return typeof changes === 'string' ? changes : null
}

/** Someone may send a request kind one-way: then there is no one to answer. */
const requestOf = (event: Inbound<typeof protocol>): number => event.from.request ?? noRequest

const dialect = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing; input: { params: Record<string, unknown> } | undefined },
  /** Effects: see effects.ts. */
  actions: {
    mint: (_, _params: { ref: string }) => {},
    stamp: (_, _params: { ref: string }) => {},
    pause: (_, _params: { ref: string }) => {},
    recall: (_, _params: { ref: string }) => {},
    rest: () => {},
  },
})

const advance = dialect.enqueueActions(({ context, event, enqueue }) => {
  const { context: after, out } = recorded(context, event, step(context, event))
  enqueue.assign(() => after)
  for (const item of out) {
    if (item.type !== 'effect') enqueue.emit(item)
    else enqueue({ type: item.name, params: { ref: item.ref } })
  }
})

const watchPolicy = dialect.enqueueActions(({ enqueue }) => {
  enqueue.emit({ type: 'send', to: 'policy', kind: 'watch', body: {}, ref: policyRef, deadlineMs: null })
})

export const machine = dialect
  .extend({ actions: { advance, watchPolicy }, guards: { isPolicy: ({ event }) => 'ref' in event && event.ref === policyRef } })
  .createMachine({
    id: 'consent',
    context: ({ input }) => ({ ...empty, changes: storeOf(input?.params) }),
    initial: 'serving',
    states: {
      serving: {
        entry: [dialect.emit(watch), 'watchPolicy'],
        on: {
          open: { actions: 'advance' },
          close: { actions: 'advance' },
          revoke: { actions: 'advance' },
          grants: { actions: 'advance' },
          'approve-mode': { actions: 'advance' },
          ask: { actions: 'advance' },
          changes: { actions: 'advance' },
          undo: { actions: 'advance' },
          redo: { actions: 'advance' },
          recent: { actions: 'advance' },
          'recall.done': { actions: 'advance' },
          'ask-host': { actions: 'advance' },
          'allow-host': { actions: 'advance' },
          'drop-host': { actions: 'advance' },
          'explain-host': { actions: 'advance' },
          'mint.done': { actions: 'advance' },
          'stamp.done': { actions: 'advance' },
          'pause.done': { actions: 'advance' },
          part: { actions: 'advance' },
          // Policy's actor went down: asked again, in a moment, for what is in force.
          replied: [{ guard: 'isPolicy', actions: 'rest' }, { actions: 'advance' }],
          refused: [{ guard: 'isPolicy', actions: 'rest' }, { actions: 'advance' }],
          'rest.done': { actions: 'watchPolicy' },
          cancelled: { actions: 'advance' },
          stopping: 'stopping',
        },
      },
      /** The kernel stops the sessions' actors itself; new requests find no transition and are refused `not-now`. */
      stopping: {},
    },
  })
