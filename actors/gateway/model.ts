/**
 * What the checker plays around the gateway: a terminal and a page that come, prove themselves, open the same session, prompt, give up and
 * go; consent that asks the member and takes questions back; members who answer, decline, or answer what was not offered.
 */
import { defineModel, type Event, type Pending, type Stimulus, stopping, type View } from '../../checker/model.ts'
import { machine } from './machine.ts'
import type { Context } from './state.ts'

const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const session = 's'
const terminal = 1
const page = 2
const options = [
  { id: 'allow', label: 'Allow', scope: 'once' },
  { id: 'deny', label: 'Deny', scope: null },
]

type Effect = Extract<Pending, { what: 'effect' }>
const effects = ({ pending }: View<Context>, name: string): Effect[] =>
  pending.filter((item): item is Effect => item.what === 'effect' && item.name === name)
/** Answers to clients' calls so far: their effect has no outcome, so it stays on record here. */
const answers = (view: View<Context>, conn: unknown, call: unknown): number =>
  effects(view, 'answer').filter(({ params }) => params['conn'] === conn && params['call'] === call).length
const connected = (view: View<Context>, conn: number): boolean => effects(view, 'serve').some(({ params }) => params['conn'] === conn)
const turnOf = ({ context }: View<Context>) => context.sessions[session]?.turn ?? null
const serving = ({ value }: View<Context>): boolean => value === 'serving'

/** Calls of clients, each with the number its client gave it. */
const calls = {
  'the terminal opens': { conn: terminal, call: 1, asked: { method: 'open', params: { session, folders: [], hosts: [] } } },
  'the terminal prompts': { conn: terminal, call: 2, asked: { method: 'prompt', params: { session, text: 'go' } } },
  'the page opens': { conn: page, call: 1, asked: { method: 'open', params: { session, folders: [], hosts: [] } } },
  'the page prompts': { conn: page, call: 2, asked: { method: 'prompt', params: { session, text: 'go', stays: true } } },
  'the terminal closes': { conn: terminal, call: 3, asked: { method: 'close', params: { session } } },
} as const
type Call = keyof typeof calls

/** What somebody has asked for and not been told: a request to another actor, a turn, or what was said before being read. */
const underway = (view: View<Context>, conn: number, call: number): boolean => {
  const turn = turnOf(view)
  return (
    (turn?.conn === conn && turn.call === call) ||
    Object.values(view.context.pending).some((pending) => pending.conn === conn && pending.call === call)
  )
}

/** What comes once it has stopped finds nobody. */
const whileServing = (stimuli: readonly Stimulus<Context>[]): Stimulus<Context>[] =>
  stimuli.map(({ when, ...stimulus }) => ({ ...stimulus, when: (view) => serving(view) && when?.(view) !== false }))

/** Calls of clients that are there and have had no answer. */
const unanswered = (view: View<Context>, called: readonly Call[]): Call[] =>
  called.filter((name) => {
    const { conn, call } = calls[name]
    return view.sent[name] !== undefined && answers(view, conn, call) === 0 && view.context.clients.includes(conn)
  })

/** Whose call a ref stands for; undefined when nobody waits for it any more. */
const purposeOf = (view: View<Context>, ref: string): string | undefined => {
  const turn = turnOf(view)
  const pending = turn?.ref === ref ? turn : view.context.pending[ref]
  return pending && `${pending.conn} ${pending.call}`
}

