/** What a tool answered, as text. Nothing a server sends may end a turn: what is no text is named. Pure. */
import { maxResultChars } from './limits.ts'

type Json = Readonly<Record<string, unknown>>
export type ToolResult = { content: { type: 'text'; text: string }[]; isError: boolean; truncated: boolean }

export function toolResult(result: unknown): ToolResult {
  const { content, structuredContent, isError } = record(result)
  const blocks = Array.isArray(content) ? content.map((block) => blockText(record(block))) : []
  // Servers that follow the standard repeat structured content as text; then once is enough.
  const structured = structuredContent === undefined || blocks.length > 0 ? [] : [JSON.stringify(structuredContent, null, 2)]
  return capped([...blocks, ...structured], isError === true)
}

function blockText(block: Json): string {
  switch (block['type']) {
    case 'text':
      return text(block['text'])
    case 'image':
    case 'audio':
      return `[${text(block['type'])} ${text(block['mimeType'])}, ${bytes(block['data'])}, not shown]`
    case 'resource': {
      const { uri, mimeType, text: written, blob } = record(block['resource'])
      if (typeof written === 'string') return `[resource ${text(uri)}]\n${written}`
      return `[resource ${text(uri)} ${text(mimeType)}, ${bytes(blob)}, not shown]`
    }
    case 'resource_link':
      return `[link ${text(block['uri'])}${typeof block['name'] === 'string' ? ` "${block['name']}"` : ''}]`
    default:
      return `[content of kind ${text(block['type']) || 'unknown'}, not shown]`
  }
}

function capped(texts: readonly string[], isError: boolean): ToolResult {
  let left = maxResultChars
  const content: ToolResult['content'] = []
  for (const one of texts) {
    if (left <= 0) break
    content.push({ type: 'text', text: one.slice(0, left) })
    left -= one.length
  }
  return { content, isError, truncated: left < 0 || content.length < texts.length }
}

function bytes(base64: unknown): string {
  const length = typeof base64 === 'string' ? Math.floor((base64.length * 3) / 4) : 0
  return length < 1024 ? `${length} bytes` : `${Math.round(length / 1024)} KiB`
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function record(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}
