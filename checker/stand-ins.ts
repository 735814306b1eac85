/** Small actors that stand in for those a system is not about: one that asks once and keeps what it was answered, one that always answers. */
import { assign, emit, enqueueActions, setup } from 'xstate'
import type { Outgoing } from '../kernel/types.ts'
import { defineModel } from './model.ts'
import type { SystemView } from './system.ts'

export type ClientContext = { asked: number; answers: readonly string[] }
type ClientEvent =
  | { type: 'go' }
  | { type: 'replied'; ref: string }
  | { type: 'refused'; ref: string; error: { code: string } }
  | { type: 'part' }

/** Asks once and keeps what it was answered. */
function client(to: string, kind: string, body: unknown) {
  return setup({
    types: {} as { context: ClientContext; events: ClientEvent; emitted: Outgoing },
    actions: {
      ask: emit((): Outgoing => ({ type: 'send', to, kind, body, ref: 'ask', deadlineMs: null })),
      count: assign({ asked: ({ context }) => context.asked + 1 }),
      keep: assign({
        answers: ({ context, event }) =>
          event.type === 'replied'
            ? [...context.answers, 'reply']
            : event.type === 'refused'
              ? [...context.answers, event.error.code]
              : context.answers,
      }),
    },
  }).createMachine({
    context: { asked: 0, answers: [] },
    on: { go: { actions: ['count', 'ask'] }, replied: { actions: 'keep' }, refused: { actions: 'keep' }, part: {} },
  })
}

/** A gate as the others see it: it answers `read` and `fetch`, whatever the VM does. */
const gateMachine = setup({
  types: {} as { context: object; events: { type: 'read' | 'fetch'; from: { request: number | null } }; emitted: Outgoing },
  actions: {
    answer: enqueueActions(({ event, enqueue }) => {
      if (event.from.request !== null) enqueue.emit({ type: 'reply', request: event.from.request, body: {} })
    }),
  },
}).createMachine({ context: {}, on: { read: { actions: 'answer' }, fetch: { actions: 'answer' } } })

export const asks = (view: SystemView, id: string): ClientContext => view.actor(id).context as ClientContext
const around = { effects: {}, always: {}, sometimes: {}, mayEnd: () => true } as const

export function asking(actor: string, to: string, kind: string, body: unknown) {
  return defineModel<ClientContext>({
    actor,
    machine: client(to, kind, body),
    input: undefined,
    stimuli: [{ name: 'go', request: false, event: () => ({ type: 'go' }) }],
    ...around,
  })
}

export const gate = () => defineModel<object>({ actor: 'gate', machine: gateMachine, input: undefined, stimuli: [], ...around })
