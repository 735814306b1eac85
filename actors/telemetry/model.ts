/**
 * What the checker plays around telemetry's machine: policy that tells, goes and comes back; entries that are written or not; questions
 * withdrawn; more who watch than may.
 */
import { defineModel, type Pending, type Stimulus, stopping, type View } from '../../checker/model.ts'
import { maxWatchers } from './limits.ts'
import { type Context, machine } from './machine.ts'

const from = (request: number) => ({ request, badge: { from: 'x', session: null, limits: {} }, caps: [] })
const policy = (endpoint: string | null, traces: boolean) => ({
  policy: {
    values: {
      otlpEndpoint: endpoint,
      otlpProtocol: 'http/json',
      otlpResourceAttributes: {},
      otlpContentCapture: [],
      otlpTracesEnabled: traces,
    },
    decidedBy: {},
    failedClosed: false,
  },
})
const watched = ({ pending }: View<Context>): boolean => pending.some((item) => item.what === 'request' && item.kind === 'watch')
const tells = (name: string, body: object) => ({
  name,
  request: false,
  when: watched,
  event: () => ({ type: 'part', ref: 'policy', kind: 'watch', body }),
})
const wants = ({ settings }: Context): boolean => settings !== null && settings.endpoint !== null && settings.traces
const answers = (name: string, outcomes: readonly string[]) => (params: { request: number }) =>
  outcomes.map((outcome) => ({ event: { type: `${name}.${outcome}`, request: params.request, reply: {} }, ends: true }))

const unasked = { ...from(0), request: null }
type Effect = Extract<Pending, { what: 'effect' }>
/** What a step began. */
const begun = (before: View<Context>, after: View<Context>): Effect[] =>
  after.pending.filter((item): item is Effect => item.what === 'effect' && !before.pending.includes(item))

const stimuli: readonly Stimulus<Context>[] = [
  { name: 'audit', event: (_, request) => ({ type: 'audit', body: { action: 'a.b', data: {} }, from: from(request) }) },
  {
    name: 'workspace',
    request: false,
    event: () => ({ type: 'workspace', body: { session: 's', events: [], missed: 1 }, from: unasked }),
  },
  { name: 'event', request: false, event: () => ({ type: 'event', body: { kind: 'turn' }, from: unasked }) },
  { name: 'hops', request: false, event: () => ({ type: 'hops', body: { hops: [], dropped: 1 }, from: unasked }) },
  { name: 'test', event: (_, request) => ({ type: 'test', body: {}, from: from(request) }) },
  { name: 'tracing', event: (_, request) => ({ type: 'tracing', body: {}, from: from(request) }) },
  {
    name: 'cancel',
    request: false,
    when: ({ context }) => context.watchers.length > 0,
    event: ({ context }) => ({ type: 'cancelled', request: context.watchers[0] }),
  },
  tells('on with traces', policy('http://c', true)),
  tells('on', policy('http://c', false)),
  tells('off', policy(null, true)),
  { name: 'status', event: (_, request) => ({ type: 'status', body: {}, from: from(request) }) },
  stopping,
]

/**
 * @param played which of them
 * @param seen what is reached with them
 */
