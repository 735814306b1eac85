/**
 * One client on one stream of JSON-RPC: ACP v1 through its SDK, `_bulkhead/*` beside it. Checks what comes in, turns ACP's methods into
 * ours, and keeps each call open until the machine answers it. A line on the Unix socket and a frame from the page are one message each.
 */
import type { Socket } from 'node:net'
import { Readable, Writable } from 'node:stream'
import {
  agent,
  type AgentConnection,
  type ContentBlock,
  ndJsonStream,
  PROTOCOL_VERSION,
  RequestError,
  type Stream,
} from '@agentclientprotocol/sdk'
import { asFault, fault, type Fault, isFault, newTrace, traceparent } from '../../kernel/index.ts'
import { acpHistory, stopReason } from './acp-updates.ts'
import { type ClientCall, clientMethods, type ClientMethod, prefix, traceMeta } from './client-methods.ts'
import { maxLineBytes, maxOpenCalls, maxUnsentNotifications } from './limits.ts'
import type { Replay } from './session-log.ts'
import type { Style } from './state.ts'

/** JSON-RPC error code of every refusal that carries a fault in `data`. From the range the protocol leaves to servers. */
const faultCode = -32050

export type Door = {
  /** `trace`: what the call is part of, or the beginning of a new trace. */
  called(call: number, style: Style, asked: ClientCall, trace: string): void
  withdrawn(call: number): void
}

type ListedSession = { session: string; title: string | null; lastTs: number; folders: readonly string[] }

type Waiting = { resolve(result: unknown): void; reject(error: unknown): void }

export type ClientConnection = {
  /** Came through the Unix socket. */
  local: boolean
  answer(call: number, outcome: { result: unknown } | { error: Fault }): void
  notify(method: string, params: unknown): void
  /** Resolves when the client has room for more. */
  deliver(method: string, params: unknown): Promise<void>
  /** Asks; resolves with the chosen option's id, or null when the client declined, failed or left. */
  ask(params: unknown, signal: AbortSignal): Promise<string | null>
  /** As the client called itself, made harmless. */
  name(): string
  closed: Promise<void>
  close(): void
}

/** The Unix socket's stream: newline-delimited JSON. */
export function lineStream(socket: Socket): Stream & { local: true } {
  socket.on('error', () => socket.destroy())
  socket.setNoDelay(true)
  const output = Writable.toWeb(socket) as WritableStream<Uint8Array>
  const input = Readable.toWeb(socket) as ReadableStream<Uint8Array>
  return { ...ndJsonStream(output, input, { maxMessageBytes: maxLineBytes }), local: true }
}

