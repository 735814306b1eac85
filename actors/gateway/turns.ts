/** Turns: a prompt on its way to the conversation, and how it ends. */
import { fault, type Fault } from '../../kernel/index.ts'
import { announce } from './events.ts'
import { answer, andThen, type Context, fail, type Step, stay, type Turn, withSession } from './state.ts'

export type Result = { status: 'done' | 'refused' | 'failed' | 'cancelled'; text: string; toolCalls: number; error?: Fault | undefined }

export function prompt(context: Context, conn: number, call: number, id: string, text: string, name: string | undefined): Step {
  const session = context.sessions[id]
  if (!session) return stay(context, fail(conn, call, fault('no-such-session', `There is no open session ${id}.`)))
  if (session.turn) return stay(context, fail(conn, call, fault('session-busy', `Session ${id} is working on a prompt.`)))
  const ref = `turn:${context.next}`
  const turn: Turn = { ref, turn: name ?? ref, conn, call, text: '', toolCalls: 0, error: null, running: {} }
  const started = withSession({ ...context, next: context.next + 1 }, id, (now) => ({
    ...now,
    turn,
    watchers: { [conn]: 'bulkhead', ...now.watchers },
  }))
  return stay(started, { type: 'send', to: session.conversation, kind: 'prompt', body: { text }, ref, deadlineMs: null })
}

/** Asks the conversation to stop; how the turn ended comes as its refusal. */
export function cancel(context: Context, id: string): Step {
  const turn = context.sessions[id]?.turn
  return stay(context, ...(turn ? [{ type: 'cancel', ref: turn.ref } as const] : []))
}

export function turnEnded(context: Context, id: string, result: Result): Step {
  const turn = context.sessions[id]?.turn
  if (!turn) return stay(context)
  const { error } = result
  const explained =
    error && result.status !== 'cancelled' && turn.error !== error.code ? announce(context, id, { type: 'error', error }) : stay(context)
  const announced = andThen(explained, (now) => announce(now, id, { type: 'result', ...result }))
  return andThen(announced, (now) =>
    stay(
      withSession(now, id, (session) => ({ ...session, turn: null })),
      answer(turn.conn, turn.call, result),
    ),
  )
}

export function turnRefused(context: Context, id: string, error: Fault): Step {
  const turn = context.sessions[id]?.turn
  if (!turn) return stay(context)
  const { text, toolCalls } = turn
  return turnEnded(
    context,
    id,
    error.code === 'cancelled' ? { status: 'cancelled', text, toolCalls } : { status: 'failed', text, toolCalls, error },
  )
}