const modelOf = (played: readonly Stimulus<Context>[], seen: readonly (keyof typeof sights)[]) =>
  defineModel<Context>({
    actor: 'telemetry',
    machine,
    input: { params: {}, slots: [] },
    stimuli: played,
    effects: {
      append: (params: { request: number }) => [
        ...answers('append', ['done'])(params),
        { event: { type: 'append.failed', request: params.request, error: 'x' }, ends: true },
        { event: { type: 'append.crashed', request: params.request, error: 'x' }, ends: true },
      ],
      report: (params: { request: number }) => [
        ...answers('report', ['done'])(params),
        { event: { type: 'report.crashed', request: params.request, error: 'x' }, ends: true },
      ],
      selfTest: (params: { request: number }) => [
        ...answers('selfTest', ['done'])(params),
        { event: { type: 'selfTest.failed', request: params.request, error: 'x' }, ends: true },
        { event: { type: 'selfTest.crashed', request: params.request, error: 'x' }, ends: true },
      ],
    },
    // Policy's actor goes down, or ends what it tells.
    replies: ({ ref, kind }) => [
      { type: 'refused', ref, kind, error: { code: 'actor-down', message: 'made up', remedy: '' } },
      { type: 'replied', ref, kind, body: {}, caps: [] },
    ],
    // Nothing in the machine depends on how these end.
    projectPending: (pending) =>
      pending.what === 'effect' && !['append', 'report', 'selfTest'].includes(pending.name) ? undefined : pending,
    always: {
      'no more watch than may': ({ context }) => context.watchers.length <= maxWatchers,
      'who waits is worked for or watches': ({ open, context, pending }) =>
        open.every(
          (request) =>
            context.watchers.includes(request) || pending.some((item) => item.what === 'effect' && item.params['request'] === request),
        ),
      'policy is watched, or asked again in a moment': (view) =>
        view.value === 'stopping' || watched(view) || view.pending.some((item) => item.what === 'timer'),
    },
    sometimes: Object.fromEntries(seen.map((property) => [property, sights[property]])),
    steps: {
      'who is refused a watch finds no room': ({ context }, event, _after, out) =>
        event.type !== 'tracing' || context.watchers.length === maxWatchers || out.every(({ type }) => type !== 'refuse'),
      'what is told is recorded as it came': (before, event, after) => {
        const [first] = begun(before, after)
        if (event.type === 'event') return first?.name === 'record' && first.params['event'] === event['body']
        return event.type !== 'hops' || (first?.name === 'recordHops' && first.params['hops'] === (event['body'] as { hops: unknown }).hops)
      },
      'who begins to watch hears whether traces are wanted': (_before, event, { context }, out) =>
        event.type !== 'tracing' ||
        (event['from'] as { request: number | null }).request === null ||
        out.some(
          (message) => message.type === 'refuse' || (message.type === 'partTo' && (message.body as { on: boolean }).on === wants(context)),
        ),
      'each word of policy is put into force': (before, event, after) =>
        event.type !== 'part' || before.value === 'stopping' || begun(before, after).some(({ name }) => name === 'configure'),
      'who gave up watches no longer': (_before, event, { context }) =>
        event.type !== 'cancelled' || !context.watchers.includes(event['request'] as number),
      'told to stop, it stops': (_before, event, { value, pending }) =>
        event.type !== 'stopping' || (value === 'stopping' && pending.some((item) => item.what === 'effect' && item.name === 'close')),
      'whoever watches hears of every change': (before, _event, after, out) =>
        wants(before.context) === wants(after.context) ||
        after.context.watchers.every((request) => out.some((message) => message.type === 'partTo' && message.request === request)),
    },
    takes: () => true,
    leadsTo: {
      'who asks is answered or watches': {
        from: ({ open, context }) => open.length > context.watchers.length,
        to: ({ open, context }) => open.length === context.watchers.length,
      },
    },
    mayEnd: ({ value }) => value === 'stopping',
  })

const sights = {
  'traces are wanted and someone hears': ({ context }: View<Context>) => wants(context) && context.watchers.length > 0,
  'switched off again': ({ context, sent }: View<Context>) => context.settings?.endpoint === null && (sent['on'] ?? 0) > 0,
  stopping: ({ value }: View<Context>) => value === 'stopping',
  'as many watch as may': ({ context }: View<Context>) => context.watchers.length === maxWatchers,
}
const named = (...names: readonly string[]): Stimulus<Context>[] => stimuli.filter(({ name }) => names.includes(name))

export const model = modelOf(
  stimuli.filter(({ name }) => name !== 'event' && name !== 'hops'),
  ['traces are wanted and someone hears', 'switched off again', 'stopping'],
)

/** What is told once may be told again. */
const often = named('event', 'hops').map((stimulus) => ({ ...stimulus, times: Number.POSITIVE_INFINITY }))

/** Models that judge its mutants (`check --mutate`): policy and who watches; a crowd; what is written down and answered. */
export const judges = [
  modelOf(named('tracing', 'cancel', 'on with traces', 'on', 'off', 'stopping'), [
    'traces are wanted and someone hears',
    'switched off again',
    'stopping',
  ]),
  modelOf(
    named('tracing').map((stimulus) => ({ ...stimulus, times: maxWatchers + 1 })),
    ['as many watch as may'],
  ),
  modelOf([...named('audit', 'workspace', 'test', 'status', 'stopping'), ...often], ['stopping']),
]
