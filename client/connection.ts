/** A client's line to the daemon: ACP and `_bulkhead/*` over its Unix socket. */
import { connect, type Socket } from 'node:net'
import { Readable, Writable } from 'node:stream'
import type { RequestError } from '@agentclientprotocol/sdk'
import { asFault, fault, type Fault, isFault } from '../kernel/index.ts'
import type { Question, Resolution, SessionEvent } from './events.ts'
import { answerMs } from './limits.ts'

/** What a terminal in the workspace shows, base64; or that it began; or how the workspace comes up before. */
export type ShellShown = {
  shell: string
  data?: string
  started?: boolean
  vm?: { state: string; detail: string; progress?: string }
  /** Nothing more follows. */
  ended?: boolean
}

export type Handlers = {
  event?(event: SessionEvent): void
  vm?(status: unknown): void
  shell?(shown: ShellShown): void
  /** The chosen option's id; null declines to answer. `signal`: the question was settled elsewhere. */
  question?(question: Question, signal: AbortSignal): Promise<string | null>
  resolved?(resolution: Resolution): void
}

export type Daemon = {
  /** Calls `_bulkhead/<method>`. Rejects with a `Fault`. */
  call<T = unknown>(method: string, params?: object, signal?: AbortSignal): Promise<T>
  closed: Promise<void>
  close(): void
}

/** The library of the protocol. Its schemas take a tenth of a second to load: once somebody answers, or while the daemon starts. */
export const loadProtocol = () => import('@agentclientprotocol/sdk')

/** Connects; null when nobody listens. Rejects with `daemon-down` when somebody does but does not answer. */
export async function connectDaemon(path: string, handlers: Handlers = {}): Promise<Daemon | null> {
  const socket = await dial(path)
  if (!socket) return null
  const { client, ndJsonStream, RequestError: Refusal } = await loadProtocol()
  const connection = client({ name: 'bulkhead' })
    .onRequest('session/request_permission', async ({ params, signal }) => {
      const { _meta: meta } = params
      const question = (meta as { bulkhead?: Question } | undefined)?.bulkhead
      const optionId = question && handlers.question ? await handlers.question(question, signal) : null
      return { outcome: optionId === null ? { outcome: 'cancelled' } : { outcome: 'selected', optionId } }
    })
    .onNotification(
      '_bulkhead/event',
      (params) => params as SessionEvent,
      ({ params }) => handlers.event?.(params),
    )
    .onNotification(
      '_bulkhead/vm',
      (params) => params as { status: unknown },
      ({ params }) => handlers.vm?.(params.status),
    )
    .onNotification(
      '_bulkhead/shell',
      (params) => params as ShellShown,
      ({ params }) => handlers.shell?.(params),
    )
    .onNotification(
      '_bulkhead/permission_resolved',
      (params) => params as Resolution,
      ({ params }) => handlers.resolved?.(params),
    )
    .onNotification('*', () => {})
    .connect(ndJsonStream(Writable.toWeb(socket) as WritableStream<Uint8Array>, Readable.toWeb(socket) as ReadableStream<Uint8Array>))
  const closed = connection.closed.finally(() => socket.destroy())
  const daemon: Daemon = {
    async call<T>(method: string, params: object = {}, signal?: AbortSignal): Promise<T> {
      try {
        return await connection.agent.request<T>(`_bulkhead/${method}`, params, signal ? { cancellationSignal: signal } : {})
      } catch (error) {
        throw toFault(error, error instanceof Refusal ? error : null, connection.signal.aborted)
      }
    },
    closed,
    close() {
      connection.close()
      socket.destroy()
    },
  }
  const greeting = connection.agent.request('initialize', {
    protocolVersion: 1,
    clientInfo: { name: 'terminal', version: '0.1.0' },
    clientCapabilities: {},
  })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          fault('daemon-down', 'The daemon does not answer.', {
            cause: `no answer within ${answerMs} ms`,
            remedy: 'Run `bulkhead daemon stop`, then try again.',
          }),
        ),
      answerMs,
    )
  })
  try {
    await Promise.race([greeting, late])
    return daemon
  } catch (error) {
    daemon.close()
    if (isFault(error)) throw error
    return null
  } finally {
    clearTimeout(timer)
  }
}

function dial(path: string): Promise<Socket | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.removeAllListeners('error')
      socket.on('error', () => socket.destroy())
      resolve(socket)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET') resolve(null)
      else reject(fault('daemon-down', "The daemon's socket cannot be used.", { cause: error.message }))
    })
  })
}

function toFault(error: unknown, refusal: RequestError | null, closed: boolean): Fault {
  if (closed)
    return fault('daemon-down', 'The connection to the daemon broke off.', {
      remedy: 'Try again; it is started anew when needed. Its log is in BULKHEAD_HOME/logs.',
    })
  if (refusal === null) return asFault(error)
  const carried = (refusal.data as { fault?: unknown } | undefined)?.fault
  if (isFault(carried)) return carried
  if (refusal.code === invalidParams)
    return fault('malformed', 'The daemon did not accept the call.', { cause: JSON.stringify(refusal.data) })
  return asFault(error)
}

const invalidParams = -32602
