/** JSON-RPC 2.0 over the gateway's WebSocket: calls, notifications, and requests the gateway makes. Reconnecting is session.ts's. */
import type { Fault } from '../../../kernel/index.ts'

export type Answering = (params: unknown, signal: AbortSignal) => Promise<unknown>
export type Rpc = {
  /** Rejects with a `Fault`. */
  call<T = unknown>(method: string, params?: object): Promise<T>
  closed: Promise<void>
  close(): void
}
type Message = {
  id?: number | string
  method?: string
  params?: unknown
  result?: unknown
  error?: { code: number; message: string; data?: { fault?: Fault } }
}

/** Rejects when the gateway does not accept: what is wrong, the browser does not say. */
export function connect(options: {
  token: string
  notified(method: string, params: unknown): void
  /** By method; a method that is not here is answered with an error. */
  asked: Readonly<Record<string, Answering>>
}): Promise<Rpc> {
  const socket = new WebSocket(`ws://${location.host}/acp`, ['acp', `tok.${options.token}`])
  const open = new Map<number, { resolve(value: unknown): void; reject(error: Fault): void }>()
  const answering = new Map<number | string, AbortController>()
  let next = 1
  const send = (message: object): void => {
    if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ jsonrpc: '2.0', ...message }))
  }

  async function answer(id: number | string, method: string, params: unknown): Promise<void> {
    const work = options.asked[method]
    if (!work) return send({ id, error: { code: -32601, message: 'Method not found' } })
    const abort = new AbortController()
    answering.set(id, abort)
    try {
      send({ id, result: await work(params, abort.signal) })
    } catch (error) {
      send({ id, error: { code: -32603, message: String(error) } })
    } finally {
      answering.delete(id)
    }
  }

  socket.addEventListener('message', ({ data }) => {
    const { id, method, params, result, error } = JSON.parse(String(data)) as Message
    if (method === '$/cancel_request') answering.get((params as { requestId: number | string }).requestId)?.abort()
    else if (method !== undefined && id !== undefined) void answer(id, method, params)
    else if (method !== undefined) options.notified(method, params)
    else if (typeof id === 'number') {
      const waiting = open.get(id)
      open.delete(id)
      if (error) waiting?.reject(error.data?.fault ?? { code: 'internal', message: error.message, remedy: 'Reload the page.' })
      else waiting?.resolve(result)
    }
  })
  const closed = new Promise<void>((resolve) => {
    socket.addEventListener('close', () => {
      const lost: Fault = { code: 'daemon-down', message: 'The connection to Bulkhead broke off.', remedy: 'It is tried again by itself.' }
      for (const { reject } of open.values()) reject(lost)
      for (const abort of answering.values()) abort.abort()
      resolve()
    })
  })
  const rpc: Rpc = {
    call: <T>(method: string, params: object = {}) =>
      new Promise<T>((resolve, reject) => {
        const id = next++
        open.set(id, { resolve: resolve as (value: unknown) => void, reject })
        send({ id, method, params })
      }),
    closed,
    close: () => socket.close(),
  }
  return new Promise((resolve, reject) => {
    socket.addEventListener('open', () => {
      rpc
        .call('initialize', { protocolVersion: 1, clientInfo: { name: 'page', version: '0.1.0' }, clientCapabilities: {} })
        .then(() => resolve(rpc), reject)
    })
    socket.addEventListener('close', () => reject(new Error('not accepted')))
  })
}
