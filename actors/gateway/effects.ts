/** The gateway's contact with its clients. Connections live here by number; everything the machine decides reaches them as an effect. */
import * as Effect from 'effect/Effect'
import { type EffectContext, type Effects, fault, type Fault, type PartOf } from '../../kernel/index.ts'
import type { protocol as vmSupervisor } from '../vm-supervisor/protocol.ts'
import { type ClientConnection, type Door, lineStream, serveConnection } from './connection.ts'
import { maxClients, maxListed, maxUnprovenPages } from './limits.ts'
import type { ServeEvent } from './machine.ts'
import { createPageDoor, type PageDoor } from './page-door.ts'
import { type PageFiles, readPageFiles } from './page-files.ts'
import { pageStream } from './page-stream.ts'
import { eventsOf, type JournalEntry, titleFrom } from './recall.ts'
import { forgetLog, isLogged, keep, replayOf } from './session-log.ts'
import { handleOf } from './shells.ts'
import type { DoorKind, EffectCall, LiveSession } from './state.ts'

/** What the daemon says about the page: its port on the loopback address, the token of this start, the folder it was built into. */
type PageSettings = { port: number; token: string; dir: string }

const connections = new Map<number, ClientConnection>()
/** Connections to the page's door that have not proved themselves. */
let unproven = 0
let door: PageDoor | null = null
let files: PageFiles | null = null

