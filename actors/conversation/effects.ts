/** What a conversation's machine cannot do itself: talk to the model, wait for a tool's messages, read the clock. */
import type { MessageCreateParamsBase } from '@anthropic-ai/sdk/resources/messages'
import * as Effect from 'effect/Effect'
import * as Schedule from 'effect/Schedule'
import { asFault, fault, type EffectContext, type Effects, type Fault, type ReplyOf, spanUnder } from '../../kernel/index.ts'
import type { protocol as egress } from '../egress/protocol.ts'
import type { protocol as fsGate } from '../fs-gate/protocol.ts'
import type { protocol as mcpHost } from '../mcp-host/protocol.ts'
import type { Context } from './context.ts'
import type { FolderNews } from './folder-news.ts'
import type { EndedJob } from './job-news.ts'
import {
  EGRESS_RETRIES,
  EGRESS_RETRY_MS,
  FOLDER_NEWS_DEADLINE_MS,
  INSTRUCTIONS_PATH,
  MAX_INSTRUCTIONS_CHARS,
  MAX_INSTRUCTIONS_LINES,
  MAX_OUTPUT_HEAD_CHARS,
  MAX_OUTPUT_TAIL_CHARS,
  SERVER_TOOLS_DEADLINE_MS,
} from './limits.ts'
import { callModel, type ModelAttempt } from './model-call.ts'
import { outputWindow } from './output-window.ts'
import type { ConversationEvent } from './protocol.ts'
import type { Span } from './report.ts'
import type { ToolRun } from './steps.ts'
import type { Answer } from './tools/tool.ts'

type Tag = { ref: string; request: number }

export const effects = {
  /** The day, who answers, a name for the prompt, the tools of tool servers, and of the folders what others changed in them and their instructions. `ready { date, practice, promptId, serverTools, serverNotes, news, endedJobs, instructions }`, `failed { error, promptId }`. */
  prepareTurn: {
    outcomes: ['ready', 'failed'],
    run: ({ folders, asksJobs }: Tag & { folders: Readonly<Record<string, number | string>>; asksJobs: boolean }, context: EffectContext) =>
      context.request('egress', 'model-info', {}).pipe(
        Effect.retry({
          times: EGRESS_RETRIES,
          schedule: Schedule.spaced(EGRESS_RETRY_MS),
          while: ({ code }) => code === 'actor-down' || code === 'not-now',
        }),
        Effect.zip(serverTools(context), { concurrent: true }),
        Effect.zip(folderNews(folders, context), { concurrent: true }),
        Effect.zip(folderInstructions(folders, context), { concurrent: true }),
        Effect.zip(asksJobs ? endedJobs(context) : Effect.succeed([]), { concurrent: true }),
        Effect.match({
          onSuccess: ([[[[{ body }, { tools, notes }], news], instructions], ended]) => ({
            type: 'ready',
            promptId: crypto.randomUUID(),
            date: new Date().toISOString().slice(0, 10),
            practice: (body as ReplyOf<typeof egress, 'model-info'>).mode === 'practice',
            serverTools: tools,
            serverNotes: notes,
            news,
            endedJobs: ended,
            instructions,
          }),
          onFailure: (error) => ({ type: 'failed', error, promptId: crypto.randomUUID() }),
        }),
      ),
  },
  /** One answer of the model; text and thinking go to the prompt's requester on the way, failed attempts to the machine. `done ModelAnswer`, `failed { error }`. */
  callModel: {
    outcomes: ['done', 'failed'],
    run: ({ ref, request, body }: Tag & { body: MessageCreateParamsBase }, context: EffectContext) => {
      const { span, inSpan } = spanOf(context)
      const failed = (attempt: ModelAttempt): void =>
        context.raise({ type: 'callModel.attempt', ref, request, ...attempt, at: Date.now(), span })
      return Effect.tryPromise({ try: (signal) => callModel(inSpan, request, body, signal, failed), catch: asFault }).pipe(
        Effect.match({
          onSuccess: (answer) => ({ type: 'done', ...answer, at: Date.now(), span }),
          onFailure: (error) => ({ type: 'failed', error }),
        }),
      )
    },
  },
  /** The messages of one tool call, all at once; command output goes to the prompt's requester on the way. `done { answers, durationMs, endedJobs? }`, `failed { error, output, durationMs, endedJobs? }`. */
  runTool: { outcomes: ['done', 'failed'], run: runTool },
} satisfies Effects

/** A turn goes on without them: the model is told. */
function serverTools(context: EffectContext): Effect.Effect<ReplyOf<typeof mcpHost, 'tools'>> {
  return context.request('mcp', 'tools', {}, { deadlineMs: SERVER_TOOLS_DEADLINE_MS }).pipe(
    Effect.match({
      onSuccess: ({ body }) => body as ReplyOf<typeof mcpHost, 'tools'>,
      onFailure: ({ message }) => ({ tools: [], notes: [`their list is not available: ${message}`] }),
    }),
  )
}

/** A workspace that is down has none that run. */
function endedJobs(context: EffectContext): Effect.Effect<EndedJob[]> {
  return context
    .request('workspace', 'job-news', {}, { deadlineMs: FOLDER_NEWS_DEADLINE_MS })
    .pipe(Effect.match({ onSuccess: ({ body }) => [...(body as { jobs: EndedJob[] }).jobs], onFailure: () => [] }))
}

