/**
 * The gateway as a machine: clients, the sessions they watch, turns and questions are records in the context; what happens to each is
 * in calls.ts, turns.ts, questions.ts and events.ts as pure functions.
 */
import { setup } from 'xstate'
import { noRequest } from '../../kernel/index.ts'
import type { Inbound, KernelEvent, Outgoing } from '../../kernel/index.ts'
import type { ConversationEvent } from '../conversation/protocol.ts'
import { callPart, called, callRefused, callReplied, callWithdrawn, connected, disconnected, joined, recalled } from './calls.ts'
import type { ClientCall } from './client-methods.ts'
import { happened } from './events.ts'
import type { protocol } from './protocol.ts'
import { askMember, gaveNoAnswer, memberAnswered, questionWithdrawn } from './questions.ts'
import { shellClosed } from './shells.ts'
import { type Context, empty, type EffectCall, type Session, type Step, stay, type Style } from './state.ts'
import { type Result, turnEnded, turnRefused } from './turns.ts'

export type ServeEvent =
  /** A client's call, its parameters checked. */
  | { type: 'serve.called'; conn: number; call: number; style: Style; asked: ClientCall }
  | { type: 'serve.withdrawn'; conn: number; call: number }
  /** Who came through the page's door has proved itself. */
  | { type: 'serve.joined'; conn: number }
type Event =
  | Inbound<typeof protocol>
  | KernelEvent
  | ServeEvent
  | { type: 'serve.closed'; conn: number }
  | { type: 'recall.done'; ref: string; seq: number }
  | { type: 'shell.closed'; ref: string }
  | { type: 'shell.crashed'; ref: string }
  | { type: 'question.answered'; question: string; conn: number; option: string; by: string }
  | { type: 'question.unanswered'; question: string; conn: number }

function step(context: Context, event: Event): Step {
  switch (event.type) {
    case 'connection':
      return connected(context, event.body.conn, event.body.door)
    case 'ask-member':
      return askMember(context, event.from.request ?? noRequest, event.body)
    case 'serve.called':
      return called(context, event.conn, event.call, event.style, event.asked)
    case 'serve.withdrawn':
      return callWithdrawn(context, event.conn, event.call)
    case 'serve.joined':
      return joined(context, event.conn)
    case 'recall.done':
      return recalled(context, event.ref, event.seq)
    case 'shell.closed':
    case 'shell.crashed':
      return shellClosed(context, event.ref)
    case 'serve.closed':
      return disconnected(context, event.conn)
    case 'question.answered':
      return memberAnswered(context, event.question, event.conn, event.option, event.by)
    case 'question.unanswered':
      return gaveNoAnswer(context, event.question, event.conn)
    case 'part': {
      const session = turnSession(context, event.ref)
      return session ? happened(context, session, event.body as ConversationEvent) : callPart(context, event.ref, event.body)
    }
    case 'replied': {
      const session = turnSession(context, event.ref)
      return session ? turnEnded(context, session.id, event.body as Result) : callReplied(context, event.ref, event.body, event.caps)
    }
    case 'refused': {
      const session = turnSession(context, event.ref)
      return session ? turnRefused(context, session.id, event.error) : callRefused(context, event.ref, event.error)
    }
    case 'cancelled':
      return questionWithdrawn(context, event.request)
    case 'stopping':
      return stay(context)
    default:
      return event satisfies never
  }
}

function turnSession(context: Context, ref: string): Session | undefined {
  return Object.values(context.sessions).find(({ turn }) => turn?.ref === ref)
}

type Params<Name extends EffectCall['name']> = Extract<EffectCall, { name: Name }>['params']

const dialect = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing },
  /** Effects: see effects.ts. */
  actions: {
    serve: (_, _params: Params<'serve'>) => {},
    answer: (_, _params: Params<'answer'>) => {},
    notify: (_, _params: Params<'notify'>) => {},
    publish: (_, _params: Params<'publish'>) => {},
    recall: (_, _params: Params<'recall'>) => {},
    replay: (_, _params: Params<'replay'>) => {},
    forget: (_, _params: Params<'forget'>) => {},
    listSessions: (_, _params: Params<'listSessions'>) => {},
    tellPage: (_, _params: Params<'tellPage'>) => {},
    question: (_, _params: Params<'question'>) => {},
    shell: (_, _params: Params<'shell'>) => {},
  },
})

/** An effect call as the action of that name. The type checker cannot see that name and params stay together through a rename. */
function action({ name, params }: EffectCall): { type: 'serve'; params: Params<'serve'> } {
  return { type: name, params } as { type: 'serve'; params: Params<'serve'> }
}

const advance = dialect.enqueueActions(({ context, event, enqueue }) => {
  const { context: after, out } = step(context, event)
  enqueue.assign(() => after)
  for (const item of out) {
    if (item.type !== 'effect') enqueue.emit(item)
    else enqueue(action(item.call))
  }
})

export const machine = dialect.extend({ actions: { advance } }).createMachine({
  id: 'gateway',
  context: empty,
  initial: 'serving',
  states: {
    serving: {
      on: {
        connection: { actions: 'advance' },
        'ask-member': { actions: 'advance' },
        'serve.called': { actions: 'advance' },
        'serve.withdrawn': { actions: 'advance' },
        'serve.joined': { actions: 'advance' },
        'serve.closed': { actions: 'advance' },
        'recall.done': { actions: 'advance' },
        'shell.closed': { actions: 'advance' },
        'shell.crashed': { actions: 'advance' },
        'question.answered': { actions: 'advance' },
        'question.unanswered': { actions: 'advance' },
        part: { actions: 'advance' },
        replied: { actions: 'advance' },
        refused: { actions: 'advance' },
        cancelled: { actions: 'advance' },
        stopping: 'stopping',
      },
    },
    /** Clients see their connection close; requests are refused `not-now`. */
    stopping: {},
  },
})
