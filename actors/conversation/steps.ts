/**
 * The decisions of a turn as pure functions: context and event in, context and what leaves out. The machine says when each is
 * taken; `Step` is what its actions carry out.
 */
import type { ContentBlockParam } from '@anthropic-ai/sdk/resources/messages'
import { fault } from '../../kernel/index.ts'
import type { Fault, Outgoing } from '../../kernel/index.ts'
import { type Context, type Turn, workspaceOf } from './context.ts'
import { type FolderNews, newsBlocks } from './folder-news.ts'
import { type Message, messageEntry } from './history.ts'
import { type EndedJob, jobBlocks } from './job-news.ts'
import { MAX_CONTINUATIONS, MAX_MODEL_CALLS } from './limits.ts'
import type { ConversationEvent, JournalEntry } from './protocol.ts'
import type { Call } from './tools/tool.ts'
import { interrupted, resultBlocks, toolCalls } from './turn.ts'

export type ToolRun = {
  ref: string
  request: number
  id: string
  /** The session may have commands in the background, of whose ends the model is to hear. */
  asksJobs: boolean
  /** What the audit log has of it before it happens. `first`: it must be on the disk by then. */
  audit?: { data: { tool: string; id: string; title: string; target: unknown }; first: boolean }
  calls: { to: number | string; kind: string; body: unknown; deadlineMs?: number | null; pages?: Call['pages'] }[]
}
export type Step = { context: Context; out: readonly Outgoing[]; runs: readonly ToolRun[] }

/** Outcome of the `callModel` effect. */
export type ModelAnswer = {
  content: ContentBlockParam[]
  stopReason: string | null
  /** Why the model declined, in its provider's words. */
  refusal?: string | undefined
  /** `input` is all of it, with what came from and went to the prompt cache. */
  usage: { input: number; output: number; cacheRead: number; cacheCreation: number }
  /** The API's name for the request. */
  requestId?: string | undefined
  speed: 'fast' | 'normal'
  durationMs: number
}

export function event(request: number, body: ConversationEvent): Outgoing {
  return { type: 'partTo', request, body }
}

export function withTurn(context: Context, change: Partial<Turn>): Context {
  return context.turn ? { ...context, turn: { ...context.turn, ...change } } : context
}

/** Prepares messages for the journal; nothing else goes on until they are durable. */
function stage(context: Context, added: readonly Message[]): Context {
  return stageEntries(context, [...context.messages, ...added], added.map(messageEntry))
}

function stageEntries(context: Context, messages: readonly Message[], entries: readonly JournalEntry[]): Context {
  return { ...context, serial: context.serial + 1, staged: { messages: [...messages], entries: [...entries], left: entries.length } }
}

export function saveRef(context: Context): string {
  return `save:${context.serial}`
}

/** The prompt as a message: added to the history before the model hears of it. */
export function stagePrompt(context: Context, news: readonly FolderNews[] = [], ended: readonly EndedJob[] = []): Context {
  const text = context.turn?.text ?? ''
  return stage(context, [{ role: 'user', content: [{ type: 'text', text }, ...newsBlocks(news, context), ...jobBlocks(ended)] }])
}

