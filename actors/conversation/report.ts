/**
 * What telemetry and the audit log hear of a turn. Pure: a step in, the same step with the messages added.
 *
 *   prompt known      -> user_prompt
 *   answer            -> api_request, assistant_response          failed attempt -> api_error
 *   permission shown  -> tool_decision                            run begun with none shown -> tool_decision (config)
 *   result shown      -> tool_result
 *
 * Names and attributes are those of the reference the organization's dashboards are made for. Texts go along as content; whether they leave
 * the device is decided where policy is known, in the telemetry actor.
 */
import type { BodyOf, Outgoing } from '../../kernel/index.ts'
import type { protocol as telemetry } from '../telemetry/protocol.ts'
import type { Context } from './context.ts'
import { EVENTS_PER_ENTRY, MAX_REPORTED_CHARS } from './limits.ts'
import type { ModelAttempt } from './model-call.ts'
import { requestOf } from './model-request.ts'
import type { ConversationEvent } from './protocol.ts'
import { type ModelAnswer, type Step, withTurn } from './steps.ts'

type TelemetryEvent = BodyOf<typeof telemetry, 'event'>
type Draft = Pick<TelemetryEvent, 'name' | 'attributes' | 'content' | 'at' | 'trace' | 'parent'>
/** The span an effect's work was: its own context, and its parent's span id. */
export type Span = { trace: string; parent: string | null }
/** When and as what it was done. */
export type Stamp = { at?: number; span?: Span | null }
type Decision = { decision: 'accept' | 'reject'; source: 'config' | 'user_temporary' | 'user_reject' | 'user_abort' }

type Told =
  | { type: 'prepareTurn.ready' | 'prepareTurn.failed'; promptId: string }
  | ({ type: 'callModel.done' } & ModelAnswer & Stamp)
  | ({ type: 'callModel.attempt' } & ModelAttempt & Stamp)
  | ({ type: 'runTool.done' | 'runTool.failed' } & Stamp)

/** The step with what is to be reported of it. `event` led to it, `before` is where it came from. */
export function reported(step: Step, event: { type: string }, before: Context): Step {
  if (!step.context.reports) return step
  const told = event as Told
  if (told.type === 'prepareTurn.ready' || told.type === 'prepareTurn.failed') {
    const { text = '' } = step.context.turn ?? {}
    const known = { ...step, context: withTurn(step.context, { promptId: told.promptId }) }
    return tell(known, [{ name: 'user_prompt', attributes: { prompt_length: text.length }, content: { prompt: clip(text) } }])
  }
  if (told.type === 'callModel.done') return tell(step, [...answerDrafts(step.context, told), ...bodyDrafts(before, told)])
  if (told.type === 'callModel.attempt')
    return tell(step, [attemptDraft(step.context, told), ...(told.last ? bodyDrafts(before, told) : [])])
  return callsTold(step, told.type === 'runTool.done' || told.type === 'runTool.failed' ? told : {})
}

/** Calls that had not ended when the member interrupted. `calls`: as they were before. */
export function reportedInterrupt(step: Step, before: Context): Step {
  if (!before.reports || !before.turn?.promptId) return step
  const drafts = before.turn.calls.flatMap(({ id, name, phase }): Draft[] => {
    if (phase === 'asking') return [decisionDraft(id, name, { decision: 'reject', source: 'user_abort' })]
    const attributes = { tool_name: name, tool_use_id: id, success: 'false', error: 'cancelled', ...decided(before, id) }
    return phase === 'running' ? [{ name: 'tool_result', attributes }] : []
  })
  const { promptId } = before.turn
  const { context, out } = numbered(step.context, promptId, drafts)
  return { ...step, context, out: [...step.out, ...out] }
}

function answerDrafts({ model }: Context, { content, usage, requestId, speed, durationMs, at, span }: ModelAnswer & Stamp): Draft[] {
  const text = content.map((block) => (block.type === 'text' ? block.text : '')).join('')
  const request = requestId === undefined ? {} : { request_id: requestId }
  const when = { ...(at === undefined ? {} : { at }), ...(span ? { trace: span.trace } : {}) }
  const tokens = {
    input_tokens: usage.input - usage.cacheRead - usage.cacheCreation,
    output_tokens: usage.output,
    cache_read_tokens: usage.cacheRead,
    cache_creation_tokens: usage.cacheCreation,
  }
  return [
    {
      name: 'api_request',
      attributes: { model, duration_ms: durationMs, speed, ...tokens, ...request },
      ...when,
      ...(span ? { parent: span.parent } : {}),
    },
    ...(text === ''
      ? []
      : [
          {
            name: 'assistant_response' as const,
            attributes: { model, response_length: text.length, ...request },
            content: { response: clip(text) },
            ...when,
          },
        ]),
  ]
}

/** What went to the model and what came back, when policy wants it: they repeat the whole conversation each time. */
function bodyDrafts(
  context: Context,
  { at, ...answer }: Partial<Pick<ModelAnswer, 'content' | 'stopReason' | 'usage' | 'requestId'>> & Stamp,
): Draft[] {
  if (!context.rawApiBodies) return []
  const draft = (name: 'api_request_body' | 'api_response_body', value: unknown): Draft => {
    const text = JSON.stringify(value)
    const attributes = { model: context.model, body_length: text.length, body_truncated: text.length > MAX_REPORTED_CHARS }
    const request = answer.requestId === undefined ? {} : { request_id: answer.requestId }
    return { name, attributes: { ...attributes, ...request }, content: { body: clip(text) }, ...(at === undefined ? {} : { at }) }
  }
  const { content, stopReason, usage } = answer
  const request = draft('api_request_body', requestOf(context))
  return content === undefined ? [request] : [request, draft('api_response_body', { content, stop_reason: stopReason, usage })]
}

