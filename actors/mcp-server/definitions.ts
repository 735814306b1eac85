/** A server's tool definitions, cut to size and with the hash they are pinned by. */
import { createHash } from 'node:crypto'
import { maxDefinitionsChars, maxDescriptionChars, maxSchemaChars, maxTools } from './limits.ts'
import type { ToolDefinition } from './protocol.ts'

/** As the SDK lists them. */
type Listed = {
  name: string
  title?: string | undefined
  description?: string | undefined
  inputSchema: object
  annotations?: { readOnlyHint?: boolean | undefined } | undefined
}

/** @returns `left`: names of tools that are not offered because they, or all together, are too large */
export function definitionsOf(listed: readonly Listed[]): { tools: ToolDefinition[]; left: string[] } {
  const tools: ToolDefinition[] = []
  const left: string[] = []
  let room = maxDefinitionsChars
  for (const tool of listed) {
    const { name, title = null, description = '', inputSchema, annotations } = tool
    const schema = JSON.stringify(inputSchema)
    const size = name.length + description.length + schema.length
    const known = tools.some((other) => other.name === name)
    if (known || tools.length >= maxTools || name.length > 200 || schema.length > maxSchemaChars || size > room) {
      left.push(name.slice(0, 200))
      continue
    }
    room -= size
    tools.push({
      name,
      title,
      description: description.slice(0, maxDescriptionChars),
      inputSchema: JSON.parse(schema) as Record<string, unknown>,
      hash: hashOf(tool),
      readOnly: annotations?.readOnlyHint === true,
    })
  }
  return { tools, left }
}

/** Over the whole definition as the server gave it, whatever fields it has, in one order. */
function hashOf(tool: Listed): string {
  return createHash('sha256').update(JSON.stringify(tool, inOneOrder)).digest('hex')
}

function inOneOrder(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
