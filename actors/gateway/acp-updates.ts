/** What happens in a conversation, in the words of ACP v1 `session/update`. Null: ACP has no word for it. */
import type { ConversationEvent } from '../conversation/protocol.ts'
import type { LoggedEvent } from './session-log.ts'

type Update = { sessionUpdate: string; [field: string]: unknown }

export function userMessage(text: string): Update {
  return { sessionUpdate: 'user_message_chunk', content: { type: 'text', text } }
}

export function acpUpdate(event: ConversationEvent): Update | null {
  switch (event.type) {
    case 'text':
      return { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text: event.text } }
    case 'thinking':
      return { sessionUpdate: 'agent_thought_chunk', content: { type: 'text', text: event.text } }
    case 'tool_call':
      return {
        sessionUpdate: 'tool_call',
        toolCallId: event.id,
        title: event.title,
        kind: toolKind(event.name),
        status: 'in_progress',
        rawInput: event.input,
      }
    case 'tool_result':
      return {
        sessionUpdate: 'tool_call_update',
        toolCallId: event.id,
        status: event.ok ? 'completed' : 'failed',
        content: [{ type: 'content', content: { type: 'text', text: event.output } }],
        ...(event.error ? { rawOutput: { error: event.error } } : {}),
      }
    case 'model':
    case 'files_changed':
    case 'job_ended':
    case 'tool_output':
    case 'permission':
    case 'vm':
    case 'error':
    case 'usage':
      return null
    default:
      return event satisfies never
  }
}

/** A logged event as `session/load` tells it again. */
export function acpHistory(event: LoggedEvent): Update[] {
  if (event.type === 'prompt') return [userMessage(String(event['text']))]
  if (!replayed.includes(event.type)) return []
  const update = acpUpdate(event as unknown as ConversationEvent)
  return update ? [update] : []
}

const replayed: readonly string[] = ['text', 'tool_call', 'tool_result']

const kinds: Readonly<Record<string, string>> = {
  Read: 'read',
  Write: 'edit',
  Edit: 'edit',
  Glob: 'search',
  Grep: 'search',
  Bash: 'execute',
  WebFetch: 'fetch',
  WebSearch: 'search',
}

export function toolKind(tool: string): string {
  return kinds[tool] ?? 'other'
}

const stopReasons = { done: 'end_turn', refused: 'refusal', cancelled: 'cancelled', failed: 'refusal' } as const

/** ACP has no reason for a failed turn; its error reaches the client as the request's error instead (connection.ts). */
export function stopReason(status: keyof typeof stopReasons): string {
  return stopReasons[status]
}