function attemptDraft({ model }: Context, { code, message, status, durationMs, attempt, last, at, span }: ModelAttempt & Stamp): Draft {
  return {
    name: 'api_error',
    attributes: {
      model,
      error: code,
      status_code: status === null ? 'undefined' : String(status),
      duration_ms: durationMs,
      attempt,
      speed: 'normal',
    },
    content: { error: clip(message) },
    ...(at === undefined ? {} : { at }),
    ...(span ? { trace: span.trace, ...(last ? { parent: span.parent } : {}) } : {}),
  }
}

/** Decisions and results among what the step shows to the member, and runs it begins. */
function callsTold(step: Step, stamp: Stamp): Step {
  const shown = step.out.flatMap((message): ConversationEvent[] => (message.type === 'partTo' ? [message.body as ConversationEvent] : []))
  const decide = (now: Step, id: string, name: string, decision: Decision): Step =>
    tell({ ...now, context: withTurn(now.context, { decisions: { ...now.context.turn?.decisions, [id]: decision } }) }, [
      decisionDraft(id, name, decision),
    ])
  const isOpen = ({ context }: Step, id: string): boolean => !Object.hasOwn(context.turn?.decisions ?? {}, id)
  const nameOf = (id: string): string => step.context.turn?.calls.find((call) => call.id === id)?.name ?? ''
  let now = step
  for (const event of shown) if (event.type === 'permission') now = decide(now, event.id, event.tool, decisionOf(event.decision, event.by))
  for (const { id } of step.runs) if (isOpen(now, id)) now = decide(now, id, nameOf(id), { decision: 'accept', source: 'config' })
  for (const event of shown) {
    if (event.type !== 'tool_result') continue
    if (isOpen(now, event.id)) now = decide(now, event.id, event.name, { decision: 'reject', source: 'config' })
    now = tell(now, [resultDraft(now.context, event, stamp)])
  }
  return now
}

function decisionOf(decision: 'allow' | 'deny', by: string): Decision {
  const member = by.startsWith('member') || by.startsWith('answer of')
  if (decision === 'allow') return { decision: 'accept', source: member ? 'user_temporary' : 'config' }
  return { decision: 'reject', source: member ? 'user_reject' : 'config' }
}

function decisionDraft(id: string, name: string, { decision, source }: Decision): Draft {
  return { name: 'tool_decision', attributes: { tool_name: name, tool_use_id: id, decision, source } }
}

function decided({ turn }: Context, id: string): { decision_type: string; decision_source: string } {
  const { decision, source } = (turn?.decisions[id] as Decision | undefined) ?? { decision: 'reject', source: 'config' }
  return { decision_type: decision, decision_source: source }
}

function resultDraft(context: Context, result: Extract<ConversationEvent, { type: 'tool_result' }>, { at, span }: Stamp): Draft {
  const { id, name, ok, output, error, durationMs } = result
  const call = context.turn?.calls.find((item) => item.id === id)
  const [, server, tool] = /^mcp__(.+?)__(.+)$/.exec(name) ?? []
  const mcp = server === undefined ? {} : { mcp_server_name: server, mcp_tool_name: tool }
  const command = (call?.input as { command?: unknown } | undefined)?.command
  const parameters = { ...mcp, ...(typeof command === 'string' ? { full_command: command } : {}) }
  return {
    name: 'tool_result',
    attributes: {
      tool_name: name,
      tool_use_id: id,
      success: String(ok),
      duration_ms: durationMs,
      ...(error ? { error: error.code } : {}),
      ...decided(context, id),
      tool_result_size_bytes: new TextEncoder().encode(output).length,
      ...(server === undefined ? {} : { mcp_server_scope: 'local' }),
    },
    content: {
      ...(error ? { error: clip(messageOf(error)) } : {}),
      ...(Object.keys(parameters).length > 0 ? { toolParameters: clip(JSON.stringify(parameters)) } : {}),
      toolInput: reportable(call?.input ?? null),
      toolOutput: clip(output),
    },
    ...(at === undefined ? {} : { at }),
    ...(span ? { trace: span.trace, parent: span.parent } : {}),
  }
}

function tell(step: Step, drafts: readonly Draft[]): Step {
  const promptId = step.context.turn?.promptId ?? ''
  // Without its prompt nobody could tell what an event belongs to; only a defect while preparing leads here.
  if (promptId === '') return step
  const { context, out } = numbered(step.context, promptId, drafts)
  return { ...step, context, out: [...step.out, ...out] }
}

function numbered(context: Context, prompt: string, drafts: readonly Draft[]): { context: Context; out: Outgoing[] } {
  // Past what the session numbered before a restart, without having counted it: see the limit.
  const first = Math.max(context.eventSeq, context.loadedSeq * EVENTS_PER_ENTRY)
  const folders = context.folders.map(({ root }) => root)
  return {
    context: { ...context, eventSeq: first + drafts.length },
    out: drafts.map((draft, index) => ({
      type: 'send',
      to: 'telemetry',
      kind: 'event',
      body: { ...draft, prompt, sequence: first + index + 1, folders },
    })),
  }
}

/** Whole, or the beginning of its text: what a model wrote may be of any size. */
function reportable(input: unknown): unknown {
  const text = JSON.stringify(input)
  return text.length > MAX_REPORTED_CHARS ? clip(text) : input
}

const messageOf = ({ message, cause }: { message: string; cause?: string | undefined }): string => (cause ? `${message} ${cause}` : message)
const clip = (text: string): string => (text.length > MAX_REPORTED_CHARS ? text.slice(0, MAX_REPORTED_CHARS) : text)
