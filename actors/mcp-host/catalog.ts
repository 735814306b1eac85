/** Tools by the names a model knows them by, with what was approved of them. Pure. */
import { createTwoFilesPatch } from 'diff'
import type { ToolDefinition } from '../mcp-server/protocol.ts'
import { modeOf } from './policy.ts'
import type { Context, Mode, Pins, Server } from './state.ts'
import { toolName } from './tool-names.ts'

export type CatalogTool = {
  name: string
  server: string
  definition: ToolDefinition
  mode: Mode
  rule: string | null
  /** Not what was approved. */
  change: 'new' | 'changed' | null
}

export function catalogOf(context: Context): CatalogTool[] {
  const taken = new Set<string>()
  return Object.values(context.servers).flatMap((server) => toolsOf(context, server, taken))
}

export function toolsOf(context: Context, { definition: { name: server }, status }: Server, taken: Set<string> = new Set()): CatalogTool[] {
  const pins = context.pins[server] ?? {}
  return (status?.tools ?? []).flatMap((definition): CatalogTool[] => {
    const name = toolName(server, definition.name)
    // Two tools that a model could not tell apart: the first one keeps the name.
    if (taken.has(name)) return []
    taken.add(name)
    const pinned = Object.hasOwn(pins, definition.name) ? pins[definition.name] : undefined
    const change = pinned === undefined ? 'new' : pinned.hash === definition.hash ? null : 'changed'
    return [{ name, server, definition, ...modeOf(name, context.policy, context.modes), change }]
  })
}

export function pinsOf(tools: readonly ToolDefinition[]): Pins {
  return Object.fromEntries(tools.map((tool) => [tool.name, tool]))
}

/** What a member is shown before a changed or new definition is approved. */
export function definitionDiff(pinned: ToolDefinition | undefined, now: ToolDefinition): string {
  const lines = createTwoFilesPatch('approved', 'now', pinned === undefined ? '' : textOf(pinned), textOf(now), undefined, undefined, {
    context: 2,
  })
  return lines.split('\n').slice(1).join('\n')
}

function textOf({ name, title, description, inputSchema, readOnly, hash }: ToolDefinition): string {
  const schema = JSON.stringify(inputSchema, null, 2)
  return `name: ${name}\ntitle: ${title ?? ''}\nreadOnly: ${readOnly}\n${description}\n${schema}\nsha256: ${hash}\n`
}
