/**
 * What the checker plays around a tool server's life, and what must hold. One call, one restart, one watcher, one caller that gives up; with
 * fewer of them, what an earlier start still says, and the end of the daemon.
 */
import { type Event, defineModel, type Stimulus, stopping, type View } from '../../checker/model.ts'
import type { ToolDefinition } from './protocol.ts'
import { machine } from './machine.ts'
import { type Context, delayAfter, refEpoch, statusOf } from './state.ts'

const from = (request: number) => ({ request, badge: { from: 'mcp-host', session: null, limits: {} }, caps: [] })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const goesOn = (event: { type: string; [key: string]: unknown }) => ({ event, ends: false })

/** Requests that are allowed to wait: everything else must have been answered. */
const waits = ({ context }: View<Context>): readonly number[] => [
  ...context.watchers,
  ...context.running,
  ...context.starters,
  ...context.waiting.map(({ request }) => request),
]
const info = { name: 'i', version: '1', protocol: 'p', instructions: '' }
const tools: ToolDefinition[] = [{ name: 't', title: null, description: '', inputSchema: {}, hash: 'h', readOnly: true }]
const error = { code: 'tool-failed', message: '', remedy: '' }
const lives = ({ value }: View<Context>): boolean => value !== 'closing'
/** The part of the machine that it is in. */
const at = ({ value }: View<Context>): string => (typeof value === 'string' ? value : (Object.keys(value as object)[0] as string))
/** Which start an event is about, where it is about one. */
const startOf = (event: Event): unknown => event['epoch'] ?? (event.type.startsWith('call.') ? undefined : event['ref'])
const isOfThisStart = ({ context }: View<Context>, event: Event): boolean => startOf(event) === refEpoch(context)
const shown = ({ context }: View<Context>): string => JSON.stringify(statusOf(context))

const isPending = ({ pending }: View<Context>, name: string): number =>
  pending.filter((item) => item.what === 'effect' && item.name === name).length

/** Was on its way when the start that it is about was given up. One on a path. */
const late = (['server.spawned', 'server.ready', 'server.tools', 'run.ended', 'run.crashed', 'drawJitter.drawn'] as const).map(
  (type): Stimulus<Context> => ({
    name: `late ${type}`,
    request: false,
    when: ({ context, sent }) => context.epoch > 1 && late.every((other) => sent[other.name] === undefined),
    event: ({ context }) => {
      const earlier = `run:${context.epoch - 1}`
      return { type, epoch: earlier, ref: earlier, pid: 8, noJail: null, info, tools: [], cause: 'late', error, fraction: 1 }
    },
  }),
)

const stimuli: readonly Stimulus<Context>[] = [
  { name: 'watch', event: (_, request) => ({ type: 'watch', body: {}, from: from(request) }) },
  { name: 'call', event: (_, request) => ({ type: 'call', body: { tool: 't', input: {} }, from: from(request) }) },
  { name: 'restart', event: (_, request) => ({ type: 'restart', body: {}, from: from(request) }) },
  {
    name: 'cancel',
    request: false,
    when: (view) => waits(view).length > 0,
    event: (view) => ({ type: 'cancelled', request: waits(view)[0] }),
  },
  ...late,
  stopping,
]

