/**
 * What the checker plays around a folder's gate: a folder that opens, is not there, goes while a request is worked on; a reader and a writer
 * with approvals of their own, the workspace's file system, a caller that gives up.
 */
import { askedBy, defineModel, type Event, type Pending, type Stimulus, stopping, type View } from '../../checker/model.ts'
import { noRequest } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { type Context, machine, tasks } from './machine.ts'

const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
/** Each request comes on an approval of its own, so that a mix-up would show. */
const approvalOf = (request: number | null) => ({ path: `only-${request}` })
const from = (request: number | null) => ({ request, badge: { from: 'x', session: 's', limits: approvalOf(request) }, caps: [] })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })

type Effect = Extract<Pending, { what: 'effect' }>
/** Effects that carry out a request, not those that open and close the folder. */
const work = ({ pending }: View<Context>): Effect[] =>
  pending.filter((item): item is Effect => item.what === 'effect' && item.params['request'] !== undefined)
const isIn =
  (state: string) =>
  ({ value }: View<Context>): boolean =>
    JSON.stringify(value) === `{"up":"${state}"}`
const opening = isIn('opening')
const serving = isIn('serving')
const lost = isIn('lost')
const stopped = ({ value }: View<Context>): boolean => value === 'stopped'
const isFull = ({ context }: View<Context>): boolean => context.held.length >= limits.held
const isMessage = (event: Event): boolean => 'from' in event
const started = (before: View<Context>, after: View<Context>): Effect[] => {
  const known = new Set(work(before))
  return work(after).filter((item) => !known.has(item))
}
/** Closings of the folder that were asked for. How they end changes nothing, so that the model forgets them. */
const closings = ({ pending }: View<Context>): number =>
  pending.filter((item) => item.what === 'effect' && item.name === 'closeFolder').length
/** What others rely on, whether or not they wait for it. */
const withoutAnswer = new Map([
  ['ninep-close', 'closeNinep'],
  ['mark', 'markCall'],
])

const outcomes = (name: string) => (params: { request: number }) => [
  end({ type: `${name}.done`, reply: {}, request: params.request }),
  end({ type: `${name}.failed`, error: fault('not-found'), request: params.request }),
  end({ type: `${name}.failed`, error: fault('not-found'), gone: true, request: params.request }),
  end({ type: `${name}.crashed`, error: fault('internal'), request: params.request }),
]

type Kind = keyof typeof tasks | 'info'
const kinds: readonly Kind[] = [...(Object.keys(tasks) as (keyof typeof tasks)[]), 'info']
const bodies: Readonly<Partial<Record<Kind, object>>> = {
  read: { path: 'a' },
  write: { path: 'a', content: '' },
  ninep: { conn: 'c', uid: 1, frame: 'f' },
  'ninep-close': { conn: 'c' },
}
const asks = (kind: Kind): Stimulus<Context> => ({
  name: kind,
  event: (_, request) => ({ type: kind, body: bodies[kind] ?? {}, from: from(request) }),
})
const tells = (kind: Kind): Stimulus<Context> => ({
  name: `${kind} that nobody waits for`,
  request: false,
  event: () => ({ type: kind, body: bodies[kind] ?? {}, from: from(null) }),
})
const giveUp: Stimulus<Context> = {
  name: 'give up',
  request: false,
  when: ({ open }) => open.length > 0,
  event: ({ open }) => ({ type: 'cancelled', request: open[0] }),
}

/**
 * @param played what is sent
 * @param seen what is reached with it
 */