/** @param destroy ends what is under the stream */
export function serveConnection(stream: Stream & { local?: true }, destroy: () => void, door: Door): ClientConnection {
  const waiting = new Map<number, Waiting>()
  let next = 1
  let unsent = 0
  let clientName = 'client'

  /** Hands a call to the machine and waits for its answer. */
  function ask(style: Style, asked: ClientCall, signal: AbortSignal, meta?: unknown): Promise<unknown> {
    if (waiting.size >= maxOpenCalls) return Promise.reject(rpcError(fault('overloaded', `${maxOpenCalls} calls are open.`)))
    const call = next++
    return new Promise((resolve, reject) => {
      waiting.set(call, { resolve, reject })
      signal.addEventListener('abort', () => door.withdrawn(call), { once: true })
      door.called(call, style, asked, traceOf(meta))
    })
  }

  /** Opens a session in ACP's way. `mcpServers` would be commands to run on a client's word alone; they are not started. */
  async function openSession(
    { cwd, additionalDirectories }: { cwd: string; additionalDirectories?: readonly string[] | null },
    signal: AbortSignal,
    session?: string,
  ): Promise<string> {
    const folders = [cwd, ...(additionalDirectories ?? [])].map((path) => ({ path, mode: 'rw' as const }))
    const asked = { folders, hosts: [], ...(session === undefined ? { approve: 'ask' as const } : { session }) }
    return ((await ask('acp', { method: 'open', params: clientMethods.open.parse(asked) }, signal)) as { session: string }).session
  }

  const app = agent({ name: 'bulkhead' })
    .onRequest('initialize', ({ params }) => {
      clientName = plainName(params.clientInfo?.title ?? params.clientInfo?.name)
      return {
        protocolVersion: PROTOCOL_VERSION,
        agentInfo: { name: 'bulkhead', title: 'Bulkhead', version: '0.1.0' },
        agentCapabilities: {
          loadSession: true,
          sessionCapabilities: { list: {}, resume: {}, close: {}, additionalDirectories: {} },
          _meta: { bulkhead: { methods: Object.keys(clientMethods).map((method) => prefix + method) } },
        },
        authMethods: [],
      }
    })
    .onRequest('session/new', async ({ params, signal }) => ({ sessionId: await openSession(params, signal) }))
    .onRequest('session/resume', async ({ params, signal }) => {
      await openSession(params, signal, params.sessionId)
      return {}
    })
    .onRequest('session/load', async ({ params, signal }) => {
      const session = await openSession(params, signal, params.sessionId)
      const replayed = (await ask('acp', { method: 'replay', params: { session, after: 0 } }, signal)) as Replay
      for (const update of replayed.events.flatMap(acpHistory)) notify('session/update', { sessionId: session, update })
      return {}
    })
    .onRequest('session/list', async ({ params, signal }) => {
      const { sessions } = (await ask('acp', { method: 'sessions', params: {} }, signal)) as { sessions: ListedSession[] }
      const all = sessions.map(({ session, title, lastTs, folders: [cwd = '/', ...additionalDirectories] }) => ({
        sessionId: session,
        // Which folders a session had is known while it is open.
        cwd,
        additionalDirectories,
        title,
        updatedAt: new Date(lastTs).toISOString(),
      }))
      return { sessions: params.cwd ? all.filter(({ cwd }) => cwd === params.cwd) : all }
    })
    .onRequest('session/close', async ({ params, signal }) => {
      await ask('acp', { method: 'close', params: clientMethods.close.parse({ session: params.sessionId }) }, signal)
      return {}
    })
    .onRequest('session/prompt', async ({ params, signal }) => {
      const { _meta: meta } = params
      const text = params.prompt.map(plainText).join('\n\n')
      const ended = await ask(
        'acp',
        { method: 'prompt', params: clientMethods.prompt.parse({ session: params.sessionId, text }) },
        signal,
        meta,
      )
      const { status, error } = ended as { status: Parameters<typeof stopReason>[0]; error?: Fault }
      if (status === 'failed') throw rpcError(error ?? fault('internal', 'The turn failed.'))
      return { stopReason: stopReason(status) as 'end_turn' }
    })
    .onNotification(
      'session/cancel',
      ({ params, signal }) => void ask('acp', { method: 'cancel', params: { session: params.sessionId } }, signal).catch(() => {}),
    )
  for (const method of Object.keys(clientMethods) as ClientMethod[])
    app.onRequest(prefix + method, clientMethods[method] as { parse(params: unknown): unknown }, ({ params, signal }) =>
      ask('bulkhead', { method, params } as ClientCall, signal, metaOf(params)),
    )

  const connection: AgentConnection = app.connect(stream)
  const close = () => {
    connection.close()
    destroy()
  }
  const notify = (method: string, params: unknown): void => {
    if (++unsent > maxUnsentNotifications) return close()
    void connection.client.notify(method, params).then(
      () => unsent--,
      () => unsent--,
    )
  }
  const closed = connection.closed.finally(() => {
    destroy()
    for (const { reject } of waiting.values()) reject(RequestError.internalError(undefined, 'connection closed'))
    waiting.clear()
  })

  return {
    local: stream.local === true,
    answer(call, outcome) {
      const waiter = waiting.get(call)
      waiting.delete(call)
      if ('error' in outcome) waiter?.reject(rpcError(outcome.error))
      else waiter?.resolve(outcome.result)
    },
    notify,
    deliver: (method, params) => connection.client.notify(method, params),
    async ask(params, signal) {
      try {
        const answer = await connection.client.request('session/request_permission', params as never, {
          cancellationSignal: signal,
          stopWaitingOnCancel: true,
        })
        return answer.outcome.outcome === 'selected' ? answer.outcome.optionId : null
      } catch {
        return null
      }
    },
    name: () => clientName,
    closed,
    close,
  }
}

function metaOf(params: unknown): unknown {
  const { _meta: meta } = params as { _meta?: unknown }
  return meta
}

/** The client's trace, if it sent one that can be used: a trace decides nothing, so a wrong one is no error. */
function traceOf(meta: unknown): string {
  const given = traceMeta.safeParse(meta ?? {}).data?.traceparent
  return given !== undefined && traceparent.test(given) && !given.includes(`-${'0'.repeat(16)}-`) ? given : newTrace()
}

function rpcError(error: unknown): RequestError {
  const known = isFault(error) ? error : asFault(error)
  return new RequestError(known.code === 'no-such-session' ? -32002 : faultCode, known.message, { fault: known })
}

/** What the conversation reads of a prompt's content. Other kinds are not advertised and so not sent. */
function plainText(block: ContentBlock): string {
  if (block.type === 'text') return block.text
  return block.type === 'resource_link' ? block.uri : ''
}

/** Client names are shown in grants and questions: printable, short. */
function plainName(name: string | null | undefined): string {
  const plain = (name ?? '')
    .replace(/[^\p{L}\p{N} ._-]/gu, '')
    .trim()
    .slice(0, 40)
  return plain === '' ? 'client' : plain
}
