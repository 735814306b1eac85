/**
 * What the checker plays around egress: the API's address that opens or does not, rules and policy that arrive, change and are lost, two
 * sessions that fetch and call the model, a tunnel from the workspace, a caller that gives up. Everything else that egress takes comes once, while
 * nothing else is asked; and every message also comes as one that nobody waits for.
 */
import { askedBy, defineModel, type Event, type Model, type Pending, type Stimulus, stopping, type View } from '../../checker/model.ts'
import type { Policy } from '../policy/protocol.ts'
import type { PolicyInputs } from './egress-policy.ts'
import { limits } from './limits.ts'
import { type Context, machine } from './machine.ts'
import { startRules } from './rules.ts'

const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
/** Each request comes from a session of its own, with a host of its own, so that a mix-up would show. */
const sessionOf = (request: number): string => `s-${request}`
const hostOf = (request: number): string => `h-${request}.example`
const from = (request: number) => ({
  request,
  badge: { from: 'x', session: sessionOf(request), limits: { hosts: [hostOf(request)] } },
  caps: [],
})
const policy = (hosts: readonly string[] | null) => ({
  policy: { values: { coworkEgressAllowedHosts: hosts }, decidedBy: {}, failedClosed: false } as unknown as Policy,
})
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const outcomes = (name: string, names: readonly string[]) => () =>
  names.map((outcome) => end({ type: `${name}.${outcome}`, ...(outcome === 'done' ? { reply: {} } : { error: fault('internal') }) }))

type Effect = Extract<Pending, { what: 'effect' }>
const effects = ({ pending }: View<Context>, ...names: string[]): Effect[] =>
  pending.filter((item): item is Effect => item.what === 'effect' && names.includes(item.name))
const requests = (view: View<Context>, ...names: string[]): number[] =>
  effects(view, ...names)
    .map(({ params }) => params['request'] as number)
    .toSorted((a, b) => a - b)
const stopped = ({ value }: View<Context>): boolean => value === 'stopped'
const watched = ({ pending }: View<Context>): boolean => pending.some((item) => item.what === 'request' && item.kind === 'watch')
/** What a step puts in force: the effect does so before it does anything else. */
const enforced = (before: View<Context>, after: View<Context>): PolicyInputs | undefined => {
  const known = new Set(effects(before, 'applyPolicy'))
  return effects(after, 'applyPolicy').find((item) => !known.has(item))?.params['inputs'] as PolicyInputs | undefined
}
const known = ({
  context: {
    policy: { rules, managed },
  },
}: View<Context>) => (rules !== null && managed !== null ? { rules, managed } : null)
const isFull = ({ context }: View<Context>, { type }: Event): boolean =>
  type === 'model' || type === 'model-info'
    ? context.models.length === limits.modelInFlight
    : context.fetches.length === limits.fetchInFlight
const holds = ({ context }: View<Context>, request: number): boolean => context.policy.held.some((one) => one.request === request)
const sorted = (numbers: readonly number[]): string => numbers.toSorted((a, b) => a - b).join()

const tells = (name: string, hosts: readonly string[] | null) => ({
  name,
  request: false,
  when: watched,
  event: () => ({ type: 'part', ref: 'policy', kind: 'watch', body: policy(hosts) }),
})

const bodies: Readonly<Record<string, object>> = {
  model: { path: '/v1/messages' },
  'model-info': {},
  fetch: { url: 'https://a.example' },
  search: { query: 'q', model: 'm' },
  explain: { url: 'https://a.example' },
  connect: { tunnel: 1, to: null },
  'tunnel-data': { tunnel: 1, bytes: null },
  rules: {},
  'reload-secrets': {},
  authority: {},
  log: { count: 1, session: null },
}
const alone = ['model-info', 'search', 'explain', 'connect', 'tunnel-data', 'rules', 'reload-secrets', 'authority', 'log']
const aloneName = (kind: string): string => `${kind} by itself`
const ranAlone = ({ sent }: View<Context>): boolean => alone.some((kind) => sent[aloneName(kind)] !== undefined)
const isQuiet = (view: View<Context>): boolean =>
  !stopped(view) && view.open.length === 0 && Object.keys(view.sent).every((name) => name === 'policy tells')

