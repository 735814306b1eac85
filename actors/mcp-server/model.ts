/** What the checker plays around a tool server's life, and what must hold. One call, one restart, one watcher, one caller that gives up. */
import { defineModel, type View } from '../../checker/model.ts'
import { machine } from './machine.ts'
import type { Context } from './state.ts'

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
const isPending = ({ pending }: View<Context>, name: string): number =>
  pending.filter((item) => item.what === 'effect' && item.name === name).length

export const model = defineModel<Context>({
  actor: 'mcp-server',
  machine,
  input: {
    params: { name: 's', command: 'node', args: [], env: {}, network: false, folders: [], code: [], data: '/d', nodeBinary: '/n/node' },
    slots: [],
  },
  stimuli: [
    { name: 'watch', event: (_, request) => ({ type: 'watch', body: {}, from: from(request) }) },
    { name: 'call', event: (_, request) => ({ type: 'call', body: { tool: 't', input: {} }, from: from(request) }) },
    { name: 'restart', event: (_, request) => ({ type: 'restart', body: {}, from: from(request) }) },
    {
      name: 'cancel',
      request: false,
      when: (view) => waits(view).length > 0,
      event: (view) => ({ type: 'cancelled', request: waits(view)[0] }),
    },
  ],
  effects: {
    run: ({ ref }: { ref: string }, { context }) => [
      ...(context.state === 'starting' && context.pid === null
        ? [goesOn({ type: 'server.spawned', epoch: ref, pid: 7, noJail: null })]
        : []),
      ...(context.state === 'starting' && context.pid !== null
        ? [goesOn({ type: 'server.ready', epoch: ref, info: { name: 'i', version: '1', protocol: 'p', instructions: '' }, tools: [] })]
        : []),
      end({ type: 'run.ended', cause: 'made up' }),
    ],
    call: () => [
      end({ type: 'call.done', result: {} }),
      end({ type: 'call.failed', error: { code: 'tool-failed', message: '', remedy: '' } }),
    ],
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
    'a request is either waiting for something named or answered': (view) => view.open.every((request) => waits(view).includes(request)),
    'calls run only while the server is ready': ({ context }) => context.running.length === 0 || context.state === 'ready',
    'every running call has its effect': (view) => view.context.running.length <= isPending(view, 'call'),
    'at most one server process at a time': (view) => isPending(view, 'run') <= 1,
    'ready is said only with a process behind it': (view) => view.context.state !== 'ready' || isPending(view, 'run') === 1,
    'never given up: a server that is not ready has something pending that leads on': ({ context, pending }) =>
      context.state === 'ready' || pending.length > 0,
    'nothing waits in backoff': ({ context }) => context.state !== 'backoff' || context.waiting.length + context.starters.length === 0,
  },
  sometimes: {
    ready: ({ context }) => context.state === 'ready',
    'in backoff': ({ context }) => context.state === 'backoff',
    'a call running': ({ context }) => context.running.length > 0,
    'ready again after an end': ({ context }) => context.state === 'ready' && context.restarts > 0,
  },
})