/** Of folders that can say. */
function folderNews(folders: Readonly<Record<string, number | string>>, context: EffectContext): Effect.Effect<FolderNews[]> {
  const asked = Object.entries(folders).map(([folder, slot]) =>
    context.request(slot, 'others', {}, { deadlineMs: FOLDER_NEWS_DEADLINE_MS }).pipe(
      Effect.match({
        onSuccess: ({ body }): FolderNews[] => {
          const { changes, more } = body as ReplyOf<typeof fsGate, 'others'>
          return changes.length + more > 0 ? [{ folder, changes, more }] : []
        },
        onFailure: () => [],
      }),
    ),
  )
  return Effect.map(Effect.all(asked, { concurrency: 'unbounded' }), (all) => all.flat())
}

function folderInstructions(
  folders: Readonly<Record<string, number | string>>,
  context: EffectContext,
): Effect.Effect<Context['instructions']> {
  const asked = Object.entries(folders).map(([folder, slot]) =>
    context.request(slot, 'read', { path: INSTRUCTIONS_PATH, limit: MAX_INSTRUCTIONS_LINES }, { deadlineMs: FOLDER_NEWS_DEADLINE_MS }).pipe(
      Effect.match({
        onSuccess: ({ body }) => {
          const { text } = body as ReplyOf<typeof fsGate, 'read'>
          return text.trim() === '' ? [] : [{ folder, text: text.slice(0, MAX_INSTRUCTIONS_CHARS) }]
        },
        onFailure: () => [],
      }),
    ),
  )
  return Effect.map(Effect.all(asked, { concurrency: 'unbounded' }), (all) => all.flat())
}

/** A span for an effect's work, and the context in which what it asks for is part of that. */
function spanOf(context: EffectContext): { span: Span | null; inSpan: EffectContext } {
  if (context.trace === null) return { span: null, inSpan: context }
  const { trace, parentId } = spanUnder(context.trace)
  return {
    span: { trace, parent: parentId },
    inSpan: { ...context, trace, request: (to, kind, body, options = {}) => context.request(to, kind, body, { trace, ...options }) },
  }
}

function runTool(
  { request, id, audit, calls, asksJobs }: ToolRun,
  context: EffectContext,
): Effect.Effect<{ type: string; [key: string]: unknown }> {
  return Effect.suspend(() => {
    const { span, inSpan } = spanOf(context)
    const began = performance.now()
    const printed = outputWindow(MAX_OUTPUT_HEAD_CHARS, MAX_OUTPUT_TAIL_CHARS)
    const durationMs = (): number => Math.round(performance.now() - began)
    const onPart = (part: unknown): Promise<void> => {
      const shown = outputEvent(id, part)
      if (shown.type === 'tool_output') printed.add(shown.text)
      return context.part(request, shown)
    }
    const answered = calls.map(({ to, kind, body, deadlineMs, pages }) => {
      const asked = inSpan.request(to, kind, body, { onPart, ...(deadlineMs === undefined ? {} : { deadlineMs }) })
      return pages === undefined ? asked : Effect.flatMap(asked, (reply) => readPages(reply.body, pages, inSpan))
    })
    return Effect.andThen(recorded(audit, inSpan), Effect.all(answered, { concurrency: 'unbounded' })).pipe(
      Effect.match({
        onSuccess: (replies) => ({
          type: 'done',
          answers: replies.map(({ body }): Answer => ({ body, output: printed.text() })),
          durationMs: durationMs(),
          at: Date.now(),
          span,
        }),
        onFailure: (error) => ({ type: 'failed', error, output: printed.text(), durationMs: durationMs(), at: Date.now(), span }),
      }),
      Effect.flatMap((outcome) =>
        asksJobs ? Effect.map(endedJobs(context), (ended) => ({ ...outcome, endedJobs: ended })) : Effect.succeed(outcome),
      ),
    )
  })
}

/** The bytes go from gate to reader within an effect: the machine, and with it the log, has no use for them. */
function readPages(answer: unknown, pages: { first: number; last?: number }, context: EffectContext): ReturnType<EffectContext['request']> {
  const { as, media = [] } = answer as ReplyOf<typeof fsGate, 'read'>
  const [file] = media
  if (as !== 'pdf' || !file) return Effect.fail(fault('unsupported-content', 'Only PDF files have pages; this is none.'))
  return context.request('reader', 'pdf', { bytes: file.data, ...pages })
}

/** The audit log's entry: on the disk before a change, on its way before a read. A change that cannot be recorded does not happen. */
function recorded(audit: ToolRun['audit'], context: EffectContext): Effect.Effect<unknown, Fault> {
  if (!audit) return Effect.void
  const entry = { action: 'tool.called', data: audit.data }
  if (audit.first) return context.request('telemetry', 'audit', entry)
  return Effect.sync(() => context.send('telemetry', 'audit', entry))
}

/** Parts of `exec` and `call`, the only kinds a tool uses that have any. */
function outputEvent(id: string, raw: unknown): ConversationEvent {
  const part = raw as { type: 'vm'; state: string; detail: string } | { type: 'stdout' | 'stderr' | 'progress'; text: string }
  if (part.type === 'progress') return { type: 'tool_output', id, stream: 'stdout', text: part.text }
  return part.type === 'vm'
    ? { type: 'vm', state: part.state, detail: part.detail }
    : { type: 'tool_output', id, stream: part.type, text: part.text }
}
