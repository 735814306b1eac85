/** What a conversation's machine cannot do itself: talk to the model, wait for a tool's messages, read the clock. */
import type { MessageCreateParamsBase } from '@anthropic-ai/sdk/resources/messages'
import * as Effect from 'effect/Effect'
import * as Schedule from 'effect/Schedule'
import { asFault, type EffectContext, type Effects, type ReplyOf } from '../../kernel/index.ts'
import type { protocol as egress } from '../egress/protocol.ts'
import type { protocol as mcpHost } from '../mcp-host/protocol.ts'
import { EGRESS_RETRIES, EGRESS_RETRY_MS, MAX_OUTPUT_HEAD_CHARS, MAX_OUTPUT_TAIL_CHARS, SERVER_TOOLS_DEADLINE_MS } from './limits.ts'
import { callModel } from './model-call.ts'
import { outputWindow } from './output-window.ts'
import type { ConversationEvent } from './protocol.ts'
import type { ToolRun } from './steps.ts'
import type { Answer } from './tools/tool.ts'

type Tag = { ref: string; request: number }

export const effects = {
  /** The day, who answers, and the tools of tool servers. `ready { date, practice, serverTools, serverNotes }`, `failed { error }`. */
  prepareTurn: {
    outcomes: ['ready', 'failed'],
    run: (_: Tag, context: EffectContext) =>
      context.request('egress', 'model-info', {}).pipe(
        Effect.retry({
          times: EGRESS_RETRIES,
          schedule: Schedule.spaced(EGRESS_RETRY_MS),
          while: ({ code }) => code === 'actor-down' || code === 'not-now',
        }),
        Effect.zip(serverTools(context), { concurrent: true }),
        Effect.match({
          onSuccess: ([{ body }, { tools, notes }]) => ({
            type: 'ready',
            date: new Date().toISOString().slice(0, 10),
            practice: (body as ReplyOf<typeof egress, 'model-info'>).mode === 'practice',
            serverTools: tools,
            serverNotes: notes,
          }),
          onFailure: (error) => ({ type: 'failed', error }),
        }),
      ),
  },
  /** One answer of the model; text and thinking go to the prompt's requester on the way. `done ModelAnswer`, `failed { error }`. */
  callModel: {
    outcomes: ['done', 'failed'],
    run: ({ request, body }: Tag & { body: MessageCreateParamsBase }, context: EffectContext) =>
      Effect.tryPromise({ try: (signal) => callModel(context, request, body, signal), catch: asFault }).pipe(
        Effect.match({
          onSuccess: (answer) => ({ type: 'done', ...answer }),
          onFailure: (error) => ({ type: 'failed', error }),
        }),
      ),
  },
  /** The messages of one tool call, all at once; command output goes to the prompt's requester on the way. `done { answers, durationMs }`, `failed { error, output, durationMs }`. */
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

function runTool({ request, id, calls }: ToolRun, context: EffectContext): Effect.Effect<{ type: string; [key: string]: unknown }> {
  return Effect.suspend(() => {
    const began = performance.now()
    const printed = outputWindow(MAX_OUTPUT_HEAD_CHARS, MAX_OUTPUT_TAIL_CHARS)
    const durationMs = (): number => Math.round(performance.now() - began)
    const onPart = (part: unknown): Promise<void> => {
      const shown = outputEvent(id, part)
      if (shown.type === 'tool_output') printed.add(shown.text)
      return context.part(request, shown)
    }
    const answered = calls.map(({ to, kind, body, deadlineMs }) =>
      context.request(to, kind, body, { onPart, ...(deadlineMs === undefined ? {} : { deadlineMs }) }),
    )
    return Effect.all(answered, { concurrency: 'unbounded' }).pipe(
      Effect.match({
        onSuccess: (replies) => ({
          type: 'done',
          answers: replies.map(({ body }): Answer => ({ body, output: printed.text() })),
          durationMs: durationMs(),
        }),
        onFailure: (error) => ({ type: 'failed', error, output: printed.text(), durationMs: durationMs() }),
      }),
    )
  })
}

/** Parts of `exec` and `call`, the only kinds a tool uses that have any. */
function outputEvent(id: string, raw: unknown): ConversationEvent {
  const part = raw as { type: 'vm'; state: string; detail: string } | { type: 'stdout' | 'stderr' | 'progress'; text: string }
  if (part.type === 'progress') return { type: 'tool_output', id, stream: 'stdout', text: part.text }
  return part.type === 'vm'
    ? { type: 'vm', state: part.state, detail: part.detail }
    : { type: 'tool_output', id, stream: part.type, text: part.text }
}
