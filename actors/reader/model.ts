/** What the checker plays around the reader: documents, which can be read or not, someone who gives up; and more at once than may be. */
import { defineModel, type Model, type Stimulus, stopping } from '../../checker/model.ts'
import { limits } from './limits.ts'
import { type Context, machine } from './machine.ts'

const from = (request: number) => ({ request, badge: { from: 'x', session: null, limits: {} }, caps: [] })
const page = { html: '<p>x', url: 'https://a.example/', whole: false }
const outcomes = (effect: string) => [
  { event: { type: `${effect}.done`, reply: {} }, ends: true },
  { event: { type: `${effect}.failed`, error: { code: 'unsupported-content', message: 'x', remedy: 'x' } }, ends: true },
  { event: { type: `${effect}.crashed` }, ends: true },
]

const pages = (times: number): Stimulus<Context> => ({
  name: 'page',
  times,
  event: (_, request) => ({ type: 'page', body: page, from: from(request) }),
})
const pdfs = (times: number): Stimulus<Context> => ({
  name: 'pdf',
  times,
  event: (_, request) => ({ type: 'pdf', body: { bytes: new Uint8Array() }, from: from(request) }),
})

const modelOf = (parts: Pick<Model<Context>, 'stimuli' | 'effects' | 'sometimes' | 'leadsTo' | 'mayEnd'>) =>
  defineModel<Context>({
    actor: 'reader',
    machine,
    input: { params: {}, slots: [] },
    ...parts,
    always: {
      'nobody is read for who does not wait': ({ value, open, context }) =>
        value === 'stopping' || context.reading.every((request) => open.includes(request)),
      'whoever waits is being read for': ({ value, open, context }) =>
        value === 'stopping' || open.every((request) => context.reading.includes(request)),
      'no more at once than the limit': ({ context }) => context.reading.length <= limits.atOnce,
    },
    steps: {
      'who is refused for want of room finds none': ({ context }, event, _after, out) =>
        !('from' in event) || context.reading.length === limits.atOnce || out.length === 0,
      'who gave up is read for no longer': (_before, event, { context, value }) =>
        value === 'stopping' || event.type !== 'cancelled' || !context.reading.includes(event['request'] as number),
      'told to stop, it stops': (_before, event, { value }) => event.type !== 'stopping' || value === 'stopping',
    },
    takes: ({ value }) => value === 'serving',
  })

export const model = modelOf({
  stimuli: [
    // Fewer than there may be at once, which is eight: that many are more states than the rest is worth.
    pages(2),
    pdfs(2),
    {
      name: 'cancel',
      request: false,
      when: ({ context }) => context.reading.length > 0,
      event: ({ context }) => ({ type: 'cancelled', request: context.reading[0] }),
    },
    stopping,
  ],
  effects: { readPage: () => outcomes('readPage'), readPdf: () => outcomes('readPdf') },
  sometimes: { 'four at a time': ({ context }) => context.reading.length === 4 },
  leadsTo: {
    'who asks is answered, unless it is stopped': {
      from: ({ open }) => open.length > 0,
      to: ({ open, value }) => open.length === 0 || value === 'stopping',
    },
  },
  mayEnd: ({ value, open }) => value === 'stopping' || open.length === 0,
})

/** More than may be, and none of them ends. */
const crowd = modelOf({
  stimuli: [pages(limits.atOnce + 1), { ...pdfs(1), when: ({ context }) => context.reading.length === limits.atOnce }],
  effects: {},
  sometimes: { 'as many as may be': ({ context }) => context.reading.length === limits.atOnce },
  mayEnd: () => true,
})

/** Models that judge its mutants (`check --mutate`). */
export const judges = [crowd, model]
