/** What clients call, turned into messages; and clients coming and going. */
import { fault, type Fault } from '../../kernel/index.ts'
import type { ClientCall } from './client-methods.ts'
import { announce } from './events.ts'
import { maxClients, maxIdleSessions } from './limits.ts'
import { gaveNoAnswer, showOpen } from './questions.ts'
import {
  answer,
  andThen,
  type Context,
  effect,
  fail,
  type Out,
  type Pending,
  type Step,
  stay,
  type Style,
  without,
  withSession,
} from './state.ts'
import { cancel, prompt } from './turns.ts'

export function connected(context: Context, conn: number): Step {
  if (context.clients.length >= maxClients) return stay(context, effect({ name: 'serve', params: { conn, full: true } }))
  return stay({ ...context, clients: [...context.clients, conn] }, effect({ name: 'serve', params: { conn, full: false } }))
}

export function called(context: Context, conn: number, call: number, style: Style, asked: ClientCall): Step {
  const relay = (to: string, kind: string, body: unknown, deadlineMs?: null): Step =>
    send(context, { conn, call, kind: kind === 'watch' ? 'watch' : 'relay' }, to, kind, body, deadlineMs)
  switch (asked.method) {
    case 'open':
      return send(context, { conn, call, kind: 'open', style }, 'consent', 'open', asked.params)
    case 'prompt':
      return prompt(context, conn, call, asked.params.session, asked.params.text, asked.params.turn)
    case 'cancel':
      return andThen(cancel(context, asked.params.session), (now) => stay(now, answer(conn, call, {})))
    case 'status': {
      const sessions = Object.values(context.sessions)
      // A session being opened is about to get its prompt.
      const opening = Object.values(context.pending).filter(({ kind }) => kind === 'open').length
      const running = sessions.filter(({ turn }) => turn).length + opening
      return stay(context, answer(conn, call, { clients: context.clients.length, sessions: sessions.length, running }))
    }
    case 'close': {
      const ended = relay('consent', 'close', asked.params)
      const { session } = asked.params
      return {
        ...ended,
        context: {
          ...ended.context,
          sessions: without(ended.context.sessions, session),
          idle: context.idle.filter((id) => id !== session),
        },
      }
    }
    case 'grants':
    case 'revoke':
    case 'approve-mode':
      return relay('consent', asked.method, asked.params)
    case 'sessions':
      return relay('journal', 'sessions', {})
    case 'inspect':
      return relay('kernel', 'inspect', {})
    case 'vm/status':
    case 'vm/stop':
      return relay('vm', asked.method.slice(3), {})
    case 'vm/start':
    case 'vm/restart':
    case 'vm/watch':
      return relay('vm', asked.method.slice(3), {}, null)
    case 'policy/show':
      return relay('policy', 'effective', {})
    case 'policy/check':
    case 'policy/explain':
      return relay('policy', asked.method.slice(7), asked.params)
    case 'telemetry/status':
      return relay('telemetry', 'status', {})
    case 'telemetry/test':
      return relay('telemetry', 'test', {})
    case 'shutdown':
      return stay(context, { type: 'send', to: 'kernel', kind: 'shutdown', body: {} }, answer(conn, call, {}))
    default:
      return asked satisfies never
  }
}

function send(context: Context, pending: Pending, to: string, kind: string, body: unknown, deadlineMs?: null): Step {
  const ref = `call:${context.next}`
  const noted: Context = { ...context, next: context.next + 1, pending: { ...context.pending, [ref]: pending } }
  return stay(noted, { type: 'send', to, kind, body, ref, ...(deadlineMs === null ? { deadlineMs } : {}) })
}

