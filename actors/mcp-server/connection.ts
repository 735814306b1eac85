/** One connection to a running server: handshake, tool list, calls. */
import { Client, ProtocolError } from '@modelcontextprotocol/client'
import { CfWorkerJsonSchemaValidator } from '@modelcontextprotocol/client/validators/cf-worker'
import { fault } from '../../kernel/index.ts'
import { type ToolResult, toolResult } from './content.ts'
import { definitionsOf } from './definitions.ts'
import { callIdleMs, callMs, listQuietMs, maxInstructionsChars, startMs } from './limits.ts'
import type { ServerProcess } from './process.ts'
import type { ServerStatus, ToolDefinition } from './protocol.ts'
import { processTransport } from './transport.ts'

export type Tools = { tools: ToolDefinition[]; left: string[] }
export type Connection = {
  info: NonNullable<ServerStatus['info']>
  listed: Tools
  call(
    tool: string,
    input: Record<string, unknown>,
    options: { signal: AbortSignal; trace: string | null; onProgress(text: string): void },
  ): Promise<ToolResult>
}

/** Rejects when the server does not speak MCP, or ends. `onTools`: its list changed. */
export async function openConnection(server: ServerProcess, onTools: (tools: Tools) => void, signal: AbortSignal): Promise<Connection> {
  // The default validator compiles schemas to code, which these processes must not do.
  const client = new Client(
    { name: 'bulkhead', version: '0.1.0' },
    { capabilities: {}, jsonSchemaValidator: new CfWorkerJsonSchemaValidator() },
  )
  const list = async (): Promise<Tools> => {
    if (!client.getServerCapabilities()?.tools) return { tools: [], left: [] }
    return definitionsOf((await client.listTools(undefined, { timeout: callIdleMs, signal })).tools)
  }
  let announced: NodeJS.Timeout | null = null
  client.setNotificationHandler('notifications/tools/list_changed', () => {
    announced ??= setTimeout(() => {
      announced = null
      list().then(onTools, () => {})
    }, listQuietMs)
  })
  await client.connect(processTransport(server), { timeout: startMs, signal })
  const { name = '', version = '' } = client.getServerVersion() ?? {}
  return {
    info: {
      name: name.slice(0, 200),
      version: version.slice(0, 100),
      protocol: client.getNegotiatedProtocolVersion() ?? '',
      instructions: (client.getInstructions() ?? '').slice(0, maxInstructionsChars),
    },
    listed: await list(),
    async call(tool, input, { signal: callSignal, trace, onProgress }) {
      try {
        const result = await client.callTool(
          // Unprefixed keys of `_meta` are how MCP carries trace context (SEP-414).
          { name: tool, arguments: input, ...(trace === null ? {} : { _meta: { traceparent: trace } }) },
          {
            signal: callSignal,
            timeout: callIdleMs,
            maxTotalTimeout: callMs,
            resetTimeoutOnProgress: true,
            onprogress: ({ progress, total, message }) =>
              onProgress(`${message ?? 'working'} (${progress}${total === undefined ? '' : ` of ${total}`})\n`),
          },
        )
        return toolResult(result)
      } catch (error) {
        if (error instanceof ProtocolError)
          throw fault('tool-failed', `The server refused the call of ${tool}.`, { cause: error.message.slice(0, 2_000) })
        throw error
      }
    },
  }
}
