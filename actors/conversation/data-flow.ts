/**
 * The data-flow rule: once a turn holds words of others, what was allowed for the session before does not cover what the turn still changes.
 * Whoever wrote a page may have written it for the model. What counts: pages, web searches, answers of tool servers. What does not: files of
 * connected folders, and what commands print. Pure.
 */
import { maxUntrusted } from './limits.ts'
import { isServerTool } from './tools/server-tool.ts'
import type { Answer, ConsentTarget } from './tools/tool.ts'

const ofServer = (tool: string): string => `tool server ${tool.split('__')[1] ?? tool}`

/** Whose words a call brought into the turn, for people; null: nobody's but the member's and their folders'. */
function sourceOf(tool: string, answers: readonly Answer[]): string | null {
  if (isServerTool(tool)) return ofServer(tool)
  if (tool === 'WebSearch') return 'a web search'
  if (tool !== 'WebFetch') return null
  const { url } = (answers[0]?.body ?? {}) as { url?: unknown }
  return `a page of ${(typeof url === 'string' && URL.parse(url)?.host) || 'the web'}`
}

/** @param known those of the turn so far; the first ones are enough to name */
export function withSource(known: readonly string[], tool: string, answers: readonly Answer[]): readonly string[] {
  const source = sourceOf(tool, answers)
  return source === null || known.includes(source) || known.length >= maxUntrusted ? known : [...known, source]
}

/** What stands between an action and an earlier approval: what a tool server said is no reason to mistrust a call of the same server. */
export function inTheWay(known: readonly string[], target: ConsentTarget): readonly string[] {
  return target.kind === 'mcp' ? known.filter((source) => source !== ofServer(target.tool)) : known
}
