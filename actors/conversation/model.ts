/**
 * What the checker plays around the agent loop: a prompt and a second one, an interrupt, a model that reads and writes, consent that
 * allows once, for the session, or not, tools that work, fail and crash, a journal that refuses.
 */
import { askedBy, defineModel, type Event, type Model, type Pending, type Stimulus, type View } from '../../checker/model.ts'
import type { Outgoing } from '../../kernel/index.ts'
import type { Context } from './context.ts'
import { validHistory } from './history.ts'
import { HISTORY_PAGE, MAX_MODEL_CALLS } from './limits.ts'
import { machine } from './machine.ts'

const from = (request: number) => ({ request, badge: { from: 'gateway', session: 's', limits: {} }, caps: [] })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
const use = (id: string, name: string, input: object) => ({ type: 'tool_use' as const, id, name, input })
const usage = { input: 1, output: 1 }

/** The slot that consent gives in this model. */
const granted = 5

const read = use('read', 'Read', { file_path: '/r/a.txt' })
const fetch = use('read', 'WebFetch', { url: 'https://a.example/' })
const write = use('write', 'Write', { file_path: '/r/b.txt', content: 'x' })

const requestOfPrompt = 100
const isOpen = ({ open }: View<Context>): boolean => open.some((request) => request >= requestOfPrompt && request < 300)

const isIn = (view: View<Context>, state: string): boolean => JSON.stringify(view.value).includes(`"${state}"`)
const isSaid = (out: readonly Outgoing[], type: string): boolean =>
  out.some((message) => message.type === 'partTo' && (message.body as { type?: string }).type === type)
const isSent = (out: readonly Outgoing[], kind: string): boolean => out.some((message) => message.type === 'send' && message.kind === kind)
const effects = ({ pending }: View<Context>, name: string): Pending[] =>
  pending.filter((item) => item.what === 'effect' && item.name === name)
/** What the turn that is there now began. */
const isCurrent = ({ context }: View<Context>, event: Event): boolean => event['ref'] === `turn:${context.serial}`
const isUnchanged = (before: View<Context>, after: View<Context>, out: readonly Outgoing[]): boolean =>
  out.length === 0 &&
  after.pending.length === before.pending.length &&
  JSON.stringify(after.value) === JSON.stringify(before.value) &&
  (['turn', 'waiting', 'staged', 'messages', 'serial'] as const).every((part) => after.context[part] === before.context[part])
const entriesOf = (event: Event): { seq: number }[] => (event['body'] as { entries: { seq: number }[] }).entries

