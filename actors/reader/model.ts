/** What the checker plays around the reader: more documents than it takes at once, which can be read or not, and someone who gives up. */
import { defineModel } from '../../checker/model.ts'
import { limits } from './limits.ts'
import { type Context, machine } from './machine.ts'

const from = (request: number) => ({ request, badge: { from: 'x', session: null, limits: {} }, caps: [] })
const page = { html: '<p>x', url: 'https://a.example/', whole: false }
const outcomes = (effect: string) => [
  { event: { type: `${effect}.done`, reply: {} }, ends: true },
  { event: { type: `${effect}.failed`, error: { code: 'unsupported-content', message: 'x', remedy: 'x' } }, ends: true },
  { event: { type: `${effect}.crashed` }, ends: true },
]

export const model = defineModel<Context>({
  actor: 'reader',
  machine,
  input: { params: {}, slots: [] },
  stimuli: [
    { name: 'page', times: 2, event: (_, request) => ({ type: 'page', body: page, from: from(request) }) },
    { name: 'pdf', times: 2, event: (_, request) => ({ type: 'pdf', body: { bytes: new Uint8Array() }, from: from(request) }) },
    {
      name: 'cancel',
      request: false,
      when: ({ context }) => context.reading.length > 0,
      event: ({ context }) => ({ type: 'cancelled', request: context.reading[0] }),
    },
    { name: 'stopping', request: false, event: () => ({ type: 'stopping' }) },
  ],
  effects: { readPage: () => outcomes('readPage'), readPdf: () => outcomes('readPdf') },
  always: {
    'whoever waits is being read for': ({ value, open, context }) =>
      value === 'stopping' || open.every((request) => context.reading.includes(request)),
    'no more at once than the limit': ({ context }) => context.reading.length <= limits.atOnce,
  },
  sometimes: {
    'two at a time': ({ context }) => context.reading.length === 2,
  },
  mayEnd: ({ value, open }) => value === 'stopping' || open.length === 0,
})
