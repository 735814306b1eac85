/** What clients call, turned into messages; and clients coming and going. */
import { fault, type Fault } from '../../kernel/index.ts'
import type { ClientCall } from './client-methods.ts'
import { announce } from './events.ts'
import { maxClients, maxIdleSessions } from './limits.ts'
import { gaveNoAnswer, showOpen } from './questions.ts'
import { endShells, openShell, steered } from './shells.ts'
import {
  answer,
  andThen,
  type Context,
  type DoorKind,
  effect,
  fail,
  type LiveSession,
  type Opened,
  type Out,
  type Pending,
  type Step,
  stay,
  type Style,
  without,
  withSession,
} from './state.ts'
import { cancel, cutOff, prompt } from './turns.ts'

/** Whoever comes through the page's door becomes a client once it has proved itself (`joined`). */
export function connected(context: Context, conn: number, door: DoorKind): Step {
  const full = context.clients.length >= maxClients
  const serve = effect({ name: 'serve', params: { conn, full, door } })
  return full || door === 'page' ? stay(context, serve) : stay({ ...context, clients: [...context.clients, conn] }, serve)
}

export function joined(context: Context, conn: number): Step {
  return stay({ ...context, clients: [...context.clients, conn] })
}

export function called(context: Context, conn: number, call: number, style: Style, asked: ClientCall): Step {
  const relay = (to: string, kind: string, body: unknown, deadlineMs?: null): Step =>
    send(context, { conn, call, kind: kind === 'watch' ? 'watch' : 'relay' }, to, kind, body, deadlineMs)
  switch (asked.method) {
    case 'open':
      return send(context, { conn, call, kind: 'open', style }, 'consent', 'open', asked.params)
    case 'prompt':
      return prompt(context, conn, call, asked.params)
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
      const { session } = asked.params
      return andThen(cutOff(context, session), (now) => {
        const closing = send(now, { conn, call, kind: 'relay' }, 'consent', 'close', asked.params)
        return {
          context: {
            ...closing.context,
            sessions: without(closing.context.sessions, session),
            idle: now.idle.filter((id) => id !== session),
          },
          out: [...closing.out, effect({ name: 'forget', params: { session } })],
        }
      })
    }
    case 'grants':
      return relay('consent', asked.method, asked.params)
    case 'revoke':
    case 'approve-mode':
      return send(context, { conn, call, kind: 'change', session: asked.params.session }, 'consent', asked.method, asked.params)
    case 'changes':
    case 'undo':
    case 'redo':
      return relay('consent', asked.method, asked.params, null)
    case 'folders/recent':
      return relay('consent', 'recent', {})
    case 'replay': {
      const { session, after } = asked.params
      if (!context.sessions[session])
        return stay(context, fail(conn, call, fault('no-such-session', `There is no open session ${session}.`)))
      return stay(context, effect({ name: 'replay', params: { conn, call, session, after } }))
    }
    case 'sessions':
      return stay(context, effect({ name: 'listSessions', params: { conn, call, live: liveSessions(context) } }))
    case 'page':
      return stay(context, effect({ name: 'tellPage', params: { conn, call } }))
    case 'inspect':
      return relay('kernel', 'inspect', {})
    case 'model':
      return relay('egress', 'model-info', {})
    case 'vm/status':
    case 'vm/stop':
      return relay('vm', asked.method.slice(3), {})
    case 'vm/start':
    case 'vm/restart':
    case 'vm/watch':
      return relay('vm', asked.method.slice(3), {}, null)
    case 'shell/open':
      return openShell(context, conn, call, asked.params)
    case 'shell/input':
    case 'shell/resize': {
      const to = steered(context, conn, asked)
      if (to === null) return stay(context, fail(conn, call, fault('not-found', `There is no terminal ${asked.params.shell}.`)))
      return relay('vm', to.kind, to.body, null)
    }
    case 'policy/show':
      return relay('policy', 'effective', {})
    case 'policy/check':
    case 'policy/explain':
      return relay('policy', asked.method.slice(7), asked.params)
    case 'telemetry/status':
      return relay('telemetry', 'status', {})
    case 'telemetry/test':
      return relay('telemetry', 'test', {})
    case 'mcp/servers':
    case 'mcp/add':
    case 'mcp/remove':
    case 'mcp/approve':
    case 'mcp/tool-mode':
    case 'mcp/remove-extension':
      return relay('mcp', asked.method.slice(4), asked.params)
    case 'mcp/restart':
    case 'mcp/install-extension':
      return relay('mcp', asked.method.slice(4), asked.params, null)
    case 'actors/list':
      return relay('actors', 'list', {})
    case 'actors/examine':
    case 'actors/remove':
      return relay('actors', asked.method.slice(7), asked.params, null)
    case 'actors/add':
      return relay('actors', 'add', { ...asked.params, by: 'the member' }, null)
    case 'egress/rules':
    case 'egress/change-rule':
    case 'egress/reload-secrets':
    case 'egress/log':
      return relay('egress', asked.method.slice(7), asked.params)
    case 'egress/explain': {
      const { session, url } = asked.params
      return session === null ? relay('egress', 'explain', { url }) : relay('consent', 'explain-host', { session, url })
    }
    case 'egress/allow-host':
    case 'egress/drop-host':
      return send(context, { conn, call, kind: 'change', session: asked.params.session }, 'consent', asked.method.slice(7), asked.params)
    case 'shutdown':
      return stay(context, { type: 'send', to: 'kernel', kind: 'shutdown', body: {} }, answer(conn, call, {}))
    default:
      return asked satisfies never
  }
}

