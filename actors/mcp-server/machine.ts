/**
 * The life of one tool server: started, used, started again when it ends; never given up.
 *
 *   starting --server.ready--> ready --healthy for a while--> (failures forgotten)
 *      ^  |                      |
 *      |  +--- run ended --------+---> backoff
 *      +------ after its delay, or a restart asked for ---+
 *
 * Calls wait while it starts and are refused at once in backoff.
 */
import { setup } from 'xstate'
import { fault, noRequest } from '../../kernel/index.ts'
import type { Fault, Inbound, KernelEvent, Outgoing } from '../../kernel/index.ts'
import { healthyMs, maxCalls, maxWatchers, startMs } from './limits.ts'
import type { LaunchSpec, protocol, ServerStatus, ToolDefinition } from './protocol.ts'
import { type Call, type Context, delayAfter, initialContext, refEpoch, statusOf, unavailable } from './state.ts'

type Outcome =
  | { type: 'server.spawned'; epoch: string; pid: number; noJail: string | null }
  | { type: 'server.ready'; epoch: string; info: NonNullable<ServerStatus['info']>; tools: ToolDefinition[] }
  | { type: 'server.tools'; epoch: string; tools: ToolDefinition[] }
  | { type: 'run.ended'; ref: string; cause: string }
  | { type: 'run.crashed'; ref: string; error: unknown }
  | { type: 'call.done'; request: number; result: unknown }
  | { type: 'call.failed' | 'call.crashed'; request: number; error: unknown }
  | { type: 'drawJitter.drawn'; ref: string; fraction: number }
type Event = Inbound<typeof protocol> | KernelEvent | Outcome
type Step = { context: Context; out?: readonly Outgoing[]; calls?: readonly Call[] }

const base = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing; input: { params: Record<string, unknown>; slots: readonly string[] } },
  actions: {
    run: (_, _params: { ref: string; spec: LaunchSpec }) => {},
    call: (_, _params: Call & { ref: string }) => {},
    drawJitter: (_, _params: { ref: string }) => {},
  },
  guards: {
    current: ({ context, event }) => refEpoch(context) === ('epoch' in event ? event.epoch : 'ref' in event ? event.ref : ''),
  },
  delays: { startStall: startMs, healthy: healthyMs, backoffDelay: ({ context }) => context.delayMs },
})

function stepping(take: (context: Context, event: Event) => Step): ReturnType<typeof base.enqueueActions> {
  return base.enqueueActions(({ context, event, enqueue }) => {
    const { context: next, out = [], calls = [] } = take(context, event)
    enqueue.assign(() => next)
    for (const message of out) enqueue.emit(message)
    for (const call of calls) enqueue({ type: 'call', params: { ...call, ref: `call:${call.request}` } })
  })
}

const requestOf = (event: Event): number => ('from' in event ? (event.from.request ?? noRequest) : noRequest)
const refuseAll = (requests: readonly number[], error: Fault): Outgoing[] => requests.map((request) => ({ type: 'refuse', request, error }))
const told = (context: Context): Outgoing[] =>
  context.watchers.map((request) => ({ type: 'partTo', request, body: { status: statusOf(context) } }))

/** A call is taken; what does not fit is refused. */
function takeCall(context: Context, event: Event, run: boolean): Step {
  if (event.type !== 'call') return { context }
  const call: Call = { request: requestOf(event), ...event.body }
  if (context.waiting.length + context.running.length >= maxCalls)
    return {
      context,
      out: [
        { type: 'refuse', request: call.request, error: fault('overloaded', `${maxCalls} calls of ${context.spec.name} are under way.`) },
      ],
    }
  if (!run) return { context: { ...context, waiting: [...context.waiting, call] } }
  return { context: { ...context, running: [...context.running, call.request] }, calls: [call] }
}

/** Everything under way is over: what ran is refused, and so is what waited when `all`. */
function lose(context: Context, all: boolean): Step {
  const lost = [...context.running, ...(all ? context.waiting.map(({ request }) => request) : [])]
  return {
    context: { ...context, running: [], ...(all ? { waiting: [] } : {}) },
    out: [
      ...context.running.map((request): Outgoing => ({ type: 'interrupt', ref: `call:${request}` })),
      ...refuseAll(lost, unavailable(context)),
    ],
  }
}

