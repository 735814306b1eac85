/**
 * What the checker plays around a folder's gate: a folder that opens, is not there, goes while a request is worked on; a reader and a writer
 * with approvals of their own, the workspace's file system, a caller that gives up.
 */
import { defineModel, type Pending, type View } from '../../checker/model.ts'
import { type Context, machine } from './machine.ts'

const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
/** Each request comes on an approval of its own, so that a mix-up would show. */
const approvalOf = (request: number | null) => ({ path: `only-${request}` })
const from = (request: number | null) => ({ request, badge: { from: 'x', session: 's', limits: approvalOf(request) }, caps: [] })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })

type Effect = Extract<Pending, { what: 'effect' }>
/** Effects that carry out a request, not those that open and close the folder. */
const work = ({ pending }: View<Context>): Effect[] =>
  pending.filter((item): item is Effect => item.what === 'effect' && item.params['request'] !== undefined)
const serving = ({ value }: View<Context>): boolean => JSON.stringify(value) === '{"up":"serving"}'
const lost = ({ value }: View<Context>): boolean => JSON.stringify(value) === '{"up":"lost"}'
const started = (before: View<Context>, after: View<Context>): Effect[] => {
  const known = new Set(work(before))
  return work(after).filter((item) => !known.has(item))
}

const outcomes = (name: string) => (params: { request: number }) => [
  end({ type: `${name}.done`, reply: {}, request: params.request }),
  end({ type: `${name}.failed`, error: fault('not-found'), request: params.request }),
  end({ type: `${name}.failed`, error: fault('not-found'), gone: true, request: params.request }),
  end({ type: `${name}.crashed`, error: fault('internal'), request: params.request }),
]

/** @param ninep whether the workspace's file system asks as well */
const modelOf = (ninep: boolean) =>
  defineModel<Context>({
    actor: 'fs-gate',
    machine,
    input: { params: { root: '/r', name: 'r', mode: 'rw', changes: '' }, slots: [] },
    stimuli: [
      { name: 'info', event: (_, request) => ({ type: 'info', body: {}, from: from(request) }) },
      { name: 'read', event: (_, request) => ({ type: 'read', body: { path: 'a' }, from: from(request) }) },
      { name: 'write', event: (_, request) => ({ type: 'write', body: { path: 'a', content: '' }, from: from(request) }) },
      {
        name: 'ninep',
        when: () => ninep,
        event: (_, request) => ({ type: 'ninep', body: { conn: 'c', uid: 1, frame: 'f' }, from: from(request) }),
      },
      { name: 'ninep-close', request: false, event: () => ({ type: 'ninep-close', body: { conn: 'c' }, from: from(null) }) },
      {
        name: 'give up',
        request: false,
        when: ({ open }) => open.length > 0,
        event: ({ open }) => ({ type: 'cancelled', request: open[0] }),
      },
      { name: 'stopping', request: false, event: () => ({ type: 'stopping' }) },
    ],
    effects: {
      openFolder: () => [
        end({ type: 'openFolder.opened', gate: 1, root: '/r' }),
        end({ type: 'openFolder.failed', error: fault('not-found') }),
        end({ type: 'openFolder.crashed', error: fault('internal') }),
      ],
      closeFolder: () => [end({ type: 'closeFolder.closed' })],
      readFile: outcomes('readFile'),
      writeFile: outcomes('writeFile'),
      serveNinep: outcomes('serveNinep'),
      closeNinep: outcomes('closeNinep'),
    },
    // How closing ends changes nothing.
    projectPending: (item) => (item.what === 'effect' && item.name === 'closeFolder' ? undefined : item),
    always: {
      'who waits is held while the folder opens, or worked for': (view) =>
        view.open.every(
          (request) =>
            view.context.held.some((held) => held.from.request === request) ||
            work(view).some(({ params }) => params['request'] === request),
        ),
      'what runs has the approval its request came on, and no other': (view) =>
        work(view).every(({ params }) => {
          const { request, grant } = params as { request: number; grant: { path?: string } }
          return request === -1 || grant.path === approvalOf(request).path
        }),
      'nothing is held but while the folder opens': (view) =>
        view.context.held.length === 0 || JSON.stringify(view.value) === '{"up":"opening"}' || view.value === 'stopped',
      'never given up: a folder that is not served is being opened or will be tried again': (view) =>
        serving(view) || view.value === 'stopped' || view.pending.length > 0,
    },
    sometimes: {
      'a request was held and is worked for': (view) => serving(view) && work(view).length > 1,
      'lost while something still runs': (view) => lost(view) && work(view).length > 0,
      'served again': (view) => serving(view) && view.context.trouble === null && (view.sent['read'] ?? 0) > 0,
      stopped: ({ value }) => value === 'stopped',
    },
    steps: {
      'work begins only in an open folder': (before, _event, after) =>
        started(before, after).every(({ params }) => serving(after) && params['gate'] === after.context.gate),
      'a request for a folder that is gone is refused at once, with why': (before, event, _after, out) =>
        !lost(before) ||
        !('from' in event) ||
        (event['from'] as { request: number | null }).request === null ||
        out.some((message) => message.type === 'refuse'),
    },
    leadsTo: {
      'a request is answered': { from: ({ open }) => open.length > 0, to: ({ open, value }) => open.length === 0 || value === 'stopped' },
    },
    possible: { 'the folder is served, or the gate was stopped': (view) => serving(view) || view.value === 'stopped' },
    // Approvals are this model's own.
    onlyHere: ['what runs has the approval its request came on, and no other'],
    mayEnd: ({ value }) => value === 'stopped' || JSON.stringify(value) === '{"up":"serving"}',
  })

export const model = modelOf(false)
export const fullModel = modelOf(true)
