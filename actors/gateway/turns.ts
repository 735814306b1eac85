/** Turns: a prompt on its way to the conversation, and how it ends. */
import { fault, type Fault } from '../../kernel/index.ts'
import { userMessage } from './acp-updates.ts'
import { announce } from './events.ts'
import { dropUnasked } from './questions.ts'
import { answer, andThen, type Context, effect, fail, type Step, stay, type Turn, watchersOf, withSession } from './state.ts'

export type Result = { status: 'done' | 'refused' | 'failed' | 'cancelled'; text: string; toolCalls: number; error?: Fault | undefined }

export type Prompt = { session: string; text: string; turn?: string | undefined; stays?: boolean | undefined }

export function prompt(context: Context, conn: number, call: number, asked: Prompt): Step {
  const { session: id, text, turn: name, stays = false } = asked
  const session = context.sessions[id]
  if (!session) return stay(context, fail(conn, call, fault('no-such-session', `There is no open session ${id}.`)))
  if (session.turn) return stay(context, fail(conn, call, fault('session-busy', `Session ${id} is working on a prompt.`)))
  const ref = `turn:${context.next}`
  const turn: Turn = { ref, turn: name ?? ref, conn, call, stays, text: '', toolCalls: 0, error: null, running: {} }
  const started = withSession({ ...context, next: context.next + 1 }, id, (now) => ({
    ...now,
    turn,
    watchers: { [conn]: 'bulkhead', ...now.watchers },
  }))
  const others = watchersOf(session, 'acp').filter((other) => other !== conn)
  const shown = andThen(announce(started, id, { type: 'prompt', text }), (now) =>
    others.length === 0
      ? stay(now)
      : stay(
          now,
          effect({
            name: 'notify',
            params: { conns: others, method: 'session/update', params: { sessionId: id, update: userMessage(text) } },
          }),
        ),
  )
  return andThen(shown, (now) =>
    stay(now, { type: 'send', to: session.conversation, kind: 'prompt', body: { text }, ref, deadlineMs: null }),
  )
}

/** Asks the conversation to stop; how the turn ended comes as its refusal. */
export function cancel(context: Context, id: string): Step {
  const turn = context.sessions[id]?.turn
  return stay(context, ...(turn ? [{ type: 'cancel', ref: turn.ref } as const] : []))
}

/** The session goes, and its turn with it: whoever prompted is told now, because what the conversation says of it finds nobody any more. */
export function cutOff(context: Context, id: string): Step {
  const turn = context.sessions[id]?.turn
  if (!turn) return stay(context)
  const { text, toolCalls } = turn
  return andThen(cancel(context, id), (now) => turnEnded(now, id, { status: 'cancelled', text, toolCalls }))
}

export function turnEnded(context: Context, id: string, result: Result): Step {
  const turn = context.sessions[id]?.turn
  if (!turn) return stay(context)
  const { error } = result
  const explained =
    error && result.status !== 'cancelled' && turn.error !== error.code ? announce(context, id, { type: 'error', error }) : stay(context)
  const announced = andThen(explained, (now) => announce(now, id, { type: 'result', ...result }))
  const answered = andThen(announced, (now) =>
    stay(
      withSession(now, id, (session) => ({ ...session, turn: null })),
      answer(turn.conn, turn.call, result),
    ),
  )
  return andThen(answered, (now) => dropUnasked(now, id))
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
