/** What the checker plays around sample's machine: somebody who asks twice and gives up, and greetings that come or fail. */
import { defineModel } from '../../../checker/index.ts'
import { type Context, machine } from './machine.ts'

const from = (request: number) => ({ request, badge: { from: 'x', session: null, limits: {} }, caps: [] })

export const model = defineModel<Context>({
  actor: 'sample',
  machine,
  input: { params: {}, slots: [] },
  stimuli: [
    { name: 'hello', times: 2, event: (_, request) => ({ type: 'hello', body: { name: 'Ada' }, from: from(request) }) },
    {
      name: 'cancel',
      request: false,
      when: ({ open }) => open.length > 0,
      event: ({ open }) => ({ type: 'cancelled', request: open[0] }),
    },
    { name: 'stopping', request: false, event: () => ({ type: 'stopping' }) },
  ],
  effects: {
    greet: () => [
      { event: { type: 'greet.done', text: 'Hello.' }, ends: true },
      { event: { type: 'greet.crashed' }, ends: true },
    ],
  },
  always: {
    'whoever waits is being served': ({ value, open, context }) =>
      value === 'stopping' || open.every((request) => context.writing.includes(request)),
  },
  sometimes: {
    'two at a time': ({ context }) => context.writing.length === 2,
  },
  mayEnd: ({ value, open }) => value === 'stopping' || open.length === 0,
})