export const machine = base
  .extend({
    actions: {
      begin: stepping((context) => ({
        context: {
          ...context,
          epoch: context.epoch + 1,
          state: 'starting',
          restarts: context.restarts + (context.wasReady ? 1 : 0),
          wasReady: false,
          pid: null,
        },
      })),
      tell: stepping((context) => ({ context, out: told(context) })),
      noteSpawned: stepping((context, event) => {
        if (event.type !== 'server.spawned') return { context }
        const next = { ...context, pid: event.pid, noJail: event.noJail, tried: true }
        return { context: next, out: told(next) }
      }),
      becomeReady: stepping((context, event) => {
        if (event.type !== 'server.ready') return { context }
        const { waiting, starters } = context
        const next: Context = {
          ...context,
          state: 'ready',
          error: null,
          wasReady: true,
          info: event.info,
          tools: event.tools,
          waiting: [],
          starters: [],
          running: waiting.map(({ request }) => request),
        }
        return {
          context: next,
          out: [...told(next), ...starters.map((request): Outgoing => ({ type: 'reply', request, body: {} }))],
          calls: waiting,
        }
      }),
      noteTools: stepping((context, event) => {
        if (event.type !== 'server.tools') return { context }
        const next = { ...context, tools: event.tools }
        return { context: next, out: told(next) }
      }),
      forgetFailures: stepping((context) => ({ context: { ...context, failures: 0 } })),
      /** Down, and said so, before anything else can happen; what was under way is refused with the reason. */
      noteFailure: stepping((context, event) => {
        const cause =
          event.type === 'run.ended'
            ? event.cause
            : event.type === 'run.crashed'
              ? 'a defect ended it'
              : `it was not ready within ${startMs / 1000} s`
        const error = fault('server-unavailable', `The tool server ${context.spec.name} is not running.`, { cause })
        const failures = context.failures + 1
        const lost = lose({ ...context, state: 'backoff', failures, delayMs: delayAfter(failures, 0.5), error, pid: null }, true)
        const after: Context = { ...lost.context, starters: [] }
        return { context: after, out: [...(lost.out ?? []), ...refuseAll(context.starters, unavailable(after)), ...told(after)] }
      }),
      interruptRun: stepping((context) => ({ context, out: [{ type: 'interrupt', ref: refEpoch(context) }] })),
      noteDelay: stepping((context, event) =>
        event.type === 'drawJitter.drawn'
          ? { context: { ...context, delayMs: delayAfter(context.failures, event.fraction) } }
          : { context },
      ),
      loseRunning: stepping((context) => lose(context, false)),
      queueCall: stepping((context, event) => takeCall(context, event, false)),
      startCall: stepping((context, event) => takeCall(context, event, true)),
      refuseCall: stepping((context, event) => ({ context, out: refuseAll([requestOf(event)], unavailable(context)) })),
      answerCall: stepping((context, event) => {
        if (event.type !== 'call.done' && event.type !== 'call.failed' && event.type !== 'call.crashed') return { context }
        const { request } = event
        if (!context.running.includes(request)) return { context }
        const error =
          event.type === 'call.crashed'
            ? fault('internal', 'The call ended by a defect.')
            : event.type === 'call.failed'
              ? (event.error as Fault)
              : null
        const answer: Outgoing =
          event.type === 'call.done'
            ? { type: 'reply', request, body: event.result }
            : { type: 'refuse', request, error: error ?? unavailable(context) }
        return { context: { ...context, running: context.running.filter((other) => other !== request) }, out: [answer] }
      }),
      addStarter: stepping((context, event) => ({ context: { ...context, starters: [...context.starters, requestOf(event)] } })),
      addWatcher: stepping((context, event) => {
        const request = requestOf(event)
        if (context.watchers.length >= maxWatchers)
          return { context, out: refuseAll([request], fault('overloaded', 'Too many watch this server.')) }
        return {
          context: { ...context, watchers: [...context.watchers, request] },
          out: [{ type: 'partTo', request, body: { status: statusOf(context) } }],
        }
      }),
      forget: stepping((context, event) => {
        if (event.type !== 'cancelled') return { context }
        const other = (request: number): boolean => request !== event.request
        const { watchers, running, starters, waiting } = context
        return {
          context: {
            ...context,
            watchers: watchers.filter(other),
            running: running.filter(other),
            starters: starters.filter(other),
            waiting: waiting.filter(({ request }) => other(request)),
          },
        }
      }),
    },
  })
  .createMachine({
    id: 'mcp-server',
    context: ({ input }) => initialContext(input.params),
    initial: 'starting',
    on: {
      watch: { actions: 'addWatcher' },
      cancelled: { actions: 'forget' },
      stopping: '.closing',
    },
    states: {
      starting: {
        entry: ['begin', 'tell', { type: 'run', params: ({ context }) => ({ ref: refEpoch(context), spec: context.spec }) }],
        after: { startStall: { target: 'backoff', actions: ['noteFailure', 'interruptRun'] } },
        on: {
          call: { actions: 'queueCall' },
          restart: { actions: 'addStarter' },
          'server.spawned': { guard: 'current', actions: 'noteSpawned' },
          'server.ready': { guard: 'current', target: 'ready', actions: 'becomeReady' },
          'run.ended': { guard: 'current', target: 'backoff', actions: 'noteFailure' },
          'run.crashed': { guard: 'current', target: 'backoff', actions: 'noteFailure' },
        },
      },
      ready: {
        initial: 'young',
        states: { young: { after: { healthy: 'proven' } }, proven: { entry: 'forgetFailures' } },
        on: {
          call: { actions: 'startCall' },
          'call.done': { actions: 'answerCall' },
          'call.failed': { actions: 'answerCall' },
          'call.crashed': { actions: 'answerCall' },
          'server.tools': { guard: 'current', actions: 'noteTools' },
          restart: { target: 'starting', actions: ['addStarter', 'interruptRun', 'loseRunning'] },
          'run.ended': { guard: 'current', target: 'backoff', actions: 'noteFailure' },
          'run.crashed': { guard: 'current', target: 'backoff', actions: 'noteFailure' },
        },
      },
      backoff: {
        initial: 'drawing',
        on: {
          call: { actions: 'refuseCall' },
          restart: { target: 'starting', actions: 'addStarter' },
        },
        states: {
          drawing: {
            entry: { type: 'drawJitter', params: ({ context }) => ({ ref: refEpoch(context) }) },
            on: { 'drawJitter.drawn': { guard: 'current', target: 'resting', actions: 'noteDelay' } },
          },
          resting: { after: { backoffDelay: '#mcp-server.starting' } },
        },
      },
      /** The effect that runs the server is interrupted by the runtime, and ends when its processes have. */
      closing: {},
    },
  })
