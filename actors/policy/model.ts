/** What the checker plays around policy's machine: readings that work, fail and crash, someone who watches, someone who asks and gives up. */
import { defineModel, type View } from '../../checker/model.ts'
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
    { name: 'stopping', request: false, event: () => ({ type: 'stopping' }) },
  ],
  effects: {
    observe: () => [
      ...readings.map((sources) => ({ event: { type: 'observe.read', sources }, ends: false })),
      { event: { type: 'observe.crashed' }, ends: true },
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
    'whoever watches hears of every change': (before, _event, after, out) =>
      before.context.known === null ||
      after.context.known === null ||
      JSON.stringify(before.context.known.effective.values) === JSON.stringify(after.context.known.effective.values) ||
      after.context.watchers.every((request) => out.some((message) => message.type === 'partTo' && message.request === request)),
  },
  mayEnd: ({ value }) => value === 'stopping',
})
