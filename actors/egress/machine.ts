/**
 * Egress as a machine. Web fetches need nothing but the network and the policy, and are served from the start (their effects wait for the
 * policy). Model requests need the upstream: while it is being opened their effect waits for it, while it cannot be opened they are
 * refused with the reason.
 *
 *   starting --opened--> serving          starting --failed--> closed --after reopen--> starting
 *
 * Beside that, in every state: the member's rules and the managed policy arrive, change, and are put in force (policy-state.ts). In
 * flight is bounded; more is refused with `overloaded`. The key never enters the context.
 */
import { assign, emit, setup } from 'xstate'
import { type Fault, type From, fault, type Inbound, type KernelEvent, type Outgoing } from '../../kernel/index.ts'
import type { Bearer, PolicyInputs } from './egress-policy.ts'
import { limits } from './limits.ts'
import {
  asked,
  givenUp,
  loaded,
  managedChanged,
  noPolicyYet,
  policyRef,
  type PolicyState,
  type PolicyStep,
  registriesRead,
  type RulesView,
  watchPolicy,
} from './policy-state.ts'
import type { protocol } from './protocol.ts'
import type { Registry } from './registries.ts'
import type { Rules } from './rules.ts'

type Request = Inbound<typeof protocol>
type ModelBody = Extract<Request, { type: 'model' }>['body']
type ConnectBody = Extract<Request, { type: 'connect' }>['body']
type SearchBody = Extract<Request, { type: 'search' }>['body']
type FetchBody = Extract<Request, { type: 'fetch' }>['body']

export type Context = {
  baseUrl: string | null
  /** Why the upstream is closed, for those who ask meanwhile. */
  trouble: Fault | null
  policy: PolicyState
  /** Requests whose effect runs. */
  models: readonly number[]
  fetches: readonly number[]
}

type Settled =
  | { type: 'forward.done'; request: number }
  | { type: 'forward.failed' | 'forward.crashed'; request: number; error?: Fault }
  | {
      type:
        | 'describe.done'
        | 'fetchPage.done'
        | 'searchWeb.done'
        | 'explain.done'
        | 'saveRules.done'
        | 'readLog.done'
        | 'tunnel.done'
        | 'tunnelWrite.done'
        | 'loadSecrets.done'
        | 'showAuthority.done'
      request: number
      reply: unknown
    }
  | { type: 'showRules.done'; request: number; reply: unknown; registries: readonly Registry[] }
  | {
      type:
        | 'describe.failed'
        | 'describe.crashed'
        | 'fetchPage.failed'
        | 'fetchPage.crashed'
        | 'searchWeb.failed'
        | 'searchWeb.crashed'
        | 'explain.crashed'
        | 'saveRules.failed'
        | 'saveRules.crashed'
        | 'readLog.crashed'
        | 'tunnel.failed'
        | 'tunnel.crashed'
        | 'tunnelWrite.crashed'
        | 'showRules.crashed'
        | 'loadSecrets.failed'
        | 'loadSecrets.crashed'
        | 'showAuthority.failed'
        | 'showAuthority.crashed'
      request: number
      error?: Fault
    }

type Outcome =
  | { type: 'openUpstream.opened' }
  | { type: 'openUpstream.failed' | 'openUpstream.crashed'; error?: Fault }
  | { type: 'closeUpstream.closed' | 'closeUpstream.crashed' }
  | { type: 'loadPolicy.loaded'; rules: Rules; problem: string | null; registries: readonly Registry[] }
  | { type: 'loadPolicy.crashed' | 'applyPolicy.applied' | 'applyPolicy.crashed' | 'rest.done' }
  | Settled

type Events = Request | KernelEvent | Outcome
type Input = { params: Record<string, unknown>; slots: readonly string[] }

