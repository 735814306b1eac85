/** The gateway's contact with its clients. Connections live here by number; everything the machine decides reaches them as an effect. */
import * as Effect from 'effect/Effect'
import type { EffectContext, Effects, Fault } from '../../kernel/index.ts'
import { type ClientConnection, serveConnection } from './connection.ts'
import type { ServeEvent } from './machine.ts'

const connections = new Map<number, ClientConnection>()

export const effects = {
  /** Serves a client until it is gone. Its calls arrive as `serve.called` and `serve.withdrawn` meanwhile. */
  serve: {
    outcomes: ['closed'],
    run: ({ conn, full }: { conn: number; full: boolean }, context: EffectContext) =>
      Effect.callback<{ type: string; conn: number }>((resume) => {
        const socket = context.takeHandle(conn)
        if (full) {
          socket.destroy()
          context.log('warn', 'too many clients: one was turned away')
          return resume(Effect.succeed({ type: 'closed', conn }))
        }
        const raise = (event: ServeEvent, trace?: string) => context.raise(event, trace)
        const connection = serveConnection(socket, {
          called: (call, style, asked, trace) => raise({ type: 'serve.called', conn, call, style, asked }, trace),
          withdrawn: (call) => raise({ type: 'serve.withdrawn', conn, call }),
        })
        connections.set(conn, connection)
        void connection.closed.finally(() => {
          connections.delete(conn)
          resume(Effect.succeed({ type: 'closed', conn }))
        })
        return Effect.sync(() => connection.close())
      }),
  },
  /** Answers a client's call. */
  answer: {
    outcomes: ['done'],
    run: ({ conn, call, result, error }: { conn: number; call: number; result?: unknown; error?: Fault }) =>
      Effect.sync(() => {
        connections.get(conn)?.answer(call, error === undefined ? { result } : { error })
        return { type: 'done' }
      }),
  },
  /** Tells clients something. `stamp` adds the time, the same for all of them. */
  notify: {
    outcomes: ['done'],
    run: ({
      conns,
      method,
      params,
      stamp,
    }: {
      conns: readonly number[]
      method: string
      params: Record<string, unknown>
      stamp: boolean
    }) =>
      Effect.sync(() => {
        const body = stamp ? { ...params, ts: new Date().toISOString() } : params
        for (const conn of conns) connections.get(conn)?.notify(method, body)
        return { type: 'done' }
      }),
  },
  /** Asks one client. Interrupted when another one answered first: the client is told to take the question down. */
  question: {
    outcomes: ['answered', 'unanswered'],
    run: ({ conn, question, params }: { conn: number; question: string; params: unknown }) =>
      Effect.promise(async (signal) => {
        const connection = connections.get(conn)
        const option = await connection?.ask(params, signal)
        if (!connection || option === null || option === undefined) return { type: 'unanswered', question, conn }
        return { type: 'answered', question, conn, option, by: `member (${connection.name()})` }
      }),
  },
} satisfies Effects
