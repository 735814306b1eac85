/**
 * The history as the Messages API accepts it. What is kept may end anywhere: a crash between an answer and its tool results, an
 * interrupt, a journal that could not be written. What is sent never does.
 */
import type { ContentBlockParam, TextBlockParam, ToolResultBlockParam } from '@anthropic-ai/sdk/resources/messages'
import { z } from 'zod'
import type { JournalEntry } from './protocol.ts'

export type Message = { readonly role: 'user' | 'assistant'; readonly content: readonly ContentBlockParam[] }

const LOST = 'No result: Bulkhead stopped before this call ended. It may or may not have taken effect.'

/**
 * Every `tool_use` answered in the next message, results first there, no empty messages. Parts of one paused answer are joined;
 * user messages stay apart, so that an interrupted prompt and the next one are not read as one. Pure, idempotent.
 */
export function validHistory(messages: readonly Message[]): Message[] {
  const valid: Message[] = []
  let open: string[] = []
  const add = (role: Message['role'], content: readonly ContentBlockParam[]): void => {
    const last = valid.at(-1)
    if (content.length === 0) return
    if (role === 'assistant' && last?.role === role) valid[valid.length - 1] = { role, content: [...last.content, ...content] }
    else valid.push({ role, content })
  }
  for (const { role, content } of messages) {
    if (role === 'assistant') {
      if (open.length > 0) add('user', open.map(lostResult))
      add('assistant', content)
      open = content.flatMap((block) => (block.type === 'tool_use' ? [block.id] : []))
      continue
    }
    const results = content.filter(
      (block): block is ToolResultBlockParam => block.type === 'tool_result' && open.includes(block.tool_use_id),
    )
    const answered = results.map(({ tool_use_id }) => tool_use_id)
    const rest = content.filter((block) => block.type !== 'tool_result')
    add('user', [...results, ...open.filter((id) => !answered.includes(id)).map(lostResult), ...rest])
    open = []
  }
  if (open.length > 0) add('user', open.map(lostResult))
  return valid
}

function lostResult(id: string): ToolResultBlockParam {
  return { type: 'tool_result', tool_use_id: id, is_error: true, content: LOST }
}

/** With a cache mark on the last block of the last user message: the next call of the turn reads everything up to there from the cache. */
export function withCacheMark(messages: readonly Message[]): Message[] {
  const at = messages.findLastIndex(({ role }) => role === 'user')
  return messages.map((message, index) => {
    const last = message.content.at(-1)
    if (index !== at || !last || (last.type !== 'text' && last.type !== 'tool_result')) return message
    return {
      ...message,
      content: [
        ...message.content.slice(0, -1),
        { ...last, cache_control: { type: 'ephemeral' } } as TextBlockParam | ToolResultBlockParam,
      ],
    }
  })
}

/**
 * Without the images and PDF files of earlier turns. They are large and sent with every call; and one the API does not take, which nobody can tell
 * beforehand, must end its turn and not the session.
 */
export function withoutOldMedia(messages: readonly Message[]): Message[] {
  const start = messages.findLastIndex(({ role, content }) => role === 'user' && content.some(({ type }) => type === 'text'))
  return messages.map((message, index) =>
    index >= start || message.role !== 'user' ? message : { ...message, content: message.content.map(withoutMedia) },
  )
}

function withoutMedia(block: ContentBlockParam): ContentBlockParam {
  if (block.type !== 'tool_result' || !Array.isArray(block.content)) return block
  const texts = block.content.filter(({ type }) => type === 'text')
  if (texts.length === block.content.length) return block
  return { ...block, content: [...texts, { type: 'text', text: '(was shown here; read the file again to see it)' }] }
}

const journalled = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('message'),
    entry: z.object({ role: z.enum(['user', 'assistant']), content: z.array(z.looseObject({ type: z.string() })) }),
  }),
  z.object({ type: z.literal('withdrawn'), entry: z.object({ messages: z.int().min(0) }) }),
])

/** The history after one journal entry. Entries of other types, written by other actors of the session, are passed over. */
export function replayed(messages: readonly Message[], recorded: unknown): readonly Message[] {
  const parsed = journalled.safeParse(recorded)
  if (!parsed.success) return messages
  const { type, entry } = parsed.data
  return type === 'withdrawn' ? messages.slice(0, entry.messages) : [...messages, entry as unknown as Message]
}

export function messageEntry({ role, content }: Message): JournalEntry {
  return { type: 'message', entry: { role, content: [...content] } }
}