const base = setup({
  types: {} as { context: Context; events: Events; emitted: Outgoing; input: Input },
  actions: {
    // Effects: the runtime runs them by name.
    loadPolicy: () => {},
    applyPolicy: (_, _params: { inputs: PolicyInputs }) => {},
    saveRules: (_, _params: { request: number; rules: Rules }) => {},
    showRules: (_, _params: { request: number; view: RulesView }) => {},
    rest: () => {},
  },
})

/** One step of the policy's own state: what becomes of it, what is put in force, and what each who asked is shown, saved or refused. */
const advancePolicy = base.enqueueActions(({ context, event, enqueue }) => {
  const { state, inForce, answers } = policyStep(context.policy, event)
  enqueue.assign({ policy: () => state })
  if (inForce) enqueue({ type: 'applyPolicy', params: { inputs: inForce } })
  for (const answer of answers) {
    const { request } = answer
    if ('show' in answer) enqueue({ type: 'showRules', params: { request, view: answer.show } })
    else if ('save' in answer) enqueue({ type: 'saveRules', params: { request, rules: answer.save } })
    else enqueue.emit({ type: 'refuse', request, error: answer.refuse })
  }
})

function policyStep(state: PolicyState, event: Events): PolicyStep {
  switch (event.type) {
    case 'loadPolicy.loaded':
      return loaded(state, event)
    case 'part':
      return managedChanged(state, event.body)
    case 'rules':
      return asked(state, { request: requestOf(event) ?? -1, change: null })
    case 'change-rule':
      return asked(state, { request: requestOf(event) ?? -1, change: event.body })
    case 'showRules.done':
      return registriesRead(state, event.registries)
    default:
      return { state, answers: [] }
  }
}

const egress = base.extend({
  delays: { reopen: limits.reopenMs },
  guards: {
    /** A message nobody waits for has no answer to give, and nothing else to do. */
    unasked: ({ event }) => requestOf(event) === null,
    modelsFull: ({ context }) => context.models.length >= limits.modelInFlight,
    fetchesFull: ({ context }) => context.fetches.length >= limits.fetchInFlight,
    closed: ({ context }) => context.trouble !== null,
    fromPolicy: ({ event }) => 'ref' in event && event.ref === policyRef,
  },
  actions: {
    openUpstream: (_, _params: { baseUrl: string | null }) => {},
    closeUpstream: () => {},
    describe: (_, _params: { request: number }) => {},
    forward: (_, _params: { request: number; body: ModelBody; session: string | null }) => {},
    fetchPage: (_, _params: FetchParams & FetchBody) => {},
    searchWeb: (_, _params: { request: number; bearer: Bearer } & SearchBody) => {},
    explain: (_, _params: FetchParams) => {},
    tunnel: (_, _params: { request: number; id: string; to: ConnectBody['to']; bearer: Bearer }) => {},
    tunnelWrite: (_, _params: { request: number; id: string; bytes: Uint8Array | null }) => {},
    loadSecrets: (_, _params: { request: number }) => {},
    showAuthority: (_, _params: { request: number }) => {},
    readLog: (_, _params: { request: number; count: number; session: string | null }) => {},
    advancePolicy,
    watchPolicy: emit(watchPolicy),

    countModel: assign(({ context, event }) => ({ models: [...context.models, requestOf(event) ?? -1] })),
    countFetch: assign(({ context, event }) => ({ fetches: [...context.fetches, requestOf(event) ?? -1] })),
    settle: assign(({ context, event }) => without(context, requestOf(event) ?? -1)),
    noteTrouble: assign({
      trouble: ({ event }) => errorOf(event) ?? fault('model-unreachable', 'The way to the model API could not be opened.'),
    }),
    forgetTrouble: assign({ trouble: null }),

    answer: emit(({ event }) => answerTo(event)),
    refuseFull: emit(({ event }) =>
      refuse(event, fault('overloaded', 'Egress has as many requests in flight as it takes on.', { retryAfterMs: 1_000 })),
    ),
    refuseClosed: emit(({ context, event }) =>
      refuse(event, {
        ...(context.trouble ?? fault('model-unreachable', 'The way to the model API is closed.')),
        retryAfterMs: limits.reopenMs,
      }),
    ),
  },
})