const modelOf = (played: readonly Stimulus<Context>[], seen: Readonly<Record<string, (view: View<Context>) => boolean>>) =>
  defineModel<Context>({
    actor: 'fs-gate',
    machine,
    input: { params: { root: '/r', name: 'r', mode: 'rw', changes: '' }, slots: [] },
    stimuli: played,
    effects: {
      openFolder: () => [
        end({ type: 'openFolder.opened', gate: 1, root: '/r' }),
        end({ type: 'openFolder.failed', error: fault('not-found') }),
        end({ type: 'openFolder.crashed', error: fault('internal') }),
      ],
      closeFolder: () => [end({ type: 'closeFolder.closed' })],
      ...Object.fromEntries(Object.values(tasks).map((task) => [task, outcomes(task)])),
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
      'nothing is held but while the folder opens': (view) => view.context.held.length === 0 || opening(view) || stopped(view),
      'no more is held than may be': ({ context }) => context.held.length <= limits.held,
      'while the folder is lost it is known why': (view) => !lost(view) || view.context.trouble !== null,
      'never given up: a folder that is not served is being opened or will be tried again': (view) =>
        serving(view) ||
        stopped(view) ||
        view.pending.some((item) => item.what === 'timer' || (item.what === 'effect' && item.name === 'openFolder')),
    },
    sometimes: seen,
    steps: {
      'work begins only in an open folder': (before, _event, after) =>
        started(before, after).every(({ params }) => serving(after) && params['gate'] === after.context.gate),
      'a request for a folder that is gone is refused at once, with why': (before, event, _after, out) =>
        !lost(before) || askedBy(event) === null || out.some((message) => message.type === 'refuse'),
      'who asks is held, worked for or answered': (before, event, after, out) => {
        const request = askedBy(event)
        if (request === null || stopped(before) || (opening(before) && isFull(before))) return true
        return (
          after.context.held.some((held) => held.from.request === request) ||
          work(after).some(({ params }) => params['request'] === request) ||
          out.some((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === request)
        )
      },
      'whatever comes before the folder is open is held while there is room': (before, event, after) =>
        !opening(before) || !isMessage(event) || isFull(before) || after.context.held.length === before.context.held.length + 1,
      'what nobody waits for is not begun, but for what others rely on': (before, _event, after) =>
        started(before, after).every(({ name, params }) => params['request'] !== noRequest || [...withoutAnswer.values()].includes(name)),
      'what others rely on is begun, though nobody waits for it': (before, event, after) =>
        !serving(before) ||
        !withoutAnswer.has(event.type) ||
        started(before, after).some(({ name }) => name === withoutAnswer.get(event.type)),
      'a folder that opened is served, under the name that its effect gave': (before, event, after) =>
        !opening(before) || event.type !== 'openFolder.opened' || (serving(after) && after.context.gate === event['gate']),
      'a folder is lost when an outcome says that it is gone, and by nothing else': (before, event, after) =>
        !serving(before) || lost(after) === (event.type.endsWith('.failed') && event['gone'] === true),
      'a folder that is lost is closed': (before, _event, after) => lost(before) || !lost(after) || closings(after) > closings(before),
      'told to stop, it stops and closes the folder': (before, event, after) =>
        event.type !== 'stopping' || stopped(before) || (stopped(after) && closings(after) > closings(before)),
    },
    leadsTo: {
      'a request is answered': { from: ({ open }) => open.length > 0, to: (view) => view.open.length === 0 || stopped(view) },
    },
    possible: { 'the folder is served, or the gate was stopped': (view) => serving(view) || stopped(view) },
    // Approvals are this model's own.
    onlyHere: ['what runs has the approval its request came on, and no other'],
    mayEnd: (view) => stopped(view) || serving(view),
  })

const together = {
  stopped,
  'lost while something still runs': (view: View<Context>) => lost(view) && work(view).length > 0,
  'a request was held and is worked for': (view: View<Context>) => serving(view) && work(view).length > 1,
  'served again': (view: View<Context>) => serving(view) && view.context.trouble === null && (view.sent['read'] ?? 0) > 0,
}
const played = [asks('info'), asks('read'), asks('write'), tells('ninep-close'), giveUp, stopping]

export const model = modelOf(played, together)
export const fullModel = modelOf([...played, asks('ninep')], together)

/** As many as may be held, and then one more of any kind. */
const crowd = {
  ...modelOf(
    [
      { ...asks('info'), times: limits.held },
      ...kinds.map((kind) => ({
        ...asks(kind),
        name: `${kind} in a crowd`,
        when: (view: View<Context>) => isFull(view) && Object.keys(view.sent).length === 1,
      })),
    ],
    { 'as many are held as may be': isFull },
  ),
  // The folder stays on its way.
  effects: {},
  leadsTo: {},
  possible: {},
  mayEnd: () => true,
}

/** Models that judge its mutants (`check --mutate`): each kind of message by itself, and a crowd. */
export const judges = [...kinds.map((kind) => modelOf([asks(kind), tells(kind), giveUp, stopping], { lost, stopped })), crowd]
