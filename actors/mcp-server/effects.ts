/** What the machine's commands do. The one running server is held here; this process has no other. */
import * as Effect from 'effect/Effect'
import { asFault, type EffectContext, type Effects, fault, isFault } from '../../kernel/index.ts'
import { type Connection, openConnection, type Tools } from './connection.ts'
import { type ServerProcess, startServer, whyNoJail } from './process.ts'
import type { LaunchSpec } from './protocol.ts'

type Outcome = { type: string; [key: string]: unknown }

let live: { epoch: string; connection: Connection } | null = null

export const effects = {
  /** Starts the server and speaks with it until it ends; its tree is gone before this ends, also when interrupted. */
  run: {
    outcomes: ['ended'],
    run: ({ ref, spec }: { ref: string; spec: LaunchSpec }, context: EffectContext) =>
      Effect.callback<Outcome>((resume) => {
        const abort = new AbortController()
        let server: ServerProcess | null = null
        const work = runServer(ref, spec, context, abort.signal, (started) => (server = started))
        void work.then((cause) => resume(Effect.succeed({ type: 'ended', cause })))
        return Effect.promise(async () => {
          abort.abort()
          await server?.end()
          await work
        })
      }),
  },
  call: {
    outcomes: ['done', 'failed'],
    run: (params: { ref: string; request: number; tool: string; input: Record<string, unknown> }, context: EffectContext) =>
      Effect.promise((signal) => callTool(params, context, signal)),
  },
  drawJitter: { outcomes: ['drawn'], run: () => Effect.sync(() => ({ type: 'drawn', fraction: Math.random() })) },
} satisfies Effects

/** @returns why it ended, in words */
async function runServer(
  ref: string,
  spec: LaunchSpec,
  context: EffectContext,
  signal: AbortSignal,
  started: (server: ServerProcess) => void,
): Promise<string> {
  try {
    const noJail = await whyNoJail(spec)
    if (signal.aborted) return 'stopped'
    const server = await startServer(spec, noJail === null)
    started(server)
    if (signal.aborted) await server.end()
    context.raise({ type: 'server.spawned', epoch: ref, pid: server.pid, noJail })
    const told = ({ tools, left }: Tools): Tools => {
      if (left.length > 0)
        context.log('warn', `${spec.name}: ${left.length} tools are too large, or too many, and left out`, { left: left.slice(0, 20) })
      return { tools, left }
    }
    const failed = await openConnection(
      server,
      (listed) => context.raise({ type: 'server.tools', epoch: ref, tools: told(listed).tools }),
      signal,
    ).then(
      (connection) => {
        live = { epoch: ref, connection }
        context.raise({ type: 'server.ready', epoch: ref, info: connection.info, tools: told(connection.listed).tools })
        return null
      },
      (error: unknown) => error,
    )
    if (failed !== null) await server.end()
    const { code, signal: by, stderr } = await server.exited
    const ending = by ? `ended by ${by}` : `ended with exit code ${code}`
    const said = stderr.trim() === '' ? 'it wrote nothing to stderr' : `stderr: ${stderr.trim().slice(-1_500)}`
    return [...(failed === null ? [] : [messageOf(failed)]), ending, said].join('; ')
  } catch (error) {
    return messageOf(error)
  } finally {
    if (live?.epoch === ref) live = null
  }
}

async function callTool(
  { ref, request, tool, input }: { ref: string; request: number; tool: string; input: Record<string, unknown> },
  context: EffectContext,
  signal: AbortSignal,
): Promise<Outcome> {
  if (!live) return { type: 'failed', ref, error: fault('server-unavailable', 'The tool server has just ended.') }
  // One at a time: a server that reports faster than its reader reads is heard less often, not kept waiting for.
  let telling = false
  const onProgress = (text: string): void => {
    if (telling) return
    telling = true
    void context.part(request, { text }).finally(() => (telling = false))
  }
  try {
    return { type: 'done', result: await live.connection.call(tool, input, { signal, trace: context.trace, onProgress }) }
  } catch (error) {
    if (isFault(error)) return { type: 'failed', error }
    return { type: 'failed', error: fault('tool-failed', `The call of ${tool} was not answered.`, { cause: messageOf(error) }) }
  }
}

function messageOf(error: unknown): string {
  return isFault(error) ? (error.cause ?? error.message) : error instanceof Error ? error.message : asFault(error).message
}