/** Of what is counted while it runs. */
const settled = { actions: ['answer', 'settle'] } as const
const answered = { actions: 'answer' } as const

export const machine = egress.createMachine({
  id: 'egress',
  context: ({ input }) => ({ ...startParams(input.params), trouble: null, policy: noPolicyYet, models: [], fetches: [] }),
  entry: ['watchPolicy', 'loadPolicy'],
  initial: 'up',
  on: {
    'forward.done': settled,
    'forward.failed': settled,
    'forward.crashed': settled,
    'describe.done': settled,
    'describe.failed': settled,
    'describe.crashed': settled,
    'fetchPage.done': settled,
    'fetchPage.failed': settled,
    'fetchPage.crashed': settled,
    'searchWeb.done': settled,
    'searchWeb.failed': settled,
    'searchWeb.crashed': settled,
    'explain.done': settled,
    'explain.crashed': settled,
    'saveRules.done': answered,
    'saveRules.failed': answered,
    'saveRules.crashed': answered,
    'tunnel.done': answered,
    'tunnel.failed': answered,
    'tunnel.crashed': answered,
    'tunnelWrite.done': answered,
    'tunnelWrite.crashed': answered,
    'loadSecrets.done': answered,
    'loadSecrets.failed': answered,
    'loadSecrets.crashed': answered,
    'showAuthority.done': answered,
    'showAuthority.failed': answered,
    'showAuthority.crashed': answered,
    'readLog.done': answered,
    'readLog.crashed': answered,
    'showRules.done': { actions: ['advancePolicy', 'answer'] },
    'showRules.crashed': answered,
    'loadPolicy.loaded': { actions: 'advancePolicy' },
    part: { guard: 'fromPolicy', actions: 'advancePolicy' },
    // Policy's actor went down: asked again, in a moment; what it said last stays in force.
    replied: { guard: 'fromPolicy', actions: 'rest' },
    refused: { guard: 'fromPolicy', actions: 'rest' },
    'rest.done': { actions: 'watchPolicy' },
    cancelled: { actions: 'settle' },
  },
  states: {
    up: {
      on: {
        model: [
          { guard: 'unasked' },
          { guard: 'closed', actions: 'refuseClosed' },
          { guard: 'modelsFull', actions: 'refuseFull' },
          {
            actions: [
              'countModel',
              {
                type: 'forward',
                params: ({ event }) => ({ request: event.from.request ?? -1, body: event.body, session: event.from.badge.session }),
              },
            ],
          },
        ],
        'model-info': [
          { guard: 'unasked' },
          { guard: 'closed', actions: 'refuseClosed' },
          { guard: 'modelsFull', actions: 'refuseFull' },
          { actions: ['countModel', { type: 'describe', params: ({ event }) => ({ request: event.from.request ?? -1 }) }] },
        ],
        fetch: [
          { guard: 'unasked' },
          { guard: 'fetchesFull', actions: 'refuseFull' },
          {
            actions: [
              'countFetch',
              {
                type: 'fetchPage',
                params: ({ event }) => ({ ...event.body, ...webParams(event.from, event.body.url) }),
              },
            ],
          },
        ],
        search: [
          { guard: 'unasked' },
          { guard: 'closed', actions: 'refuseClosed' },
          { guard: 'fetchesFull', actions: 'refuseFull' },
          {
            actions: [
              'countFetch',
              {
                type: 'searchWeb',
                params: ({ event }) => ({ ...event.body, request: event.from.request ?? -1, bearer: bearerOf(event.from) }),
              },
            ],
          },
        ],
        explain: [
          { guard: 'unasked' },
          { guard: 'fetchesFull', actions: 'refuseFull' },
          { actions: ['countFetch', { type: 'explain', params: ({ event }) => webParams(event.from, event.body.url) }] },
        ],
        connect: [
          { guard: 'unasked' },
          {
            actions: {
              type: 'tunnel',
              params: ({ event }) => ({
                request: event.from.request ?? -1,
                id: tunnelId(event.from, event.body.tunnel),
                to: event.body.to,
                bearer: bearerOf(event.from),
              }),
            },
          },
        ],
        'tunnel-data': [
          { guard: 'unasked' },
          {
            actions: {
              type: 'tunnelWrite',
              params: ({ event }) => ({
                request: event.from.request ?? -1,
                id: tunnelId(event.from, event.body.tunnel),
                bytes: event.body.bytes,
              }),
            },
          },
        ],
        rules: [{ guard: 'unasked' }, { actions: 'advancePolicy' }],
        'change-rule': { actions: 'advancePolicy' },
        'reload-secrets': [
          { guard: 'unasked' },
          { actions: { type: 'loadSecrets', params: ({ event }) => ({ request: event.from.request ?? -1 }) } },
        ],
        authority: [
          { guard: 'unasked' },
          { actions: { type: 'showAuthority', params: ({ event }) => ({ request: event.from.request ?? -1 }) } },
        ],
        log: [
          { guard: 'unasked' },
          { actions: { type: 'readLog', params: ({ event }) => ({ request: event.from.request ?? -1, ...event.body }) } },
        ],
        stopping: 'stopped',
      },
      initial: 'starting',
      states: {
        starting: {
          entry: ['forgetTrouble', { type: 'openUpstream', params: ({ context }) => ({ baseUrl: context.baseUrl }) }],
          on: {
            'openUpstream.opened': 'serving',
            'openUpstream.failed': { target: 'closed', actions: 'noteTrouble' },
            'openUpstream.crashed': { target: 'closed', actions: 'noteTrouble' },
          },
        },
        serving: {},
        closed: { after: { reopen: 'starting' } },
      },
    },
    // Takes nothing new on: the runtime refuses what is not handled.
    stopped: { entry: 'closeUpstream' },
  },
})

