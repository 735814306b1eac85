/** What the checker plays around policy's machine: readings that work, fail and crash, someone who watches, someone who asks and gives up. */
import { defineModel, stopping, type View } from '../../checker/model.ts'
import { type Context, machine } from './machine.ts'
import type { Source } from './sources.ts'

const from = (request: number) => ({ request, badge: { from: 'x', session: null, limits: {} }, caps: [] })
const source = (more: Partial<Source>): Source => ({ kind: 'managed-file', place: '/m', state: 'absent', ...more })
const readings: readonly (readonly Source[])[] = [
  [source({})],
  [source({ state: 'present', values: { isEnabledForOrganization: false } })],
  [source({ state: 'unreadable', why: 'x' }), source({ kind: 'local', state: 'present', values: { isLocalDevMcpEnabled: false } })],
]
const waits = ({ context }: View<Context>): number[] => [...context.waiting.map(({ request }) => request), ...context.watchers]

export const model = defineModel<Context>({
  actor: 'policy',
  machine,
  input: { params: { userHome: '/h', user: 'u' }, slots: [] },
  stimuli: [
    { name: 'watch', event: (_, request) => ({ type: 'watch', body: {}, from: from(request) }) },
    { name: 'effective', event: (_, request) => ({ type: 'effective', body: {}, from: from(request) }) },
    { name: 'explain', event: (_, request) => ({ type: 'explain', body: { key: 'none' }, from: from(request) }) },
    {
      name: 'cancel',
      request: false,
      when: (view) => waits(view).length > 0,
      event: (view) => ({ type: 'cancelled', request: waits(view)[0] }),
    },
    { name: 'secrets', event: (_, request) => ({ type: 'secrets', body: {}, from: from(request) }) },
    {
      name: 'check',
      times: Number.POSITIVE_INFINITY,
      event: (_, request) => ({ type: 'check', body: { policy: {} }, from: from(request) }),
    },
    stopping,
  ],
  effects: {
    observe: () => [
      ...readings.map((sources) => ({ event: { type: 'observe.read', sources }, ends: false })),
      { event: { type: 'observe.crashed' }, ends: true },
      { event: { type: 'observe.ended' }, ends: true },
    ],
  },
  always: {
    'whoever is not answered waits for the first reading or watches': (view) => view.open.every((request) => waits(view).includes(request)),
    'nobody waits once something is known': ({ context }) => context.known === null || context.waiting.length === 0,
    'while managed policy cannot be used nothing applies': ({ context: { known } }) =>
      known === null || !known.effective.failedClosed || Object.values(known.effective.decidedBy).every((by) => by === 'default'),
    'it goes on reading, or will': ({ value, pending }) => value === 'stopping' || pending.length > 0,
  },
  sometimes: {
    'switched off': ({ context }) => context.known?.effective.values.isEnabledForOrganization === false,
    'failed closed': ({ context }) => context.known?.effective.failedClosed === true,
    blind: ({ value }) => value === 'blind',
    watched: ({ context }) => context.watchers.length > 0,
  },
  steps: {
    'what is read is served': ({ value }, event, after) =>
      event.type !== 'observe.read' || after.value === (value === 'stopping' ? 'stopping' : 'serving'),
    'without a reading it is blind, and reads again': ({ value }, event, after) =>
      (event.type !== 'observe.crashed' && event.type !== 'observe.ended') || after.value === (value === 'stopping' ? 'stopping' : 'blind'),
    'told to stop, it stops': (_before, event, { value }) => event.type !== 'stopping' || value === 'stopping',
    'whoever watches hears of every change': (before, _event, after, out) =>
      before.context.known === null ||
      after.context.known === null ||
      JSON.stringify(before.context.known.effective.values) === JSON.stringify(after.context.known.effective.values) ||
      after.context.watchers.every((request) => out.some((message) => message.type === 'partTo' && message.request === request)),
  },
  takes: () => true,
  leadsTo: {
    'who asks is answered or watches, unless it is stopped': {
      from: ({ open, context }) => open.length > context.watchers.length,
      to: ({ open, context, value }) => open.length === context.watchers.length || value === 'stopping',
    },
  },
  // It reads the sources, once and then whenever they change.
  fairness: { 'effect observe': 'weak' },
  mayEnd: ({ value }) => value === 'stopping',
})
