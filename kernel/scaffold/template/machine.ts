/**
 * Sample as a machine: pure. What leaves it is data: `emit(...)` for messages, a named action for an effect.
 *
 *   hello -> effect greet -> greet.done -> reply
 */
import { assign, emit, setup } from 'xstate'
import { fault, noRequest } from '../../index.ts'
import type { Inbound, KernelEvent, Outgoing } from '../../index.ts'
import type { protocol } from './protocol.ts'

/** Greetings being written at a time. */
const most = 16

type Event =
  | Inbound<typeof protocol>
  | KernelEvent
  | { type: 'greet.done'; request: number; text: string }
  | { type: 'greet.crashed'; request: number }
export type Context = { writing: readonly number[] }

export const machine = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing },
  guards: { full: ({ context }) => context.writing.length >= most },
  actions: {
    /** Effect: see effects.ts. */
    greet: (_, _params: { request: number; name: string }) => {},
  },
}).createMachine({
  id: 'sample',
  context: { writing: [] },
  initial: 'serving',
  states: {
    serving: {
      on: {
        hello: [
          {
            guard: 'full',
            actions: emit(
              ({ event }): Outgoing => ({
                type: 'refuse',
                request: event.from.request ?? noRequest,
                error: fault('overloaded', 'Too many greetings at once.'),
              }),
            ),
          },
          {
            actions: [
              assign({ writing: ({ context, event }) => [...context.writing, event.from.request ?? noRequest] }),
              { type: 'greet', params: ({ event }) => ({ request: event.from.request ?? noRequest, name: event.body.name }) },
            ],
          },
        ],
        'greet.done': {
          actions: [
            assign({ writing: ({ context, event }) => context.writing.filter((request) => request !== event.request) }),
            emit(({ event }): Outgoing => ({ type: 'reply', request: event.request, body: { text: event.text } })),
          ],
        },
        'greet.crashed': {
          actions: [
            assign({ writing: ({ context, event }) => context.writing.filter((request) => request !== event.request) }),
            emit(
              ({ event }): Outgoing => ({ type: 'refuse', request: event.request, error: fault('internal', 'No greeting came to mind.') }),
            ),
          ],
        },
        cancelled: {
          actions: assign({ writing: ({ context, event }) => context.writing.filter((request) => request !== event.request) }),
        },
        stopping: 'stopping',
      },
    },
    stopping: {},
  },
})