/** @param modelCalls answers with tool calls in one turn; @param changes whether policy changes meanwhile and a second prompt comes */
function modelOf(modelCalls: number, changes: boolean) {
  return defineModel<Context>({
    actor: 'conversation',
    machine,
    input: { params: { session: 's', folders: [{ name: 'r', root: '/r', mode: 'rw' }], hosts: [], blocked: {} }, slots: ['folder:r'] },
    stimuli: [
      { name: 'prompt', event: (_, request) => ({ type: 'prompt', body: { text: 'go' }, from: from(request) }) },
      {
        name: 'another prompt',
        when: ({ sent }) => changes && sent['prompt'] === 1,
        event: (_, request) => ({ type: 'prompt', body: { text: 'again' }, from: from(request) }),
      },
      { name: 'interrupt', request: false, when: isOpen, event: ({ open }) => ({ type: 'cancelled', request: open[0] }) },
      {
        name: 'restrict',
        when: ({ context }) => changes && context.turn !== null,
        event: (_, request) => ({ type: 'restrict', body: { blocked: { Write: 'policy' } }, from: from(request) }),
      },
    ],
    effects: {
      prepareTurn: () => [
        end({
          type: 'prepareTurn.ready',
          date: '2026-01-01',
          practice: true,
          serverTools: [],
          serverNotes: [],
          news: [],
          endedJobs: [],
          instructions: [],
        }),
        end({ type: 'prepareTurn.failed', error: fault('model-unreachable') }),
      ],
      callModel: (_, { context }) => [
        end({ type: 'callModel.done', content: [{ type: 'text', text: 'done' }], stopReason: 'end_turn', usage }),
        ...((context.turn?.modelCalls ?? 0) < modelCalls
          ? [read, fetch].map((first) => end({ type: 'callModel.done', content: [first, write], stopReason: 'tool_use', usage }))
          : []),
        end({ type: 'callModel.crashed', error: fault('internal') }),
      ],
      runTool: ({ id }: { id: string }) => [
        end(
          id === 'read'
            ? { type: 'runTool.done', answers: [{ body: { text: 'a', truncated: false, lines: 1, sha256: 'h' } }], durationMs: 1 }
            : { type: 'runTool.done', answers: [{ body: { bytes: 1, created: true, sha256: 'h' } }], durationMs: 1, endedJobs: [] },
        ),
        end({ type: 'runTool.failed', error: fault(id === 'read' ? 'not-found' : 'revoked'), output: '', durationMs: 1 }),
      ],
    },
    replies: ({ ref, kind }) => {
      const replied = (body: unknown, caps: readonly number[] = []) => ({ type: 'replied', ref, kind, body, caps })
      const refused = (code: string) => ({ type: 'refused', ref, kind, error: fault(code) })
      switch (kind) {
        case 'read':
          return [replied({ entries: [] }), refused('actor-down')]
        case 'append':
          return [replied({ seq: 1 }), refused('io-failed')]
        case 'preview':
          return [replied({ path: 'b.txt', diff: '+x', created: true }), refused('outside-folder')]
        default:
          return [
            replied({ decision: 'allow', scope: 'once', by: 'member' }, [granted]),
            replied({ decision: 'allow', scope: 'session', by: 'member' }, [granted]),
            refused('denied'),
          ]
      }
    },
    // The serial only makes refs unique, and how long things took is shown, not used.
    project: ({ serial: _serial, loadedSeq, eventSeq: _number, ...context }) => ({ ...context, loaded: loadedSeq > 0 }),
    projectPending: (item, { context }) => {
      if (item.what === 'timer') return item
      const ref = item.what === 'request' ? item.ref : String(item.params['ref'])
      // Of an earlier turn or question: its outcome finds nobody.
      const current = ref === 'load' || ref.split(':')[1] === String(context.serial)
      return item.what === 'request'
        ? [item.kind, item.cancelled === true, current, ref.split(':').slice(2)]
        : [item.name, item.params['id'], item.params['request'], current, ref.split(':').slice(2)]
    },
    always: {
      'a prompt that is open is being worked on or waits': ({ context, open }) =>
        open.every((request) => context.turn?.request === request || context.waiting?.request === request),
      'each tool call the model hears of is answered exactly once, in the message after it': ({ context }) =>
        validHistory(context.messages).every(({ role, content }, index, messages) => {
          const asked = content.flatMap((block) => (role === 'assistant' && block.type === 'tool_use' ? [block.id] : []))
          if (asked.length === 0) return true
          const answered = (messages[index + 1]?.content ?? []).flatMap((block) =>
            block.type === 'tool_result' ? [block.tool_use_id] : [],
          )
          return asked.length === answered.length && asked.every((id) => answered.filter((other) => other === id).length === 1)
        }),
      'a change runs only on a capability that consent gave': ({ pending }) =>
        pending.every(
          (item) =>
            item.what !== 'effect' ||
            item.name !== 'runTool' ||
            (item.params['calls'] as { to: unknown; kind: string }[]).every(({ to, kind }) => kind !== 'write' || to === granted),
        ),
      'nothing runs in a turn that is over': ({ context, pending }) =>
        context.turn !== null || pending.every((item) => item.what !== 'effect' || item.name !== 'runTool'),
      'where a turn goes on there is one, and nowhere else': ({ value, context }) =>
        (typeof value === 'object') === (context.turn !== null),
      'a tool runs, and the member is asked, only while the calls of an answer are worked on': (view) =>
        isIn(view, 'working') ||
        (effects(view, 'runTool').length === 0 &&
          view.pending.every(
            (item) => item.what !== 'request' || (item.kind !== 'ask' && item.kind !== 'preview') || item.cancelled === true,
          )),
      'the model is called only for a turn that goes on': (view) =>
        effects(view, 'callModel').length === 0 || (view.context.turn !== null && view.context.turn.ending === null),
      'no more calls of the model than a turn may make': ({ context }) => (context.turn?.modelCalls ?? 0) <= MAX_MODEL_CALLS,
      'nothing is staged but while it is written down': (view) =>
        view.context.staged === null || isIn(view, 'saving') || view.value === 'closing',
      'no message that is written down is empty': ({ context }) =>
        (context.staged?.entries ?? []).every((entry) => {
          const { content } = (entry as { entry: { content?: readonly unknown[] } }).entry
          return content === undefined || content.length > 0
        }),
    },
    sometimes: {
      'a change was allowed and made': ({ context }) =>
        context.messages.some(({ content }) =>
          content.some((block) => block.type === 'tool_result' && block.tool_use_id === 'write' && block.is_error !== true),
        ),
      'an approval for the session is used again': ({ context }) => context.turn?.calls.some(({ reusing }) => reusing) === true,
      'a change is asked for after a page was read, though it was allowed for the session': ({ context }) =>
        Object.keys(context.approvals).length > 0 &&
        context.turn?.calls.some(({ phase }) => phase === 'asking') === true &&
        context.turn.untrusted.length > 0,
      'a turn was interrupted and closed': ({ value, context, sent }) =>
        value === 'ready' && sent['interrupt'] === 1 && context.messages.length > 0,
    },
    steps: {
      'an interrupt ends the turn': (before, event, after) =>
        event.type !== 'cancelled' || before.context.turn?.request !== event['request'] || after.context.turn === null,
      'a result is shown once for each call, when it ends': (before, _event, _after, out) =>
        out.every(({ type, ...message }) => {
          const body = (message as { body?: { type?: string; id?: string } }).body
          if (type !== 'partTo' || body?.type !== 'tool_result') return true
          const phase = (view: typeof before) => view.context.turn?.calls.find(({ id }) => id === body.id)?.phase
          // What cannot be carried out ends as it is planned, and is shown when the others begin.
          const begins = !JSON.stringify(before.value).includes('working')
          return begins || phase(before) !== 'done'
        }),
      'once a page was read, nothing more runs on what was allowed before': (
        { context: { turn: before } },
        _event,
        { context: { turn } },
      ) =>
        turn === null ||
        turn.untrusted.length === 0 ||
        turn.calls.every(({ reusing, phase }, at) => !reusing || phase === 'done' || before?.calls[at]?.reusing === true),
      'the model hears of nothing that is not in the journal': (before, _event, after) =>
        before.value === after.value || !JSON.stringify(after.value).includes('calling') || after.context.staged === null,
      'a prompt is taken up, kept, or refused': (_before, event, { context }, out) => {
        const request = askedBy(event)
        return (
          event.type !== 'prompt' ||
          request === null ||
          context.turn?.request === request ||
          context.waiting?.request === request ||
          out.some((message) => message.type === 'refuse' && message.request === request)
        )
      },
      'a prompt is refused as one too many only when there is another': ({ context }, _event, _after, out) =>
        context.turn !== null ||
        context.waiting !== null ||
        out.every((message) => message.type !== 'refuse' || message.error.code !== 'session-busy'),
      'a prompt that nobody waits for changes nothing': (before, event, after, out) =>
        event.type !== 'prompt' || askedBy(event) !== null || isUnchanged(before, after, out),
      'a history that could not be read is asked for again at once when a prompt comes': (before, event, { value }, out) =>
        before.value !== 'unloaded' || event.type !== 'prompt' || askedBy(event) === null || (value === 'loading' && isSent(out, 'read')),
      'the history is read page by page, to its end': (before, event, after) => {
        if (before.value !== 'loading' || event.type !== 'replied' || event['ref'] !== 'load') return true
        const page = entriesOf(event)
        return (
          (after.value === 'loading') === (page.length === HISTORY_PAGE) &&
          after.context.loadedSeq === (page.at(-1)?.seq ?? before.context.loadedSeq)
        )
      },
      'folders, restrictions and questions are answered': (_before, event, _after, out) =>
        !['folders', 'restrict', 'history'].includes(event.type) ||
        askedBy(event) === null ||
        out.some((message) => message.type === 'reply' && message.request === askedBy(event)),
      'what was not asked for now is not listened to': (before, event, after, out) =>
        event['ref'] !== 'other' &&
        ((!event.type.startsWith('prepareTurn.') && !event.type.startsWith('callModel.')) || isCurrent(before, event))
          ? true
          : isUnchanged(before, after, out),
      'who asked hears which model answers, and the prompt is written down before': (before, event, after, out) =>
        event.type !== 'prepareTurn.ready' ||
        !isCurrent(before, event) ||
        (isSaid(out, 'model') && isSent(out, 'append') && after.context.staged !== null),
      'each call of the model is counted': (before, _event, after) =>
        effects(after, 'callModel').every((item) => before.pending.includes(item)) ||
        after.context.turn?.modelCalls === (before.context.turn?.modelCalls ?? 0) + 1,
      'what an answer used is told': (before, event, _after, out) =>
        event.type !== 'callModel.done' || !isCurrent(before, event) || isSaid(out, 'usage'),
      'an attempt that failed is reported': (before, event, _after, out) =>
        event.type !== 'callModel.attempt' ||
        !isCurrent(before, event) ||
        !before.context.reports ||
        before.context.turn?.promptId === '' ||
        isSent(out, 'event'),
      'the member hears of commands in the background that ended': ({ context }, event, _after, out) =>
        !Array.isArray(event['endedJobs']) ||
        event['endedJobs'].length === 0 ||
        !event.type.startsWith('runTool.') ||
        context.turn === null ||
        isSaid(out, 'job_ended'),
      'a turn is said to be done only when the model ended it': ({ context }, event, _after, out) =>
        context.turn?.ending?.status === 'done' ||
        (event.type === 'callModel.done' && event['stopReason'] !== 'pause_turn') ||
        out.every((message) => message.type !== 'reply' || (message.body as { status?: string }).status !== 'done'),
      'a turn ends for the number of its calls only when it made as many as it may': ({ context }, _event, _after, out) =>
        context.turn?.modelCalls === MAX_MODEL_CALLS ||
        out.every((message) => message.type !== 'reply' || (message.body as { error?: { code: string } }).error?.code !== 'turn-limit'),
      'what is to be said is said once all of it is in the journal': (before, event, { context: { staged } }) =>
        before.context.staged === null || staged !== null || event.type !== 'replied' || before.context.staged.left <= 1,
      'an interrupted turn gives way only when its end is in the journal': (_before, event, { value }, out) =>
        event.type !== 'cancelled' || !isSent(out, 'append') || value === 'closing',
    },
    leadsTo: {
      'a prompt is answered': { from: isOpen, to: (view) => !isOpen(view) },
      'an interrupted turn gives way to the next': {
        from: ({ value }) => value === 'closing',
        to: ({ value }) => value === 'ready' || JSON.stringify(value).includes('turn'),
      },
    },
    possible: { 'ready for a prompt': ({ value }) => value === 'ready' },
    onlyHere: ['a change runs only on a capability that consent gave'],
    mayEnd: ({ value, open }) => value === 'ready' && open.length === 0,
  })
}

