/**
 * The reader as a machine: it hands each document to an effect, and forgets it.
 *
 *   page, pdf -> effect -> done | failed | crashed -> reply | refusal
 */
import { assign, emit, setup } from 'xstate'
import { fault, type Fault, type Inbound, type KernelEvent, noRequest, type Outgoing } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import type { protocol } from './protocol.ts'

type Ended =
  | { type: 'readPage.done' | 'readPdf.done'; request: number; reply: object }
  | { type: 'readPage.failed' | 'readPdf.failed'; request: number; error: Fault }
  | { type: 'readPage.crashed' | 'readPdf.crashed'; request: number }
type Event = Inbound<typeof protocol> | KernelEvent | Ended
export type Context = { reading: readonly number[] }

const base = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing },
  guards: { full: ({ context }) => context.reading.length >= limits.atOnce },
  actions: {
    /** Effects: see effects.ts. */
    readPage: (_, _params: { request: number; body: object }) => {},
    readPdf: (_, _params: { request: number; body: object }) => {},
    begin: assign({ reading: ({ context, event }) => [...context.reading, requestOf(event)] }),
    end: assign({ reading: ({ context, event }) => context.reading.filter((request) => request !== requestOf(event)) }),
    refuseFull: emit(
      ({ event }): Outgoing => ({
        type: 'refuse',
        request: requestOf(event),
        error: fault('overloaded', `More than ${limits.atOnce} documents at once.`),
      }),
    ),
    answer: emit(({ event }): Outgoing => {
      const request = requestOf(event)
      if ('reply' in event) return { type: 'reply', request, body: event.reply }
      const error = 'error' in event ? event.error : fault('unsupported-content', 'The document could not be read.')
      return { type: 'refuse', request, error }
    }),
  },
})

function requestOf(event: Event): number {
  if ('from' in event) return event.from.request ?? noRequest
  return 'request' in event ? event.request : noRequest
}

const ended = { actions: ['answer', 'end'] } as const

export const machine = base.createMachine({
  id: 'reader',
  context: { reading: [] },
  initial: 'serving',
  states: {
    serving: {
      on: {
        page: [
          { guard: 'full', actions: 'refuseFull' },
          { actions: ['begin', { type: 'readPage', params: ({ event }) => ({ request: requestOf(event), body: event.body }) }] },
        ],
        pdf: [
          { guard: 'full', actions: 'refuseFull' },
          { actions: ['begin', { type: 'readPdf', params: ({ event }) => ({ request: requestOf(event), body: event.body }) }] },
        ],
        'readPage.done': ended,
        'readPage.failed': ended,
        'readPage.crashed': ended,
        'readPdf.done': ended,
        'readPdf.failed': ended,
        'readPdf.crashed': ended,
        cancelled: { actions: 'end' },
        stopping: 'stopping',
      },
    },
    stopping: {},
  },
})