/** @param called the calls that clients make */
const modelOf = (called: readonly Call[]) =>
  defineModel<Context>({
    actor: 'gateway',
    machine,
    input: undefined,
    stimuli: whileServing([
      {
        name: 'the terminal connects',
        request: false,
        event: () => ({ type: 'connection', body: { conn: terminal, door: 'local' }, from: { request: null } }),
      },
      {
        name: 'the page connects',
        request: false,
        event: () => ({ type: 'connection', body: { conn: page, door: 'page' }, from: { request: null } }),
      },
      {
        name: 'the page proves itself',
        request: false,
        when: (view) => connected(view, page),
        event: () => ({ type: 'serve.joined', conn: page }),
      },
      ...called.map((name) => ({
        name,
        request: false,
        // Who has not proved itself has no way to call.
        when: (view: View<Context>) => connected(view, calls[name].conn) && view.context.clients.includes(calls[name].conn),
        event: () => ({ type: 'serve.called', style: 'bulkhead', ...calls[name] }),
      })),
      {
        name: 'the terminal withdraws its prompt',
        request: false,
        when: (view) => connected(view, terminal) && (view.sent['the terminal prompts'] ?? 0) > 0,
        event: () => ({ type: 'serve.withdrawn', conn: terminal, call: calls['the terminal prompts'].call }),
      },
      {
        name: 'the terminal opens a shell',
        request: false,
        when: (view) =>
          connected(view, terminal) && view.sent['the terminal opens'] === undefined && view.sent['the page connects'] === undefined,
        event: () => ({
          type: 'serve.called',
          style: 'bulkhead',
          conn: terminal,
          call: 9,
          asked: { method: 'shell/open', params: { shell: 'sh', session, cols: 80, rows: 24 } },
        }),
      },
      {
        name: 'the conversation says what it thinks',
        request: false,
        times: Number.POSITIVE_INFINITY,
        when: (view) => turnOf(view) !== null,
        event: (view): Event => ({ type: 'part', ref: turnOf(view)?.ref, kind: 'prompt', body: { type: 'thinking', text: 'hm' } }),
      },
      { ...stopping, when: (view) => view.open.length === 0 && turnOf(view) === null && Object.keys(view.context.pending).length === 0 },
      {
        name: 'consent asks',
        event: (_, request) => ({
          type: 'ask-member',
          body: { session, id: 'q', tool: 'Write', title: 'Write a', detail: '+', options },
          from: { request, badge: { from: 'consent', session: null, limits: {} }, caps: [] },
        }),
      },
      {
        name: 'consent takes its question back',
        request: false,
        when: ({ open }) => open.length > 0,
        event: ({ open }) => ({ type: 'cancelled', request: open[0] }),
      },
    ]),
    effects: {
      serve: ({ conn }: { conn: number }) => [end({ type: 'serve.closed', conn })],
      shell: () => [end({ type: 'shell.closed' }), end({ type: 'shell.crashed' })],
      recall: () => [end({ type: 'recall.done', seq: 3 })],
      question: ({ question, conn }: { question: string; conn: number }) => [
        end({ type: 'question.answered', question, conn, option: 'allow', by: `client ${conn}` }),
        end({ type: 'question.answered', question, conn, option: 'never offered', by: `client ${conn}` }),
        end({ type: 'question.unanswered', question, conn }),
      ],
    },
    replies: ({ ref, kind }, { context }) => {
      const replied = (body: unknown, caps: readonly number[] = []) => ({ type: 'replied', ref, kind, body, caps })
      const refused = (code: string) => ({ type: 'refused', ref, kind, error: fault(code) })
      switch (kind) {
        case 'open':
          return [
            replied({ session, resumed: false, folders: [] }, [7]),
            ...(context.sessions[session] ? [] : [replied({ session, resumed: true, folders: [] }, [7])]),
            refused('not-found'),
          ]
        case 'prompt':
          return [replied({ status: 'done', text: '', toolCalls: 0 }), refused('actor-down')]
        default:
          return [replied({}), refused('actor-down')]
      }
    },
    // Refs only name requests: what they are for says as much.
    project: ({ next: _next, pending, sessions, ...context }) => ({
      ...context,
      pending: Object.values(pending).toSorted((a, b) => a.conn - b.conn || a.call - b.call),
      sessions: Object.fromEntries(
        Object.entries(sessions).map(([id, { turn, ...rest }]) => [id, { ...rest, turn: turn && { ...turn, ref: '', turn: '' } }]),
      ),
    }),
    // What a client is shown leads to nothing here; answers are counted; a session that is given up by the gateway itself is nobody's call.
    projectPending: (item, view) => {
      if (item.what === 'timer') return item
      if (item.what === 'effect') {
        const { conn, call, ref } = item.params
        if (item.name === 'answer') return [item.name, conn, call, answers(view, conn, call)]
        if (item.name === 'recall') return [item.name, purposeOf(view, String(ref))]
        if (item.name === 'shell') return [item.name]
        return item.name === 'serve' ? [item.name, conn] : item.name === 'question' ? [item.name, ref] : undefined
      }
      const purpose = purposeOf(view, item.ref)
      return purpose && [item.kind, purpose, item.cancelled === true]
    },
    always: {
      'a call is answered once at most': (view) =>
        effects(view, 'answer').every(({ params }) => answers(view, params['conn'], params['call']) === 1),
      'a call is answered, or somebody works on it': (view) =>
        called.every((name) => {
          const { conn, call } = calls[name]
          return view.sent[name] === undefined || answers(view, conn, call) > 0 || underway(view, conn, call)
        }),
      'who hung up is no client': (view) => !serving(view) || view.context.clients.every((conn) => connected(view, conn)),
      'a shell is known as long as it runs': (view) =>
        !serving(view) ||
        Object.keys(view.context.shells).every((ref) => effects(view, 'shell').some(({ params }) => params['ref'] === ref)),
      'who watches a session is a client': ({ context }) =>
        Object.values(context.sessions).every(({ watchers }) =>
          Object.keys(watchers).every((conn) => context.clients.includes(Number(conn))),
        ),
      'who came through the page and has not proved itself is no client': ({ context, sent }) =>
        !context.clients.includes(page) || sent['the page proves itself'] === 1,
      'whoever asks the member waits for a question that is open': ({ context, open }) =>
        open.every((request) => Object.values(context.questions).some((question) => question.request === request)),
      'a question is open while a client has it, or the turn waits for whoever comes': ({ context }) =>
        Object.values(context.questions).every(
          ({ asked, session: id }) => asked.length > 0 || context.sessions[id]?.turn?.stays === true || context.sessions[id] === undefined,
        ),
      'a question that is resolved is on no screen': (view) =>
        effects(view, 'question').every(({ params }) => {
          const conn = params['conn'] as number
          return view.context.questions[params['question'] as string]?.asked.includes(conn) === true || !view.context.clients.includes(conn)
        }),
      'what was started by a client that is gone is being interrupted, unless it stays': (view) => {
        const turn = turnOf(view)
        if (turn === null || turn.stays || view.context.clients.includes(turn.conn)) return true
        return view.pending.some((item) => item.what === 'request' && item.ref === turn.ref && item.cancelled === true)
      },
      'one turn at a time in a session': (view) =>
        view.context.sessions[session] === undefined ||
        view.pending.filter((item) => item.what === 'request' && item.kind === 'prompt' && item.cancelled !== true).length <= 1,
    },
    sometimes: {
      'both watch': ({ context }) => Object.keys(context.sessions[session]?.watchers ?? {}).length === 2,
      'a turn runs': (view) => turnOf(view) !== null,
      'a turn outlives its client': (view) => {
        const turn = turnOf(view)
        return !called.includes('the page prompts') || (turn !== null && turn.stays && !view.context.clients.includes(turn.conn))
      },
      'both are asked': ({ context }) => Object.values(context.questions).some(({ asked }) => asked.length === 2),
    },
    steps: {
      'a prompt that its client takes back is given up': (before, event, after) => {
        const turn = turnOf(before)
        if (event.type !== 'serve.withdrawn' || turn?.conn !== event['conn'] || turn?.call !== event['call']) return true
        return after.pending.some((item) => item.what === 'request' && item.ref === turn?.ref && item.cancelled === true)
      },
      'what the conversation says reaches everybody who watches': (before, event, after) => {
        const { watchers = {} } = before.context.sessions[session] ?? {}
        if (event.type !== 'part' || event['ref'] !== turnOf(before)?.ref) return true
        const told = effects(after, 'publish').at(-1)
        return (
          told !== undefined && told !== effects(before, 'publish').at(-1) && String(told.params['conns']) === Object.keys(watchers).join()
        )
      },
      'told to stop, it stops': (_before, event, { value }) => event.type !== 'stopping' || value === 'stopping',
      'the first answer wins, and is one that was offered': (before, event, _after, out) =>
        out.every(
          (message) =>
            message.type !== 'reply' ||
            !before.open.includes(message.request) ||
            (event.type === 'question.answered' && options.some(({ id }) => id === event['option'])),
        ),
      'events of a session are numbered without a gap, and one number is one event': (before, _event, after, _out) => {
        const [was, is] = [before.context.sessions[session]?.seq, after.context.sessions[session]?.seq]
        if (was === undefined || is === undefined) return true
        const seen = new Set(effects(before, 'publish'))
        const fresh = effects(after, 'publish').filter((item) => !seen.has(item))
        const numbers = fresh.flatMap(({ params }) => {
          const event = params['event'] as { seq: number; passing?: true }
          return event.passing ? [] : [event.seq]
        })
        return is - was >= numbers.length && new Set(numbers).size === numbers.length && numbers.every((n) => n > was && n <= is)
      },
    },
    leadsTo: {
      'a call is answered, if its client stays': {
        from: (view) => serving(view) && unanswered(view, called).length > 0,
        to: (view) => !serving(view) || unanswered(view, called).length === 0,
      },
      'whoever asks the member is answered, if somebody is asked': {
        from: ({ open }) => open.length > 0,
        to: ({ open, context }) => open.length === 0 || Object.values(context.questions).every(({ asked }) => asked.length === 0),
      },
      'a prompt ends, or is given up': { from: (view) => turnOf(view) !== null, to: (view) => turnOf(view) === null },
    },
    // A client may stay.
    fairness: { 'effect serve': 'none' },
    // Calls and their answers by number are this model's own.
    onlyHere: [
      'told to stop, it stops',
      'who hung up is no client',
      'a shell is known as long as it runs',
      'a prompt that its client takes back is given up',
      'what the conversation says reaches everybody who watches',
      'a call is answered once at most',
      'a call is answered, or somebody works on it',
      'who came through the page and has not proved itself is no client',
      'the first answer wins, and is one that was offered',
      'one turn at a time in a session',
    ],
    mayEnd: (view) => !serving(view) || view.open.length === 0 || Object.keys(view.context.questions).length > 0,
  })

export const model = modelOf(['the terminal opens', 'the terminal prompts', 'the page opens'])
export const fullModel = modelOf(Object.keys(calls) as Call[])
