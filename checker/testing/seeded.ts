/**
 * A machine with a bug on purpose: a door that is asked to open, looks whether it may, and forgets while a timer runs that somebody locked it.
 * Messages, an effect, a request to another, a timer and a cancel are on the way to it.
 */
import { assign, emit, setup } from 'xstate'
import type { From, KernelEvent, Outgoing } from '../../kernel/types.ts'
import { defineModel } from '../model.ts'

type Context = { locked: boolean; asker: number | null }
type Events = { type: 'open' | 'lock'; from: From } | { type: 'look.clear' | 'look.blocked'; request: number } | KernelEvent

export const machine = setup({
  types: {} as { context: Context; events: Events; emitted: Outgoing },
  delays: { swing: 1_000 },
  actions: {
    look: (_, _params: { request: number }) => {},
    remember: assign({ asker: ({ event }) => ('from' in event ? event.from.request : null) }),
    askGuard: emit({ type: 'send', to: 'guard', kind: 'permit', body: {}, ref: 'guard', deadlineMs: null } satisfies Outgoing),
    lock: assign({ locked: true }),
    unlock: assign({ locked: false }),
    acknowledge: emit(({ event }): Outgoing => ({ type: 'reply', request: ('from' in event && event.from.request) || -1, body: {} })),
    tell: emit(({ context }): Outgoing => ({ type: 'reply', request: context.asker ?? -1, body: {} })),
    refuse: emit(
      ({ context }): Outgoing => ({
        type: 'refuse',
        request: context.asker ?? -1,
        error: { code: 'denied', message: 'The door stays shut.', remedy: '' },
      }),
    ),
  },
}).createMachine({
  context: { locked: false, asker: null },
  initial: 'shut',
  on: { lock: { actions: ['lock', 'acknowledge'] } },
  states: {
    shut: {
      on: {
        open: {
          target: 'looking',
          actions: ['remember', { type: 'look', params: ({ event }) => ({ request: event.from.request ?? -1 }) }],
        },
      },
    },
    looking: { on: { 'look.clear': 'asking', 'look.blocked': { target: 'shut', actions: 'refuse' }, cancelled: 'shut' } },
    asking: { entry: 'askGuard', on: { replied: 'swinging', refused: { target: 'shut', actions: 'refuse' } } },
    // The bug: a lock that came meanwhile is not looked at again.
    swinging: { after: { swing: { target: 'wide', actions: 'tell' } } },
    wide: {},
  },
})

const from = (request: number) => ({ request, badge: { from: 'x', session: 's', limits: { tools: ['a'] } }, caps: [] })

export const model = defineModel<Context>({
  actor: 'door',
  machine,
  input: { params: {}, slots: [] },
  stimuli: [
    { name: 'open', event: (_, request) => ({ type: 'open', body: {}, from: from(request) }) },
    { name: 'lock', event: (_, request) => ({ type: 'lock', body: {}, from: from(request) }) },
  ],
  effects: {
    look: () => [
      { event: { type: 'look.clear' }, ends: true },
      { event: { type: 'look.blocked' }, ends: true },
    ],
  },
  replies: ({ ref, kind }) => [{ type: 'replied', ref, kind, body: {}, caps: [] }],
  always: {
    'a door that is locked is not open': ({ context, value }) => value !== 'wide' || !context.locked,
  },
  sometimes: { open: ({ value }) => value === 'wide' },
  mayEnd: () => true,
})
