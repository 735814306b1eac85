/** What the checker plays around telemetry's machine: policy that tells, goes and comes back; entries that are written or not; questions withdrawn. */
import { defineModel, stopping, type View } from '../../checker/model.ts'
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

export const model = defineModel<Context>({
  actor: 'telemetry',
  machine,
  input: { params: {}, slots: [] },
  stimuli: [
    { name: 'audit', event: (_, request) => ({ type: 'audit', body: { action: 'a.b', data: {} }, from: from(request) }) },
    {
      name: 'workspace',
      request: false,
      event: () => ({ type: 'workspace', body: { session: 's', events: [], missed: 1 }, from: { ...from(0), request: null } }),
    },
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
  ],
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
  // Nothing in the machine depends on how these end.
  projectPending: (pending) =>
    pending.what === 'effect' && (pending.name === 'configure' || pending.name === 'close') ? undefined : pending,
  always: {
    'who waits is worked for or watches': ({ open, context, pending }) =>
      open.every(
        (request) =>
          context.watchers.includes(request) || pending.some((item) => item.what === 'effect' && item.params['request'] === request),
      ),
    'policy is watched, or asked again in a moment': (view) =>
      view.value === 'stopping' || watched(view) || view.pending.some((item) => item.what === 'timer'),
  },
  sometimes: {
    'traces are wanted and someone hears': ({ context }) => wants(context) && context.watchers.length > 0,
    'switched off again': ({ context, sent }) => context.settings?.endpoint === null && (sent['on'] ?? 0) > 0,
    stopping: ({ value }) => value === 'stopping',
  },
  steps: {
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