function liveSessions(context: Context): Record<string, LiveSession> {
  const asking = Object.values(context.questions).map(({ session }) => session)
  return Object.fromEntries(
    Object.values(context.sessions).map(({ id, turn, folders }) => [id, { running: turn !== null, asks: asking.includes(id), folders }]),
  )
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
  if (pending.kind === 'change')
    return andThen(stay(done, answer(conn, call, body)), (now) => announce(now, pending.session, { type: 'grants' }))
  if (pending.kind !== 'open') return stay(done, answer(conn, call, body))
  const opened = body as Opened
  const [conversation] = caps
  if (conversation === undefined) return stay(done, fail(conn, call, fault('internal', 'The session came without its conversation.')))
  if (done.sessions[opened.session] || !opened.resumed) return watch(done, { ...pending, opened, conversation }, 0)
  const reading: Context = { ...done, pending: { ...done.pending, [ref]: { ...pending, kind: 'load', opened, conversation } } }
  return stay(reading, effect({ name: 'recall', params: { ref, session: opened.session } }))
}

/** What was said before is there: its last event has the number `seq`. */
export function recalled(context: Context, ref: string, seq: number): Step {
  const pending = context.pending[ref]
  if (pending?.kind !== 'load') return stay(context)
  return watch({ ...context, pending: without(context.pending, ref) }, pending, seq)
}

type Opening = { conn: number; call: number; style: Style; opened: Opened; conversation: number }

/** From here on the client sees what happens in the session. */
function watch(done: Context, { conn, call, style, opened, conversation }: Opening, seq: number): Step {
  const known = done.sessions[opened.session]
  const session = {
    id: opened.session,
    turn: null,
    ...known,
    seq: Math.max(known?.seq ?? 0, seq),
    conversation,
    folders: opened.folders.map(({ root }) => root),
    // One that left while the session was being opened watches nothing.
    watchers: { ...known?.watchers, ...(done.clients.includes(conn) ? { [conn]: style } : {}) },
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
  return stay(context, effect({ name: 'notify', params: { conns: [pending.conn], method: '_bulkhead/vm', params: { status } } }))
}

/** The client does not want the answer any more, or is gone. A prompt withdrawn is a turn interrupted, unless it stays. */
export function callWithdrawn(context: Context, conn: number, call: number): Step {
  const refs = Object.entries(context.pending).flatMap(([ref, pending]) => (pending.conn === conn && pending.call === call ? [ref] : []))
  const turn = Object.values(context.sessions).find(({ turn: now }) => now?.conn === conn && now.call === call && !now.stays)
  const cancelled = stay(context, ...[...refs, ...(turn?.turn ? [turn.turn.ref] : [])].map((ref) => ({ type: 'cancel', ref }) as const))
  return andThen(cancelled, (now) => endShells(now, (shell) => shell.conn === conn && shell.call === call))
}

/**
 * A client is gone: what it waited for is given up, the turns it started are interrupted (nobody would see what they do), and its
 * share of open questions falls to the others.
 */
export function disconnected(context: Context, conn: number): Step {
  const refs = Object.entries(context.pending).flatMap(([ref, pending]) => (pending.conn === conn ? [ref] : []))
  const turns = Object.values(context.sessions).flatMap(({ turn }) => (turn?.conn === conn && !turn.stays ? [turn.ref] : []))
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
  const ended = andThen(cancelled, (now) => endShells(now, (shell) => shell.conn === conn))
  const parted = Object.keys(context.questions).reduce((step, id) => andThen(step, (now) => gaveNoAnswer(now, id, conn)), ended)
  return andThen(parted, retire)
}

/** Ends the longest unwatched sessions beyond the limit. */
function retire(context: Context): Step {
  const ending = context.idle.slice(0, -maxIdleSessions).filter((id) => !context.sessions[id]?.turn)
  const kept = ending.reduce((sessions, id) => without(sessions, id), context.sessions)
  return stay(
    { ...context, sessions: kept, idle: context.idle.filter((id) => !ending.includes(id)), next: context.next + 1 },
    ...ending.flatMap((session): Out[] => [
      effect({ name: 'forget', params: { session } }),
      { type: 'send', to: 'consent', kind: 'close', body: { session }, ref: `retired:${context.next}:${session}` },
    ]),
  )
}