function requestOf(event: Events): number | null {
  if ('from' in event) return event.from.request
  return 'request' in event ? event.request : null
}

function errorOf(event: Events): Fault | undefined {
  return 'error' in event ? event.error : undefined
}

function answerTo(event: Events): Outgoing {
  const request = requestOf(event) ?? -1
  if (event.type === 'forward.done') return { type: 'reply', request, body: {} }
  if ('reply' in event) return { type: 'reply', request, body: event.reply }
  return refuse(event, errorOf(event) ?? fault('internal', 'The request broke off inside egress.'))
}

function refuse(event: Events, error: Fault): Outgoing {
  return { type: 'refuse', request: requestOf(event) ?? -1, error }
}

function without(context: Context, request: number): Partial<Context> {
  const other = (one: number) => one !== request
  const { models, fetches, policy } = context
  return { models: models.filter(other), fetches: fetches.filter(other), policy: givenUp(policy, request) }
}

type FetchParams = { request: number; url: string; bearer: Bearer }

/** The allow list is the capability's own; a capability that names no hosts allows none. */
function webParams(from: From, url: string): FetchParams {
  return { request: from.request ?? -1, url, bearer: bearerOf(from) }
}

/** A tunnel is its opener's: the sender and the session are the kernel's word. */
function tunnelId({ badge }: From, tunnel: number): string {
  return `${badge.from} ${badge.session ?? ''} ${tunnel}`
}

function bearerOf({ badge }: From): Bearer {
  return { session: badge.session, hosts: badge.limits.hosts ?? [] }
}

function startParams(params: Record<string, unknown>): { baseUrl: string | null } {
  const { baseUrl } = params as { baseUrl?: string | null }
  return { baseUrl: baseUrl || null }
}