export function callReplied(context: Context, ref: string, body: unknown, caps: readonly number[]): Step {
  const pending = context.pending[ref]
  if (!pending) return stay(context)
  const { conn, call } = pending
  const done: Context = { ...context, pending: without(context.pending, ref) }
  if (pending.kind !== 'open') return stay(done, answer(conn, call, body))
  const opened = body as { session: string }
  const [conversation] = caps
  if (conversation === undefined) return stay(done, fail(conn, call, fault('internal', 'The session came without its conversation.')))
  const known = done.sessions[opened.session]
  const session = {
    id: opened.session,
    seq: 0,
    turn: null,
    ...known,
    conversation,
    watchers: { ...known?.watchers, [conn]: pending.style },
  }
  const watched: Context = {
    ...done,
    sessions: { ...done.sessions, [session.id]: session },
    idle: done.idle.filter((id) => id !== session.id),
  }
  const announced = announce(watched, session.id, { type: 'session', ...opened })
  const answered = andThen(announced, (now) => stay(now, answer(conn, call, opened)))
  return andThen(answered, (now) => showOpen(now, session.id, conn))
}

export function callRefused(context: Context, ref: string, error: Fault): Step {
  const pending = context.pending[ref]
  if (!pending) return stay(context)
  return stay({ ...context, pending: without(context.pending, ref) }, fail(pending.conn, pending.call, error))
}

export function callPart(context: Context, ref: string, body: unknown): Step {
  const pending = context.pending[ref]
  if (pending?.kind !== 'watch') return stay(context)
  const status = typeof body === 'object' && body !== null && 'status' in body ? body.status : body
  return stay(
    context,
    effect({ name: 'notify', params: { conns: [pending.conn], method: '_bulkhead/vm', params: { status }, stamp: false } }),
  )
}

/** The client does not want the answer any more. A prompt withdrawn is a turn interrupted. */
export function callWithdrawn(context: Context, conn: number, call: number): Step {
  const refs = Object.entries(context.pending).flatMap(([ref, pending]) => (pending.conn === conn && pending.call === call ? [ref] : []))
  const turn = Object.values(context.sessions).find((session) => session.turn?.conn === conn && session.turn.call === call)
  return stay(context, ...[...refs, ...(turn?.turn ? [turn.turn.ref] : [])].map((ref) => ({ type: 'cancel', ref }) as const))
}

/**
 * A client is gone: what it waited for is given up, the turns it started are interrupted (nobody would see what they do), and its
 * share of open questions falls to the others.
 */
export function disconnected(context: Context, conn: number): Step {
  const refs = Object.entries(context.pending).flatMap(([ref, pending]) => (pending.conn === conn ? [ref] : []))
  const turns = Object.values(context.sessions).flatMap(({ turn }) => (turn?.conn === conn ? [turn.ref] : []))
  const left = Object.keys(context.sessions).reduce<Context>(
    (now, id) =>
      withSession(now, id, (session) => ({ ...session, watchers: without(session.watchers as Record<string, Style>, String(conn)) })),
    { ...context, clients: context.clients.filter((other) => other !== conn) },
  )
  const unwatched = Object.values(left.sessions).filter(({ id, watchers }) => Object.keys(watchers).length === 0 && !left.idle.includes(id))
  const cancelled = stay(
    { ...left, idle: [...left.idle, ...unwatched.map(({ id }) => id)] },
    ...[...refs, ...turns].map((ref) => ({ type: 'cancel', ref }) as const),
  )
  const parted = Object.keys(context.questions).reduce((step, id) => andThen(step, (now) => gaveNoAnswer(now, id, conn)), cancelled)
  return andThen(parted, retire)
}

/** Ends the longest unwatched sessions beyond the limit. */
function retire(context: Context): Step {
  const ending = context.idle.slice(0, -maxIdleSessions)
  const kept = ending.reduce((sessions, id) => without(sessions, id), context.sessions)
  return stay(
    { ...context, sessions: kept, idle: context.idle.slice(-maxIdleSessions), next: context.next + 1 },
    ...ending.map(
      (session): Out => ({ type: 'send', to: 'consent', kind: 'close', body: { session }, ref: `retired:${context.next}:${session}` }),
    ),
  )
}