export const model = modelOf(3, false)
export const fullModel = modelOf(2, true)

type Seen = Model<Context>['sometimes']
type Replies = NonNullable<Model<Context>['replies']>
type Outcomes = Model<Context>['effects'][string]
const prepared = {
  type: 'prepareTurn.ready',
  date: '2026-01-01',
  practice: true,
  promptId: 'p',
  serverTools: [],
  serverNotes: [],
  news: [],
  endedJobs: [],
  instructions: [],
}
const says = (stopReason: string, content: readonly object[] = [{ type: 'text', text: 'done' }]) =>
  end({ type: 'callModel.done', content, stopReason, usage, speed: 'normal', durationMs: 1 })
const attempt = { code: 'model-unreachable', message: 'made up', status: 529, durationMs: 1, attempt: 1, last: false }
const calls: Outcomes = (_: never, { context }) =>
  (context.turn?.modelCalls ?? 0) <= 1 ? [says('tool_use', [read, write])] : [says('end_turn')]

const always = (stimulus: Omit<Stimulus<Context>, 'request' | 'times'>): Stimulus<Context> => ({
  ...stimulus,
  request: false,
  times: Number.POSITIVE_INFINITY,
})
const prompts = (times: number): Stimulus<Context> => ({
  name: 'prompt',
  times,
  event: (_, request) => ({ type: 'prompt', body: { text: 'go' }, from: from(request) }),
})
const interrupts = (times: number): Stimulus<Context> => ({
  name: 'interrupt',
  times,
  request: false,
  when: isOpen,
  event: ({ open }) => ({ type: 'cancelled', request: open[0] }),
})
/** What may come at any moment and changes nothing. */
const strays: Stimulus<Context>[] = [
  always({
    name: 'prompt that nobody waits for',
    event: () => ({ type: 'prompt', body: { text: 'go' }, from: { ...from(0), request: null } }),
  }),
  // It crossed its answer.
  always({ name: 'interrupt of what is over', event: () => ({ type: 'cancelled', request: 1 }) }),
  ...[
    prepared,
    ...['prepareTurn.failed', 'prepareTurn.crashed', 'callModel.failed', 'callModel.crashed'].map((type) => ({
      type,
      error: fault('internal'),
      promptId: 'p',
    })),
    says('end_turn').event,
    { type: 'callModel.attempt', ...attempt },
    { type: 'replied', kind: 'append', body: { entries: [] }, caps: [] },
    { type: 'refused', kind: 'append', error: fault('internal') },
  ].map((event) => always({ name: `a stray ${event.type}`, event: () => ({ ...event, ref: 'other', request: 1 }) })),
]
type Asked = Parameters<Replies>[0]
const answers = ({ ref, kind }: Asked, body: object): Event => ({ type: 'replied', ref, kind, body, caps: [] })
const refuses = ({ ref, kind }: Asked): Event => ({ type: 'refused', ref, kind, error: fault('io-failed') })
const works: Replies = (request) => [answers(request, request.kind === 'read' ? { entries: [] } : { seq: 1 })]
const journal: Replies = (request, view) => [...works(request, view), refuses(request)]

