/** A tool of a tool server, as far as it differs from our own: its schema is the server's, and so is the check of its input. Pure. */
import type { Tool as ToolParam } from '@anthropic-ai/sdk/resources/messages'
import { fault, type ReplyOf } from '../../../kernel/index.ts'
import type { protocol as mcpHost } from '../../mcp-host/protocol.ts'
import { MAX_SERVER_TOOL_INPUT_CHARS } from '../limits.ts'
import type { Answer, Plan, Presented } from './tool.ts'

export type ServerTool = ReplyOf<typeof mcpHost, 'tools'>['tools'][number]

export const isServerTool = (name: string): boolean => name.startsWith('mcp__')

export function serverToolParam({ name, description, inputSchema }: ServerTool): ToolParam {
  return { name, description, input_schema: { ...inputSchema, type: 'object' } }
}

/** Every call needs approval: what a tool of a server does is known to its server alone. Throws a fault when it cannot be asked for. */
export function planServerCall(name: string, input: unknown, tools: readonly ServerTool[]): Plan {
  const tool = tools.find((item) => item.name === name)
  if (!tool) throw fault('unknown-tool', `No tool server offers "${name}" now.`, { remedy: 'Use one of the tools offered.' })
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw fault('bad-input', `The input of ${name} is not an object.`)
  const detail = JSON.stringify(input, null, 2)
  if (detail.length > MAX_SERVER_TOOL_INPUT_CHARS)
    throw fault('too-large', `The input of ${name} is too large.`, { rule: `at most ${MAX_SERVER_TOOL_INPUT_CHARS} characters` })
  const body = { tool: name, input: input as Record<string, unknown> }
  return {
    access: 'change',
    title: `Call ${tool.title} of ${tool.server}`,
    target: { kind: 'mcp', ...body },
    detail,
    // The MCP host has its own limits; a tool that reports progress may take long.
    message: { kind: 'call', body, deadlineMs: null },
  }
}

export function presentServerCall({ body }: Answer): Presented {
  const { content, isError, truncated } = body as ReplyOf<typeof mcpHost, 'call'>
  const text = content.map((block) => block.text).join('\n')
  return { ok: !isError, text: `${text}${truncated ? '\n(the tool server answered more than is passed on)' : ''}` }
}
