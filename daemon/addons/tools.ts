/**
 * The tools an actor from outside offers, in the words of a tool server's actor, so that the MCP host treats both alike: what is decided about a
 * tool, who approves a call and what is pinned are its business, not the actor's.
 */
import { createHash } from 'node:crypto'
import { protocol } from '../../actors/mcp-server/protocol.ts'
import type { ServerStatus, ToolDefinition } from '../../actors/mcp-server/protocol.ts'
import { fault, isFault } from '../../kernel/errors.ts'
import type { Endpoint, Kernel, Native } from '../../kernel/kernel.ts'
import type { Description } from './description.ts'

export const toolsId = (name: string): string => `tools:${name}`

/** @param from holds a capability to the actor, named like it */
export function toolsOf(kernel: Kernel, name: string, it: Description, from: Endpoint): Native {
  const tools = it.tools.map(({ kind, title, description, readOnly }): ToolDefinition => {
    const shown = { name: kind, title, description, inputSchema: it.protocol[kind]?.body ?? {}, readOnly }
    return { ...shown, hash: createHash('sha256').update(JSON.stringify(shown)).digest('hex') }
  })

  function status(): ServerStatus {
    const live = kernel.actors.get(name)
    const why = live?.port?.jail
    return {
      state: live?.state === 'running' ? 'ready' : live?.degraded ? 'backoff' : 'starting',
      pid: live?.port?.pid ?? null,
      isolation: why === null ? 'full' : 'reduced',
      isolationReason: why ?? null,
      restarts: Math.max(0, (live?.incarnation ?? 1) - 1),
      error: null,
      info: null,
      tools,
    }
  }

  async function call(tool: string, input: Record<string, unknown>, signal: AbortSignal): Promise<unknown> {
    if (!tools.some((known) => known.name === tool)) throw fault('unknown-tool', `${name} offers no tool ${tool}.`)
    try {
      const { body } = await from.request(name, tool, input, { signal })
      return { content: [{ type: 'text', text: textOf(body) }], isError: false, truncated: false }
    } catch (error) {
      if (isFault(error) && error.code === 'malformed')
        throw fault('bad-input', `The input of ${tool} is not right.`, { cause: error.cause ?? '' })
      throw error
    }
  }

  return {
    id: toolsId(name),
    protocol,
    async handle(kind, body: { tool: string; input: Record<string, unknown> }, { part, signal }) {
      switch (kind) {
        case 'watch': {
          part({ status: status() })
          const stop = kernel.onRestart((id) => id === name && part({ status: status() }))
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
          stop()
          return { body: {} }
        }
        case 'call':
          return { body: await call(body.tool, body.input, signal) }
        default:
          // Ended hard, it is started again by its supervisor.
          kernel.actors.get(name)?.port?.kill()
          return { body: {} }
      }
    },
  }
}

/** An answer that is one text is that text. */
function textOf(body: unknown): string {
  if (typeof body === 'object' && body !== null && 'text' in body && typeof body.text === 'string' && Object.keys(body).length === 1)
    return body.text
  return JSON.stringify(body, null, 2) ?? ''
}