const modelOf = (played: readonly string[], sometimes: readonly (keyof typeof seen)[]) =>
  defineModel<Context>({
    actor: 'mcp-server',
    machine,
    input: {
      params: { name: 's', command: 'node', args: [], env: {}, network: false, folders: [], code: [], data: '/d', nodeBinary: '/n/node' },
      slots: [],
    },
    stimuli: stimuli.filter((stimulus) => played.includes(stimulus.name)),
    effects: {
      run: ({ ref }: { ref: string }, { context }) => [
        ...(context.state === 'starting' && context.pid === null
          ? [goesOn({ type: 'server.spawned', epoch: ref, pid: 7, noJail: null })]
          : []),
        ...(context.state === 'starting' && context.pid !== null ? [goesOn({ type: 'server.ready', epoch: ref, info, tools: [] })] : []),
        ...(context.state === 'ready' && context.tools?.length === 0 ? [goesOn({ type: 'server.tools', epoch: ref, tools })] : []),
        end({ type: 'run.ended', cause: 'made up' }),
        end({ type: 'run.crashed', error }),
      ],
      call: () => [end({ type: 'call.done', result: {} }), end({ type: 'call.failed', error }), end({ type: 'call.crashed', error })],
      drawJitter: () => [end({ type: 'drawJitter.drawn', fraction: 0 })],
    },
    // Numbers of starts only name them; failures beyond two change nothing but the delay.
    project: ({ epoch: _epoch, failures, restarts, delayMs: _delay, spec: _spec, ...context }) => ({
      ...context,
      failures: Math.min(failures, 2),
      restarted: restarts > 0,
    }),
    projectPending: (item, { context }) =>
      item.what !== 'effect'
        ? item
        : item.params['ref'] !== undefined && ['run', 'drawJitter'].includes(item.name)
          ? [item.name, item.params['ref'] === `run:${context.epoch}`]
          : [item.name, item.params['request']],
    always: {
      'a request is either waiting for something named or answered': (view) =>
        !lives(view) || view.open.every((request) => waits(view).includes(request)),
      'what it says of itself is what it is': (view) => !lives(view) || at(view) === view.context.state,
      'once it has stood for a while, its failures are forgotten': ({ value, context }) =>
        JSON.stringify(value) !== '{"ready":"proven"}' || context.failures === 0,
      'calls run only while the server is ready': ({ context }) => context.running.length === 0 || context.state === 'ready',
      'every running call has its effect': (view) => !lives(view) || view.context.running.length <= isPending(view, 'call'),
      'at most one server process at a time': (view) => isPending(view, 'run') <= 1,
      'ready is said only with a process behind it': (view) =>
        !lives(view) || view.context.state !== 'ready' || isPending(view, 'run') === 1,
      'never given up: a server that is not ready has something pending that leads on': (view) =>
        !lives(view) || view.context.state === 'ready' || view.pending.length > 0,
      'nothing waits in backoff': ({ context }) => context.state !== 'backoff' || context.waiting.length + context.starters.length === 0,
    },
    sometimes: Object.fromEntries(sometimes.map((property) => [property, seen[property]])),
    steps: {
      'told to stop, it stops': (_before, event, after) => event.type !== 'stopping' || !lives(after),
      'what is said of an earlier start changes nothing': (before, event, after, out) =>
        startOf(event) === undefined || isOfThisStart(before, event) || (before.context === after.context && out.length === 0),
      'the end of the server is noted in that very step': (before, event, { context }) =>
        !event.type.startsWith('run.') || !isOfThisStart(before, event) || !lives(before) || context.state === 'backoff',
      'its process and its tools are those it has now': (before, event, { context }) =>
        !isOfThisStart(before, event) ||
        !lives(before) ||
        ((event.type !== 'server.spawned' || context.pid === event['pid']) &&
          ((event.type !== 'server.tools' && event.type !== 'server.ready') || context.tools === event['tools'])),
      'it rests as long as was drawn': (before, event, { context }) =>
        event.type !== 'drawJitter.drawn' ||
        !isOfThisStart(before, event) ||
        !lives(before) ||
        context.delayMs === delayAfter(context.failures, event['fraction'] as number),
      'whoever watches hears of every change, and at first how it is': (before, _event, after, out) =>
        after.context.watchers.every((request) => {
          if (before.context.watchers.includes(request) && shown(before) === shown(after)) return true
          const last = out.findLast((message) => message.type === 'partTo' && message.request === request)
          return JSON.stringify((last as { body?: { status: unknown } } | undefined)?.body?.status) === shown(after)
        }),
    },
    takes: lives,
    leadsTo: {
      'who asks is answered, unless it is stopped': {
        from: ({ open, context }) => open.length > context.watchers.length,
        to: (view) => !lives(view) || view.open.length === view.context.watchers.length,
      },
    },
    mayEnd: (view) => !lives(view),
  })

const seen = {
  ready: ({ context }: View<Context>) => context.state === 'ready',
  'in backoff': ({ context }: View<Context>) => context.state === 'backoff',
  'a call running': ({ context }: View<Context>) => context.running.length > 0,
  'ready again after an end': ({ context }: View<Context>) => context.state === 'ready' && context.restarts > 0,
  'ready for a while': ({ value }: View<Context>) => JSON.stringify(value) === '{"ready":"proven"}',
  stopped: (view: View<Context>) => !lives(view),
}

export const model = modelOf(
  ['watch', 'call', 'restart', 'cancel'],
  ['ready', 'in backoff', 'a call running', 'ready again after an end', 'ready for a while'],
)
const outOfTime = modelOf(['restart', 'stopping', ...late.map((stimulus) => stimulus.name)], ['ready again after an end', 'stopped'])

/** Models that judge its mutants (`check --mutate`). */
export const judges = [outOfTime, model]
