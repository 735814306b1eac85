/** A Messages API request, checked as the API checks it as far as a client can get it wrong. Pure. */
import { z } from 'zod'
import { searchProblem } from './web-search.ts'

const text = z.looseObject({ type: z.literal('text'), text: z.string() })
const toolUse = z.looseObject({
  type: z.literal('tool_use'),
  id: z.string().regex(/^[a-zA-Z0-9_-]+$/),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
})
const toolResult = z.looseObject({
  type: z.literal('tool_result'),
  tool_use_id: z.string(),
  is_error: z.boolean().optional(),
  content: z.union([z.string(), z.array(z.looseObject({ type: z.string(), text: z.string().optional() }))]).optional(),
})
const other = z.looseObject({
  type: z.enum(['thinking', 'redacted_thinking', 'image', 'document', 'search_result', 'server_tool_use', 'web_search_tool_result']),
})
const block = z.union([text, toolUse, toolResult, other])

const schema = z.looseObject({
  model: z.string().min(1),
  max_tokens: z.int().min(1),
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant']), content: z.union([z.string(), z.array(block)]) })).min(1),
  system: z.union([z.string(), z.array(text)]).optional(),
  tools: z.array(z.looseObject({ name: z.string() })).optional(),
  tool_choice: z.looseObject({ type: z.string() }).optional(),
  stream: z.boolean().optional(),
})

export type ContentBlock = z.infer<typeof block>
export type MessagesRequest = z.infer<typeof schema>
export type Checked = { ok: true; request: MessagesRequest } | { ok: false; message: string }

/** `max_tokens` is not asked for when tokens are only counted. */
export function checkRequest(body: unknown, purpose: 'answer' | 'count'): Checked {
  const parsed = schema.safeParse(purpose === 'count' && typeof body === 'object' ? { ...body, max_tokens: 1 } : body)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return { ok: false, message: `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}` }
  }
  const problem = searchProblem(parsed.data) ?? pairingProblem(parsed.data)
  return problem ? { ok: false, message: problem } : { ok: true, request: parsed.data }
}

export function blocksOf(content: string | readonly ContentBlock[]): readonly ContentBlock[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content
}

/** Each tool_use needs its tool_result at once, and no tool_result may come from nowhere; the API insists on both. */
function pairingProblem({ messages }: MessagesRequest): string | null {
  if (messages[0]?.role !== 'user') return 'messages: first message must use the "user" role'
  for (const [index, { role, content }] of messages.entries()) {
    const before = messages[index - 1]
    const asked = before?.role === 'assistant' ? idsOf(before.content, 'tool_use') : []
    const given = idsOf(content, 'tool_result')
    if (role === 'assistant' && given.length > 0) return `messages.${index}: \`tool_result\` blocks can only be in \`user\` messages`
    const stray = given.find((id) => !asked.includes(id))
    if (stray !== undefined)
      return `messages.${index}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${stray}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`
    const missing = asked.filter((id) => !given.includes(id))
    if (missing.length > 0)
      return `messages.${index - 1}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${missing.join(', ')}.`
  }
  const last = messages.length - 1
  const open = idsOf(messages[last]?.content ?? '', 'tool_use')
  return open.length > 0
    ? `messages.${last}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${open.join(', ')}.`
    : null
}

function idsOf(content: string | readonly ContentBlock[], type: 'tool_use' | 'tool_result'): string[] {
  return blocksOf(content).flatMap((one) =>
    one.type === type ? [type === 'tool_use' ? String(one['id']) : String(one['tool_use_id'])] : [],
  )
}