/** What a finished answer of the model leads to, by its stop reason. */
export function afterAnswer(context: Context, { content, stopReason, refusal, usage }: ModelAnswer): Step {
  const { turn } = context
  if (!turn) return { context, out: [], runs: [] }
  const out = [event(turn.request, { type: 'usage', input: usage.input, output: usage.output })]
  const end = (added: readonly Message[], ending: Turn['ending'], answer = turn.answer): Step => ({
    context: withTurn(stage(context, added), { ending, answer }),
    out,
    runs: [],
  })
  const text = content.map((block) => (block.type === 'text' ? block.text : '')).join('')
  const answer = (turn.continuations > 0 ? turn.answer + text : text) || turn.answer
  const said: Message[] = content.length > 0 ? [{ role: 'assistant', content }] : []

  if (stopReason === 'refusal') {
    const error = fault('declined', 'The model declined this request.', refusal ? { cause: refusal } : {})
    const kept = context.messages.slice(0, turn.startsAt)
    const withdrawn = stageEntries(context, kept, [{ type: 'withdrawn', entry: { messages: kept.length } }])
    return { context: withTurn(withdrawn, { ending: { status: 'refused', error }, answer: text }), out, runs: [] }
  }
  const cut = stopReason === 'max_tokens' || stopReason === 'model_context_window_exceeded'
  const calls = toolCalls(content, workspaceOf(context), cut)
  if (calls.length > 0) {
    const next = withTurn(stage(context, said), { calls, toolCalls: turn.toolCalls + calls.length, continuations: 0, answer })
    return { context: next, out, runs: [] }
  }
  if (stopReason === 'pause_turn') return { context: withTurn(stage(context, said), { answer }), out, runs: [] }
  if (stopReason === 'model_context_window_exceeded')
    return end(said, { status: 'failed', error: fault('context-full', 'The conversation no longer fits the model.') }, answer)
  if (stopReason === 'max_tokens') {
    if (turn.continuations >= MAX_CONTINUATIONS)
      return end(said, { status: 'failed', error: fault('output-limit', `The answer was cut ${MAX_CONTINUATIONS + 1} times.`) }, answer)
    const goOn: Message = {
      role: 'user',
      content: [
        { type: 'text', text: 'Your answer reached its length limit. Continue exactly where it stopped, without repeating anything.' },
      ],
    }
    return { context: withTurn(stage(context, [...said, goOn]), { continuations: turn.continuations + 1, answer }), out, runs: [] }
  }
  return end(said, { status: 'done' }, answer)
}

export function stageResults(context: Context): Context {
  const { turn } = context
  const results: Message = { role: 'user', content: [...resultBlocks(turn?.calls ?? []), ...jobBlocks(turn?.endedJobs ?? [])] }
  return withTurn(stage(context, [results]), { calls: [], endedJobs: [] })
}

export function failed(context: Context, error: Fault): Context {
  return withTurn({ ...context, staged: null }, { ending: { status: 'failed', error } })
}

export function overCallLimit({ turn }: Context): boolean {
  return (turn?.modelCalls ?? 0) >= MAX_MODEL_CALLS
}

export function callLimitFault(): Fault {
  return fault('turn-limit', `This turn used ${MAX_MODEL_CALLS} model calls.`, { rule: `at most ${MAX_MODEL_CALLS} model calls a turn` })
}

/** The reply to the prompt. A turn that ends well but was denied something it asked for is `refused`: scripts need to know. */
export function endTurn(context: Context): Outgoing[] {
  const { turn } = context
  if (!turn) return []
  const [denial] = Object.values(turn.denials)
  const { status, error } =
    turn.ending?.status === 'done' && denial ? { status: 'refused' as const, error: denial } : (turn.ending ?? { status: 'done' as const })
  const reply: Outgoing = {
    type: 'reply',
    request: turn.request,
    body: { status, text: turn.answer, toolCalls: turn.toolCalls, ...(error ? { error } : {}) },
  }
  return status === 'failed' && error ? [event(turn.request, { type: 'error', error }), reply] : [reply]
}

const INTERRUPTED = '[The member interrupted this turn.]'

/** The history of an interrupted turn, closed: what was being saved counts as said, calls that had not ended get a result. */
export function interruptTurn(context: Context): Step {
  const { turn, staged } = context
  if (!turn) return { context, out: [], runs: [] }
  const messages = staged?.messages ?? context.messages
  const answered = turn.calls.length > 0 ? resultBlocks(interrupted(turn.calls)) : []
  const begun = messages.length > turn.startsAt
  const note: Message = { role: 'user', content: [...answered, ...jobBlocks(turn.endedJobs), { type: 'text', text: INTERRUPTED }] }
  const waits = turn.calls.flatMap(({ phase }, index): Outgoing[] =>
    phase === 'previewing' || phase === 'asking' ? [{ type: 'cancel', ref: callRef(context, index, phase) }] : [],
  )
  const closed = stage({ ...context, messages: [...messages], turn: null }, begun ? [note] : [])
  return { context: closed, out: waits, runs: [] }
}

/** Names a question about one call; `serial` does not change while calls run. */
export function callRef({ serial }: Context, index: number, what: 'previewing' | 'asking' | 'running'): string {
  return `${what}:${serial}:${index}`
}