/** What comes while nothing else is asked, once; and what changes nothing, at any such moment. */
const quietly: Stimulus<Context>[] = [
  ...alone.map((kind) => ({
    name: aloneName(kind),
    when: isQuiet,
    event: (_: View<Context>, request: number): Event => ({ type: kind, body: bodies[kind], from: from(request) }),
  })),
  ...Object.entries(bodies).map(([kind, body]) => ({
    name: `${kind} that nobody waits for`,
    request: false,
    times: Number.POSITIVE_INFINITY,
    when: isQuiet,
    event: (): Event => ({ type: kind, body, from: { ...from(0), request: null } }),
  })),
  ...['part', 'replied', 'refused'].map((type) => ({
    name: `a stray ${type}`,
    request: false,
    times: Number.POSITIVE_INFINITY,
    when: isQuiet,
    event: (): Event => ({ type, ref: 'other', kind: 'watch', body: policy(['stray.example']), error: fault('actor-down') }),
  })),
]

/** What may be found when registries are read anew. */
const otherRegistry = { manager: 'npm', pattern: 'r.example:443', source: 's' }

/** @param more the workspace asks too; everything else that comes together with the rest is more than a machine's memory holds */
const modelOf = (more: boolean) =>
  defineModel<Context>({
    actor: 'egress',
    machine,
    input: { params: { fds: { secrets: 3 }, baseUrl: null }, slots: ['policy'] },
    stimuli: [
      ...[
        { name: 'model', event: (_: View<Context>, request: number) => ({ type: 'model', body: bodies['model'], from: from(request) }) },
        {
          name: 'fetch',
          event: (_: View<Context>, request: number) => ({ type: 'fetch', body: { url: 'https://a.example' }, from: from(request) }),
        },
        {
          name: 'connect',
          when: () => more,
          event: (_: View<Context>, request: number) => ({ type: 'connect', body: { tunnel: 1, to: null }, from: from(request) }),
        },
        {
          name: 'deny a host',
          event: (_: View<Context>, request: number) => ({
            type: 'change-rule',
            body: { rule: { change: 'deny', pattern: 'a.example' }, session: null },
            from: from(request),
          }),
        },
        // Answered at once when they are known, so played while they are not.
        {
          name: 'show rules',
          when: (view: View<Context>) => known(view) === null,
          event: (_: View<Context>, request: number) => ({ type: 'rules', body: {}, from: from(request) }),
        },
        tells('policy tells', null),
        tells('policy allows nothing', []),
        {
          name: 'give up',
          request: false,
          when: ({ open }: View<Context>) => open.length > 0,
          event: ({ open }: View<Context>) => ({ type: 'cancelled', request: open[0] }),
        },
        stopping,
      ].map(({ when, ...stimulus }: Stimulus<Context>) => ({
        ...stimulus,
        when: (view: View<Context>) => !stopped(view) && (stimulus.request === false || !ranAlone(view)) && when?.(view) !== false,
      })),
      ...quietly,
    ],
    effects: {
      openUpstream: () => [
        end({ type: 'openUpstream.opened' }),
        end({ type: 'openUpstream.failed', error: fault('model-unreachable') }),
        end({ type: 'openUpstream.crashed' }),
      ],
      closeUpstream: () => [end({ type: 'closeUpstream.closed' })],
      loadPolicy: () => [end({ type: 'loadPolicy.loaded', rules: startRules, problem: null, registries: [] })],
      applyPolicy: () => [end({ type: 'applyPolicy.applied' })],
      saveRules: outcomes('saveRules', ['done', 'failed', 'crashed']),
      showRules: (_: never, view) => [
        end({ type: 'showRules.done', reply: {}, registries: [] }),
        end({ type: 'showRules.crashed', error: fault('internal') }),
        ...(ranAlone(view) ? [end({ type: 'showRules.done', reply: {}, registries: [otherRegistry] })] : []),
      ],
      describe: outcomes('describe', ['done', 'failed', 'crashed']),
      explain: outcomes('explain', ['done', 'crashed']),
      loadSecrets: outcomes('loadSecrets', ['done', 'failed', 'crashed']),
      showAuthority: outcomes('showAuthority', ['done', 'failed', 'crashed']),
      readLog: outcomes('readLog', ['done', 'crashed']),
      rest: () => [end({ type: 'rest.done' })],
      forward: outcomes('forward', ['done', 'failed', 'crashed']),
      fetchPage: outcomes('fetchPage', ['done', 'failed', 'crashed']),
      searchWeb: outcomes('searchWeb', ['done', 'failed', 'crashed']),
      tunnel: outcomes('tunnel', ['done', 'failed', 'crashed']),
      tunnelWrite: outcomes('tunnelWrite', ['done', 'crashed']),
    },
    // Policy's actor may go down; it is asked again.
    replies: ({ ref, kind }) => [
      { type: 'refused', ref, kind, error: fault('actor-down') },
      { type: 'replied', ref, kind, body: {}, caps: [] },
    ],
    // Order of arrival among those in flight changes nothing; how closing and putting in force end changes nothing either.
    project: ({ models, fetches, ...context }) => ({ ...context, models: sorted(models), fetches: sorted(fetches) }),
    projectPending: (item) =>
      item.what !== 'effect'
        ? item
        : item.name === 'closeUpstream' || item.name === 'applyPolicy'
          ? undefined
          : [item.name, item.params['request']],
    always: {
      'no more is in flight than may': ({ context }) =>
        context.models.length <= limits.modelInFlight && context.fetches.length <= limits.fetchInFlight,
      'who waits is worked for': (view) =>
        view.open.every(
          (request) => holds(view, request) || view.pending.some((item) => item.what === 'effect' && item.params['request'] === request),
        ),
      'a question of the rules waits while they are not known, and no longer': (view) =>
        view.context.policy.held.length === 0 || known(view) === null,
      'what is counted as in flight is in flight': (view) =>
        sorted(view.context.models) === requests(view, 'forward', 'describe').join() &&
        sorted(view.context.fetches) === requests(view, 'fetchPage', 'searchWeb', 'explain').join(),
      'what runs is for the session and the hosts its message was stamped with': (view) =>
        effects(view, 'forward', 'fetchPage', 'searchWeb', 'tunnel', 'tunnelWrite').every(({ name, params }) => {
          const request = params['request'] as number
          if (name === 'forward') return params['session'] === sessionOf(request)
          if (name === 'tunnelWrite') return (params['id'] as string).split(' ')[1] === sessionOf(request)
          const { session, hosts } = params['bearer'] as { session: string; hosts: string[] }
          return session === sessionOf(request) && hosts.join() === hostOf(request)
        }),
      'while the way to the API is closed it is known why': ({ value, context }) =>
        JSON.stringify(value) !== '{"up":"closed"}' || context.trouble !== null,
      'policy is watched, or asked again in a moment': (view) => watched(view) || effects(view, 'rest').length > 0,
      'never given up: a way to the API that is closed is tried again': (view) =>
        stopped(view) || view.context.trouble === null || view.pending.some(({ what }) => what === 'timer'),
    },
    sometimes: {
      'closed and opened again': ({ value, context, sent }) =>
        JSON.stringify(value) === '{"up":"serving"}' && context.trouble === null && (sent['model'] ?? 0) > 0,
      'policy in force': ({ context }) => context.policy.rules !== null && context.policy.managed !== null,
      'rules are asked for before they are known': ({ context }) => context.policy.held.length > 0,
      'a denial in force while a page is fetched': (view) =>
        view.context.policy.rules?.member.deny.includes('a.example') === true && view.context.fetches.length > 0,
    },
    steps: {
      'a rule that changes is in force before its change is acknowledged': (before, event, after, out) =>
        event.type !== 'change-rule' ||
        after.context.policy.rules === before.context.policy.rules ||
        (!out.some(({ type }) => type === 'reply') && effects(after, 'saveRules').length > effects(before, 'saveRules').length),
      'what is known of rules and policy is in force at once, whole, and nothing before all is known': (before, _event, after) => {
        const now = known(after)
        const inputs = enforced(before, after)
        const was = before.context.policy
        const registries = JSON.stringify(after.context.policy.registries)
        const changed =
          now !== null && (now.rules !== was.rules || now.managed !== was.managed || registries !== JSON.stringify(was.registries))
        if (inputs === undefined) return !changed
        return (
          now !== null &&
          inputs.member === now.rules.member &&
          inputs.sessions === now.rules.sessions &&
          inputs.managed === now.managed &&
          JSON.stringify(inputs.registries) === registries
        )
      },
      'while the way to the API is closed, who asks is told so at once': (before, event, _after, out) =>
        !['model', 'model-info', 'search'].includes(event.type) ||
        askedBy(event) === null ||
        before.context.trouble === null ||
        stopped(before) ||
        out.some(({ type }) => type === 'refuse'),
      'who asks is worked for, or told why not': (before, event, after, out) => {
        const request = askedBy(event)
        if (request === null || stopped(before)) return true
        const isAnswered = out.some((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === request)
        return (
          isAnswered || holds(after, request) || after.pending.some((item) => item.what === 'effect' && item.params['request'] === request)
        )
      },
      'nobody is turned away while the way to the API is open and there is room': (before, event, _after, out) =>
        before.context.trouble !== null ||
        stopped(before) ||
        askedBy(event) === null ||
        isFull(before, event) ||
        !out.some(({ type }) => type === 'refuse'),
      'what nobody waits for is not begun': (before, event, after, out) =>
        !('from' in event) ||
        askedBy(event) !== null ||
        event.type === 'change-rule' ||
        (out.length === 0 && after.pending.length === before.pending.length),
      'only the word of policy’s actor is policy': (before, event, after, out) =>
        !('ref' in event) ||
        event['ref'] === 'policy' ||
        (after.context.policy === before.context.policy && out.length === 0 && after.pending.length === before.pending.length),
      'registries that are read anew are known': (_before, event, after) =>
        event.type !== 'showRules.done' || JSON.stringify(event['registries']) === JSON.stringify(after.context.policy.registries),
      'told to stop, it closes the way to the API': (_before, event, after) =>
        event.type !== 'stopping' || (stopped(after) && effects(after, 'closeUpstream').length === 1),
      'a way to the API that opened is open': (_before, event, after) =>
        event.type !== 'openUpstream.opened' || stopped(after) || JSON.stringify(after.value).includes('serving'),
      'pages are fetched whether or not the way to the API is open': (before, event, after) =>
        event.type !== 'fetch' ||
        askedBy(event) === null ||
        stopped(before) ||
        isFull(before, event) ||
        after.context.fetches.length > before.context.fetches.length,
    },
    // Policy's actor is not bound to tell anything: until it does, a question of the rules waits for its deadline.
    leadsTo: {
      'a request is answered': {
        from: ({ open }) => open.length > 0,
        to: (view) => view.open.every((request) => holds(view, request)),
      },
    },
    possible: {
      'the way to the API opens': (view) =>
        stopped(view) || (view.context.trouble === null && JSON.stringify(view.value).includes('serving')),
    },
    // Sessions and hosts by number are this model's own; in production `fetch` may come without an answer wanted, or find egress full.
    onlyHere: [
      'only the word of policy’s actor is policy',
      'told to stop, it closes the way to the API',
      'a way to the API that opened is open',
      'while the way to the API is closed it is known why',
      'what runs is for the session and the hosts its message was stamped with',
      'pages are fetched whether or not the way to the API is open',
      'while the way to the API is closed, who asks is told so at once',
      'who asks is worked for, or told why not',
      'nobody is turned away while the way to the API is open and there is room',
      'what nobody waits for is not begun',
      'registries that are read anew are known',
    ],
    mayEnd: stopped,
  })

export const model = modelOf(false)
export const fullModel = modelOf(true)

/** As many as may be in flight, of which none ends, and then one more of each kind. */
const crowd = (kind: string, times: number, others: readonly string[]): Model<Context> => ({
  ...model,
  stimuli: [
    { name: kind, times: times + 1, event: (_, request) => ({ type: kind, body: bodies[kind], from: from(request) }) },
    ...others.map((other) => ({
      name: other,
      when: (view: View<Context>) => isFull(view, { type: kind }),
      event: (_: View<Context>, request: number) => ({ type: other, body: bodies[other], from: from(request) }),
    })),
  ],
  effects: { openUpstream: () => [end({ type: 'openUpstream.opened' })] },
  replies: () => [],
  sometimes: { 'as many as may be are in flight': (view) => isFull(view, { type: kind }) },
  leadsTo: {},
  possible: {},
  mayEnd: () => true,
})

/** Models that judge its mutants (`check --mutate`). */
export const judges = [
  crowd('model', limits.modelInFlight, ['model-info']),
  crowd('fetch', limits.fetchInFlight, ['search', 'explain']),
  model,
]
