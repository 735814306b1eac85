/** The API's web search as far as the practice model has it: asked for in the right form it answers in the right form, and finds nothing. Pure. */
import type { MessagesRequest } from './request.ts'
import { blocksOf } from './request.ts'
import type { Answer } from './answer.ts'

type Tool = NonNullable<MessagesRequest['tools']>[number]

const typeOf = ({ type }: Tool): string => (typeof type === 'string' ? type : '')
const isSearch = (tool: Tool): boolean => /^web_search_\d{8}$/.test(typeOf(tool))

/** What the API says to a search tool it does not take; null: it takes it. */
export function searchProblem({ tools = [] }: Pick<MessagesRequest, 'tools'>): string | null {
  const index = tools.findIndex(isSearch)
  const tool = tools[index]
  if (!tool) return null
  if (tool.name !== 'web_search') return `tools.${index}.${typeOf(tool)}.name: Input should be 'web_search'`
  const has = (field: string): boolean => Array.isArray(tool[field])
  if (has('allowed_domains') && has('blocked_domains'))
    return `tools.${index}: only one of \`allowed_domains\` and \`blocked_domains\` may be given`
  const { max_uses: uses } = tool
  if (uses !== undefined && uses !== null && !(typeof uses === 'number' && Number.isInteger(uses) && uses > 0))
    return `tools.${index}.max_uses: Input should be greater than 0`
  return null
}

/** The answer to a request that brings the search tool. `stem`: ids begin with it. */
export function searchAnswer({ tools = [], messages }: MessagesRequest, stem: string): Answer | null {
  if (!tools.some(isSearch)) return null
  const asked = blocksOf(messages.findLast(({ role }) => role === 'user')?.content ?? '')
  const text = asked.map((block) => (block.type === 'text' ? block.text : '')).join(' ')
  const id = `srvtoolu_${stem}`
  return {
    content: [
      { type: 'server_tool_use', id, name: 'web_search', input: { query: text.replace(/^search the web for:\s*/i, '').trim() } },
      { type: 'web_search_tool_result', tool_use_id: id, content: { type: 'web_search_tool_result_error', error_code: 'unavailable' } },
      { type: 'text', text: 'The practice model is a program of this device and cannot search the web.' },
    ],
    stop: 'end_turn',
  }
}