/** A model of the same machine that plays little, thoroughly. */
const judge = (
  played: readonly Stimulus<Context>[],
  sometimes: Seen,
  ways: Readonly<Record<string, Outcomes>>,
  replies: Replies = journal,
): Model<Context> => ({
  ...model,
  input: {
    params: { session: 's', folders: [{ name: 'r', root: '/r', mode: 'rw' }], hosts: [], blocked: {} },
    slots: ['folder:r', 'telemetry'],
  },
  stimuli: played,
  sometimes,
  effects: { prepareTurn: () => [end(prepared)], callModel: () => [says('end_turn')], ...ways },
  replies,
})

/** Frozen: it is written to text only once. */
const fullPage = Object.freeze(Array.from({ length: HISTORY_PAGE }, (_, index) => ({ seq: index + 1, type: 'other', entry: null })))
const lastPage = [{ seq: HISTORY_PAGE + 1, type: 'message', entry: { role: 'user', content: [{ type: 'text', text: 'before' }] } }]
const history = judge(
  [
    prompts(2),
    interrupts(2),
    ...strays,
    ...['folders', 'restrict', 'history'].map(
      (type): Stimulus<Context> => ({
        name: type,
        when: ({ sent }) => sent['prompt'] === undefined,
        event: (_, request) => ({
          type,
          body: type === 'folders' ? { folders: [] } : type === 'restrict' ? { blocked: {} } : {},
          from: from(request),
        }),
      }),
    ),
  ],
  { 'a prompt waits for the history': ({ value, context }) => value === 'loading' && context.waiting !== null },
  { prepareTurn: () => [end({ type: 'prepareTurn.failed', error: fault('internal'), promptId: 'p' })] },
  (request, view) =>
    request.kind === 'read'
      ? [
          ...(view.context.loadedSeq === 0 ? [fullPage] : []).map((entries) => answers(request, { entries })),
          answers(request, { entries: lastPage }),
          refuses(request),
        ]
      : journal(request, view),
)

