/** Questions to the member. Everyone who watches is asked; the first answer wins and the others are told whose it was. */
import { fault } from '../../kernel/index.ts'
import { toolKind } from './acp-updates.ts'
import { announce } from './events.ts'
import type { Option } from './protocol.ts'
import { andThen, type Context, effect, type Out, type Question, type Session, type Step, stay, without } from './state.ts'

export function askMember(
  context: Context,
  request: number,
  body: { session: string; id: string; tool: string; title: string; detail: string; options: readonly Option[] },
): Step {
  const session = context.sessions[body.session]
  const asked = Object.keys(session?.watchers ?? {}).map(Number)
  if (!session || (asked.length === 0 && !session.turn?.stays)) return stay(context, nobody(request, 'No client watches the session.'))
  const toolCall = Object.entries(session.turn?.running ?? {}).find(([, title]) => title === body.title)?.[0] ?? body.id
  const question: Question = { ...body, request, toolCall, asked }
  const noted: Context = { ...context, questions: { ...context.questions, [body.id]: question } }
  return stay(noted, ...asked.map((conn) => show(question, conn)))
}

/** A client that came later sees what is still open. */
export function showOpen(context: Context, session: string, conn: number): Step {
  const open = Object.values(context.questions).filter((question) => question.session === session && !question.asked.includes(conn))
  const questions = Object.fromEntries(open.map((question) => [question.id, { ...question, asked: [...question.asked, conn] }]))
  return stay({ ...context, questions: { ...context.questions, ...questions } }, ...open.map((question) => show(question, conn)))
}

const refOf = (question: string, conn: number): string => `${question}@${conn}`

function show(question: Question, conn: number): Out {
  const { id, session, tool, title, detail, toolCall, options } = question
  const kinds = { once: 'allow_once', session: 'allow_always', always: 'allow_always' } as const
  const params = {
    sessionId: session,
    toolCall: {
      toolCallId: toolCall,
      title,
      kind: toolKind(tool),
      status: 'pending',
      content: [{ type: 'content', content: { type: 'text', text: detail } }],
    },
    options: options.map((option) => ({
      optionId: option.id,
      name: option.label,
      kind: option.scope === null ? 'reject_once' : kinds[option.scope],
    })),
    _meta: { bulkhead: { id, tool, title, detail, options } },
  }
  return effect({ name: 'question', params: { ref: refOf(id, conn), conn, question: id, params } })
}

export function memberAnswered(context: Context, id: string, conn: number, option: string, by: string): Step {
  const question = context.questions[id]
  if (!question) return stay(context)
  // Not one of the options: that client's mistake must not end the question for the others.
  if (!question.options.some((known) => known.id === option)) return gaveNoAnswer(context, id, conn)
  const resolved = resolve(context, question, conn, { option, by })
  const replied = andThen(resolved, (now) => stay(now, { type: 'reply', request: question.request, body: { option, by } }))
  // An answer that stands is a grant.
  const scope = question.options.find(({ id: known }) => known === option)?.scope ?? 'once'
  return scope === 'once' ? replied : andThen(replied, (now) => announce(now, question.session, { type: 'grants' }))
}

/** That client left or declined to answer; when it was the last one, nobody is there to ask, unless the turn waits for whoever comes. */
export function gaveNoAnswer(context: Context, id: string, conn: number): Step {
  const question = context.questions[id]
  if (!question?.asked.includes(conn)) return stay(context)
  const asked = question.asked.filter((other) => other !== conn)
  const waits = context.sessions[question.session]?.turn?.stays === true
  if (asked.length > 0 || waits) return stay({ ...context, questions: { ...context.questions, [id]: { ...question, asked } } })
  return stay({ ...context, questions: without(context.questions, id) }, nobody(question.request, 'No client answered the question.'))
}

/** The turn that waited for whoever comes is over: what no client has in front of it is asked of nobody. */
export function dropUnasked(context: Context, session: string): Step {
  const unasked = Object.values(context.questions).filter((question) => question.session === session && question.asked.length === 0)
  return stay(
    { ...context, questions: unasked.reduce((questions, { id }) => without(questions, id), context.questions) },
    ...unasked.map(({ request }) => nobody(request, 'No client watches the session.')),
  )
}

/** Consent does not want to know any more. */
export function questionWithdrawn(context: Context, request: number): Step {
  const question = Object.values(context.questions).find((item) => item.request === request)
  return question ? resolve(context, question, null, { option: null, by: null }) : stay(context)
}

function resolve(context: Context, question: Question, by: number | null, outcome: { option: string | null; by: string | null }): Step {
  const session: Session | undefined = context.sessions[question.session]
  const conns = Object.entries(session?.watchers ?? {}).flatMap(([conn, style]) =>
    style === 'bulkhead' && Number(conn) !== by ? [Number(conn)] : [],
  )
  const params = { session: question.session, id: question.id, ...outcome }
  return stay(
    { ...context, questions: without(context.questions, question.id) },
    ...question.asked.filter((conn) => conn !== by).map((conn): Out => ({ type: 'interrupt', ref: refOf(question.id, conn) })),
    ...(conns.length > 0 ? [effect({ name: 'notify', params: { conns, method: '_bulkhead/permission_resolved', params } })] : []),
  )
}

function nobody(request: number, message: string): Out {
  return { type: 'refuse', request, error: fault('no-one-to-ask', message) }
}