export const effects = {
  /** Serves a client until it is gone. Its calls arrive as `serve.called` and `serve.withdrawn` meanwhile. */
  serve: {
    outcomes: ['closed'],
    run: ({ conn, full, door: through }: { conn: number; full: boolean; door: DoorKind }, context: EffectContext) =>
      Effect.callback<{ type: string; conn: number }>((resume) => {
        const socket = context.takeHandle(conn)
        const raise = (event: ServeEvent, trace?: string) => context.raise(event, trace)
        const calls: Door = {
          called: (call, style, asked, trace) => raise({ type: 'serve.called', conn, call, style, asked }, trace),
          withdrawn: (call) => raise({ type: 'serve.withdrawn', conn, call }),
        }
        const ended = () => resume(Effect.succeed({ type: 'closed', conn }))
        // Gone while it waited for its turn: nobody would be told of that once more.
        if (socket.destroyed) return ended()
        const begin = (connection: ClientConnection) => {
          connections.set(conn, connection)
          void connection.closed.finally(() => {
            connections.delete(conn)
            ended()
          })
        }
        const page = through === 'page' ? openDoor(context) : null
        if (full || (through === 'page' && (!page || unproven >= maxUnprovenPages))) {
          socket.destroy()
          context.log('warn', 'too many clients: one was turned away')
          return ended()
        }
        if (!page) begin(serveConnection(lineStream(socket), () => socket.destroy(), calls))
        else {
          unproven++
          let proven = false
          socket.once('close', () => {
            if (proven) return
            unproven--
            ended()
          })
          page.serve(socket, (client) => {
            proven = true
            unproven--
            if (connections.size >= maxClients) {
              client.once('close', ended)
              return client.close(1013, 'too many clients')
            }
            raise({ type: 'serve.joined', conn })
            begin(serveConnection(pageStream(client), () => client.terminate(), calls))
          })
        }
        return Effect.sync(() => {
          connections.get(conn)?.close()
          socket.destroy()
        })
      }),
  },
  /** Answers a client's call. */
  answer: {
    outcomes: ['done'],
    outside: true,
    run: ({ conn, call, result, error }: { conn: number; call: number; result?: unknown; error?: Fault }) =>
      done(() => connections.get(conn)?.answer(call, error === undefined ? { result } : { error })),
  },
  /** Tells clients something. */
  notify: {
    outcomes: ['done'],
    outside: true,
    run: ({ conns, method, params }: { conns: readonly number[]; method: string; params: Record<string, unknown> }) =>
      done(() => tell(conns, method, params)),
  },
  /** Stamps a session's event with the time, the same for all who see it, keeps it and sends it. */
  publish: {
    outcomes: ['done'],
    outside: true,
    run: ({ conns, event }: { conns: readonly number[]; event: { session: string; seq: number; type: string } }) =>
      done(() => {
        const stamped = { ...event, ts: new Date().toISOString() }
        keep(stamped)
        tell(conns, '_bulkhead/event', stamped)
      }),
  },
  /** Fills the log of a session that was there before the gateway. What cannot be read is left out: the session itself goes on. */
  recall: {
    outcomes: ['done'],
    run: ({ session }: { ref: string; session: string }, context: EffectContext) => {
      if (isLogged(session)) return Effect.succeed({ type: 'done', seq: replayOf(session, 0).seq })
      return readJournal(context, session).pipe(
        Effect.map((entries) => {
          if (!isLogged(session)) for (const event of eventsOf(session, entries)) keep(event)
          return { type: 'done', seq: replayOf(session, 0).seq }
        }),
      )
    },
  },
  replay: {
    outcomes: ['done'],
    run: ({ conn, call, session, after }: { conn: number; call: number; session: string; after: number }) =>
      done(() => connections.get(conn)?.answer(call, { result: replayOf(session, after) })),
  },
  /** The session ended; the journal keeps what was said. */
  forget: { outcomes: ['done'], run: ({ session }: { session: string }) => done(() => forgetLog(session)) },
  /** Answers with the sessions in the journal, each with its title and what is known of it now. */
  listSessions: {
    outcomes: ['done'],
    run: ({ conn, call, live }: { conn: number; call: number; live: Record<string, LiveSession> }, context: EffectContext) =>
      context.request('journal', 'sessions', {}).pipe(
        Effect.map(({ body }) => (body as { sessions: Summary[] }).sessions.slice(0, maxListed)),
        Effect.flatMap((sessions) => Effect.all(sessions.map(listed(context, live)), { concurrency: 8 })),
        Effect.match({
          onSuccess: (sessions) => ({ result: { sessions } }),
          onFailure: (error) => ({ error }),
        }),
        Effect.map((outcome) => {
          connections.get(conn)?.answer(call, outcome)
          return { type: 'done' }
        }),
      ),
  },
  /** Answers with the page's address; its token is for who came through the Unix socket and is told to nobody else. */
  tellPage: {
    outcomes: ['done'],
    run: ({ conn, call }: { conn: number; call: number }, context: EffectContext) =>
      done(() => {
        const page = pageSettings(context)
        const connection = connections.get(conn)
        if (page && connection?.local) return connection.answer(call, { result: { url: `http://127.0.0.1:${page.port}/#k=${page.token}` } })
        const error = page
          ? fault('no-capability', 'The address of the page is told through the Unix socket only.')
          : fault('not-found', 'This daemon serves no page.', { cause: 'No loopback port could be opened at its start; its log says why.' })
        connection?.answer(call, { error })
      }),
  },
  /** Carries a terminal in the workspace. Interrupted when its client gave it up: that ends it there. */
  shell: {
    outcomes: ['closed'],
    outside: true,
    run: ({ conn, call, shell, session, cols, rows, command, term }: ShellParams, context: EffectContext) => {
      const connection = connections.get(conn)
      if (!connection?.local) {
        connection?.answer(call, { error: fault('no-capability', 'Terminals are opened through the Unix socket only.') })
        return Effect.succeed({ type: 'closed' })
      }
      const body = {
        session,
        handle: handleOf({ conn, shell }),
        cols,
        rows,
        ...(command ? { command } : {}),
        ...(term ? { env: { TERM: term } } : {}),
      }
      // What it shows next waits until the client took this.
      const onPart = (part: unknown): Promise<void> => connection.deliver('_bulkhead/shell', { shell, ...shown(part as ShellPart) })
      return context.request('vm', 'shell', body, { deadlineMs: null, onPart }).pipe(
        Effect.match({ onSuccess: ({ body: result }) => ({ result }), onFailure: (error) => ({ error }) }),
        // Clients may see an answer before notifications that came ahead of it: the last of these says so.
        Effect.tap(() => Effect.promise(() => connection.deliver('_bulkhead/shell', { shell, ended: true }).catch(() => {}))),
        Effect.map((outcome) => {
          connection.answer(call, outcome)
          return { type: 'closed' }
        }),
      )
    },
  },
  /** Asks one client. Interrupted when another one answered first: the client is told to take the question down. */
  question: {
    outcomes: ['answered', 'unanswered'],
    outside: true,
    run: ({ conn, question, params }: { conn: number; question: string; params: unknown }) =>
      Effect.promise(async (signal) => {
        const connection = connections.get(conn)
        const option = await connection?.ask(params, signal)
        if (!connection || option === null || option === undefined) return { type: 'unanswered', question, conn }
        return { type: 'answered', question, conn, option, by: `member (${connection.name()})` }
      }),
  },
} satisfies Effects