const plain = judge(
  [prompts(1), ...strays],
  { 'an answer is continued': ({ context }) => context.turn?.continuations === 1 },
  {
    prepareTurn: () => [
      end(prepared),
      end({ type: 'prepareTurn.failed', error: fault('internal'), promptId: 'p' }),
      end({ type: 'prepareTurn.crashed', error: fault('internal') }),
    ],
    callModel: (_: never, { context }) => [
      says('end_turn'),
      says('refusal'),
      ...(context.turn?.modelCalls === 1 ? [says('max_tokens'), says('pause_turn')] : []),
      { event: { type: 'callModel.attempt', ...attempt }, ends: false },
      end({ type: 'callModel.failed', error: fault('internal') }),
      end({ type: 'callModel.crashed', error: fault('internal') }),
    ],
  },
)

const interrupted = judge(
  [prompts(3), interrupts(3), ...strays],
  { 'a prompt waits for the end of another': ({ value, context }) => value === 'closing' && context.waiting !== null },
  {},
)

const job = { job: 'job-1', command: 'true', state: 'ended', ending: null, error: fault('actor-down') }
const called = judge(
  [prompts(1), interrupts(1)],
  { 'a change was allowed and made': model.sometimes['a change was allowed and made'] as (view: View<Context>) => boolean },
  {
    callModel: calls,
    runTool: ({ id }: { id: string }) => [
      end({
        type: 'runTool.done',
        answers: [
          { body: id === 'read' ? { text: 'a', truncated: false, lines: 1, sha256: 'h' } : { bytes: 1, created: true, sha256: 'h' } },
        ],
        durationMs: 1,
        endedJobs: [job],
      }),
      end({ type: 'runTool.failed', error: fault('not-found'), output: '', durationMs: 1, endedJobs: [job] }),
      end({ type: 'runTool.crashed', error: fault('internal') }),
    ],
  },
  (request, view) => (request.kind === 'read' || request.kind === 'append' ? works(request, view) : (model.replies?.(request, view) ?? [])),
)

/** A model that never comes to an end. */
const endless = judge(
  [prompts(1)],
  { 'as many calls of the model as a turn may make': ({ context }) => context.turn?.modelCalls === MAX_MODEL_CALLS },
  { callModel: () => [says('pause_turn', [])] },
  works,
)

/** Models that judge its mutants (`check --mutate`): a turn without calls, interrupts, one with calls, one without end, the history. */
export const judges = [plain, interrupted, called, endless, history]
