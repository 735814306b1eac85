/**
 * Session events: numbered per session, sent to everyone who watches it. Pieces that only matter while they are new (thinking, tool
 * output, token counts) carry the number of the last real event and `passing: true`: a client that missed them missed nothing.
 */
import type { ConversationEvent } from '../conversation/protocol.ts'
import { acpUpdate } from './acp-updates.ts'
import { maxKeptText as maxKept } from './limits.ts'
import { type Context, effect, type Session, type Step, stay, type Turn, watchersOf, withSession } from './state.ts'

const passing: readonly string[] = ['thinking', 'tool_output', 'usage', 'grants']

type Event = { type: string; [field: string]: unknown }

/** Publishes `event`: it is kept, and sent to those who watch in our own words. */
export function announce(context: Context, id: string, event: Event): Step {
  const session = context.sessions[id]
  if (!session) return stay(context)
  const brief = passing.includes(event.type)
  const seq = brief ? session.seq : session.seq + 1
  const conns = watchersOf(session, 'bulkhead')
  const params = { session: id, seq, ...(session.turn ? { turn: session.turn.turn } : {}), ...(brief ? { passing: true } : {}), ...event }
  const numbered = withSession(context, id, (now) => ({ ...now, seq }))
  return stay(numbered, effect({ name: 'publish', params: { conns, event: params } }))
}

/** A piece of the running turn. */
export function happened(context: Context, session: Session, event: ConversationEvent): Step {
  const { turn } = session
  if (!turn) return stay(context)
  const noted = withSession(context, session.id, (now) => ({ ...now, turn: note(turn, event) }))
  // Which model answers is part of what the session is.
  const told = event.type === 'model' ? { type: 'session', model: { name: event.name, practice: event.practice } } : event
  const announced = announce(noted, session.id, told)
  const update = acpUpdate(event)
  const conns = watchersOf(session, 'acp')
  if (!update || conns.length === 0) return announced
  const params = { sessionId: session.id, update }
  return {
    ...announced,
    out: [...announced.out, effect({ name: 'notify', params: { conns, method: 'session/update', params } })],
  }
}

function note(turn: Turn, event: ConversationEvent): Turn {
  switch (event.type) {
    case 'text':
      return { ...turn, text: (turn.text + event.text).slice(-maxKept) }
    case 'tool_call':
      return { ...turn, text: '', toolCalls: turn.toolCalls + 1, running: { ...turn.running, [event.id]: event.title } }
    case 'tool_result': {
      const { [event.id]: _, ...running } = turn.running
      return { ...turn, running }
    }
    case 'error':
      return { ...turn, error: event.error.code }
    default:
      return turn
  }
}