type ShellParams = Extract<EffectCall, { name: 'shell' }>['params']
type ShellPart = PartOf<typeof vmSupervisor, 'shell'>

function shown(part: ShellPart): Record<string, unknown> {
  if (part.type === 'output') return { data: Buffer.from(part.bytes).toString('base64') }
  if (part.type === 'started') return { started: true }
  const { state, detail, progress } = part
  return { vm: { state, detail, ...(progress === undefined ? {} : { progress }) } }
}

type Summary = { session: string; entries: number; firstTs: number; lastTs: number }

function done(work: () => void): Effect.Effect<{ type: string }> {
  return Effect.sync(() => {
    work()
    return { type: 'done' }
  })
}

function tell(conns: readonly number[], method: string, params: Record<string, unknown>): void {
  for (const conn of conns) connections.get(conn)?.notify(method, params)
}

function readJournal(context: EffectContext, session: string): Effect.Effect<JournalEntry[]> {
  const limit = 1000
  const page = (after: number): Effect.Effect<JournalEntry[], Fault> =>
    context.request('journal', 'read', { session, after, limit }).pipe(
      Effect.flatMap(({ body }) => {
        const { entries } = body as { entries: JournalEntry[] }
        const last = entries.at(-1)
        if (entries.length < limit || !last) return Effect.succeed(entries)
        return page(last.seq).pipe(Effect.map((more) => [...entries, ...more]))
      }),
    )
  return page(0).pipe(
    Effect.catch((error: Fault) => {
      context.log('warn', `what was said in ${session} cannot be read: ${error.message}`)
      return Effect.succeed([])
    }),
  )
}

const listed =
  (context: EffectContext, live: Record<string, LiveSession>) =>
  (summary: Summary): Effect.Effect<object> =>
    context.request('journal', 'read', { session: summary.session, limit: 1 }).pipe(
      Effect.map(({ body }) => titleFrom((body as { entries: JournalEntry[] }).entries[0])),
      Effect.catch(() => Effect.succeed(null)),
      Effect.map((title) => {
        const { running = false, asks = false, folders = [] } = live[summary.session] ?? {}
        return { ...summary, title, open: live[summary.session] !== undefined, running, asks, folders }
      }),
    )

function openDoor(context: EffectContext): PageDoor | null {
  const page = pageSettings(context)
  if (!page) return null
  door ??= createPageDoor({
    port: page.port,
    token: page.token,
    files: () => (files ??= readPageFiles(page.dir)),
    refused: (reason, request) => context.log('warn', `a request to the page's port was refused: ${reason}`, request),
  })
  return door
}

function pageSettings({ params }: EffectContext): PageSettings | null {
  return (params as { page?: PageSettings | null }).page ?? null
}
