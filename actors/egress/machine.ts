/**
 * Egress as a machine. Web fetches need nothing but the network and are served from the start. Model requests need the
 * upstream: while it is being opened their effect waits for it, while it cannot be opened they are refused with the reason.
 *
 *   starting --opened--> serving          starting --failed--> closed --after reopen--> starting
 *
 * In flight is bounded; more is refused with `overloaded`. The key never enters the context.
 */
import { assign, emit, setup } from 'xstate'
import { type Fault, type From, fault, type Inbound, type KernelEvent, type Outgoing } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import type { protocol } from './protocol.ts'

type Request = Inbound<typeof protocol>
type ModelBody = Extract<Request, { type: 'model' }>['body']
type FetchBody = Extract<Request, { type: 'fetch' }>['body']

export type Context = {
  /** Descriptor that holds the secrets; null when the daemon was started without one. */
  secrets: number | null
  baseUrl: string | null
  /** Why the upstream is closed, for those who ask meanwhile. */
  trouble: Fault | null
  /** Requests whose effect runs. */
  models: readonly number[]
  fetches: readonly number[]
}

type Settled =
  | { type: 'forward.done'; request: number }
  | { type: 'forward.failed' | 'forward.crashed'; request: number; error?: Fault }
  | { type: 'describe.done' | 'fetchPage.done' | 'explain.done'; request: number; reply: unknown }
  | {
      type: 'describe.failed' | 'describe.crashed' | 'fetchPage.failed' | 'fetchPage.crashed' | 'explain.crashed'
      request: number
      error?: Fault
    }

type Outcome =
  | { type: 'openUpstream.opened' }
  | { type: 'openUpstream.failed' | 'openUpstream.crashed'; error?: Fault }
  | { type: 'closeUpstream.closed' | 'closeUpstream.crashed' }
  | Settled

type Events = Request | KernelEvent | Outcome
type Input = { params: Record<string, unknown>; slots: readonly string[] }

const egress = setup({
  types: {} as { context: Context; events: Events; emitted: Outgoing; input: Input },
  delays: { reopen: limits.reopenMs },
  guards: {
    /** A message nobody waits for has no answer to give, and nothing else to do. */
    unasked: ({ event }) => requestOf(event) === null,
    modelsFull: ({ context }) => context.models.length >= limits.modelInFlight,
    fetchesFull: ({ context }) => context.fetches.length >= limits.fetchInFlight,
    closed: ({ context }) => context.trouble !== null,
  },
  actions: {
    // Effects: the runtime runs them by name.
    openUpstream: (_, _params: { secrets: number | null; baseUrl: string | null }) => {},
    closeUpstream: () => {},
    describe: (_, _params: { request: number }) => {},
    forward: (_, _params: { request: number; body: ModelBody; session: string | null }) => {},
    fetchPage: (
      _,
      _params: { request: number; url: string; maxBytes: number | undefined; hosts: readonly string[]; session: string | null },
    ) => {},
    explain: (_, _params: { request: number; url: string; hosts: readonly string[] }) => {},

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

const settled = { actions: ['answer', 'settle'] } as const

export const machine = egress.createMachine({
  id: 'egress',
  context: ({ input }) => ({ ...startParams(input.params), trouble: null, models: [], fetches: [] }),
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
    'explain.done': settled,
    'explain.crashed': settled,
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
                params: ({ event }) => ({
                  ...webParams(event.from, event.body.url),
                  session: event.from.badge.session,
                  maxBytes: (event.body satisfies FetchBody).maxBytes,
                }),
              },
            ],
          },
        ],
        explain: [
          { guard: 'unasked' },
          { guard: 'fetchesFull', actions: 'refuseFull' },
          { actions: ['countFetch', { type: 'explain', params: ({ event }) => webParams(event.from, event.body.url) }] },
        ],
        stopping: 'stopped',
      },
      initial: 'starting',
      states: {
        starting: {
          entry: [
            'forgetTrouble',
            { type: 'openUpstream', params: ({ context }) => ({ secrets: context.secrets, baseUrl: context.baseUrl }) },
          ],
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
  return { models: context.models.filter(other), fetches: context.fetches.filter(other) }
}

/** The allow list is the capability's own; a capability that names no hosts allows none. */
function webParams(from: From, url: string): { request: number; url: string; hosts: readonly string[] } {
  return { request: from.request ?? -1, url, hosts: from.badge.limits.hosts ?? [] }
}

function startParams(params: Record<string, unknown>): { secrets: number | null; baseUrl: string | null } {
  const { fds, baseUrl } = params as { fds?: { secrets?: number }; baseUrl?: string | null }
  return { secrets: fds?.secrets ?? null, baseUrl: baseUrl || null }
}
