/**
 * What the member allows and takes back, from the wish to the gate: the production consent, the production gates of a folder and of the web,
 * and the kernel's own derivations and revocations between them. An agent asks for a write, uses whatever it holds, asked for or not; a member
 * opens a session, allows or denies, looks at the grants and takes the folder or the hosts back at any moment.
 */
import { assign, emit, enqueueActions, setup } from 'xstate'
import { model as consent } from '../../actors/consent/model.ts'
import { model as egress } from '../../actors/egress/model.ts'
import { model as gate } from '../../actors/fs-gate/model.ts'
import type { Outgoing } from '../../kernel/types.ts'
import { defineModel, type Model, type Pending } from '../model.ts'
import { defineSystem, type SystemModel, type SystemView } from '../system.ts'

const session = 's-1'
const host = 'example.com'
const folder = 'sales'
const path = 'a'

type From = { from: { request: number | null; caps: readonly number[] } }
const send = (to: string | number, kind: string, body: unknown, ref: string): Outgoing => ({
  type: 'send',
  to,
  kind,
  body,
  ref,
  deadlineMs: null,
})

/** What an agent may try, each once. `given`: on the capability that an answer brought. */
const tries = {
  ask: (): Outgoing =>
    send('consent', 'ask', { tool: 'Write', title: 'Write a', detail: '+', target: { kind: 'write', folder, path } }, 'ask'),
  'write as allowed': (given: number | null): Outgoing => send(given ?? 'nothing', 'write', { path, content: '' }, 'write'),
  'write once more': (given: number | null): Outgoing => send(given ?? 'nothing', 'write', { path, content: '' }, 'again'),
  'write unasked': (): Outgoing => send(`folder:${folder}`, 'write', { path, content: '' }, 'unasked'),
  read: (): Outgoing => send(`folder:${folder}`, 'read', { path }, 'read'),
  fetch: (): Outgoing => send('egress', 'fetch', { url: `https://${host}/` }, 'fetch'),
} as const
type Try = keyof typeof tries

type AgentContext = { given: number | null }
const agentMachine = setup({
  types: {} as {
    context: AgentContext
    events:
      | { type: 'try'; what: Try }
      | ({ type: 'folders' } & From)
      | { type: 'replied'; ref: string; caps: readonly number[] }
      | { type: 'refused' | 'part' }
    emitted: Outgoing
  },
  actions: {
    try: enqueueActions(({ context, event, enqueue }) => {
      if (event.type === 'try') enqueue.emit(tries[event.what](context.given))
    }),
    keep: assign({
      given: ({ context, event }) => (event.type === 'replied' && event.ref === 'ask' ? (event.caps[0] ?? null) : context.given),
    }),
    answer: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'folders' && event.from.request !== null) enqueue.emit({ type: 'reply', request: event.from.request, body: {} })
    }),
  },
}).createMachine({
  context: { given: null },
  on: { try: { actions: 'try' }, folders: { actions: 'answer' }, replied: { actions: 'keep' }, refused: {}, part: {} },
})

type Grant = { id: string; kind: string }
type MemberContext = {
  /** A question that is open. */
  asked: number | null
  allowed: number
  grants: readonly Grant[]
  /** Kinds of grants taken back, and said to be gone. */
  gone: readonly string[]
}
const memberMachine = setup({
  types: {} as {
    context: MemberContext
    events:
      | { type: 'open' | 'look' }
      | { type: 'take back'; kind: string }
      | { type: 'allow' | 'deny' }
      | ({ type: 'ask-member' } & From)
      | { type: 'cancelled' }
      | { type: 'replied'; ref: string; body: unknown }
      | { type: 'refused' }
    emitted: Outgoing
  },
  actions: {
    open: emit((): Outgoing => {
      const folders = [{ path: `/home/me/${folder}`, mode: 'rw' }]
      return send('consent', 'open', { session, folders, hosts: [host], approve: 'ask' }, 'open')
    }),
    look: emit((): Outgoing => send('consent', 'grants', { session }, 'look')),
    takeBack: emit(({ context, event }): Outgoing => {
      const kind = event.type === 'take back' ? event.kind : ''
      const grant = context.grants.find((one) => one.kind === kind)?.id ?? ''
      return send('consent', 'revoke', { session, grant }, kind)
    }),
    note: assign({ asked: ({ event }) => (event.type === 'ask-member' ? event.from.request : null) }),
    answer: enqueueActions(({ context, event, enqueue }) => {
      const option = event.type === 'allow' ? 'allow-once' : 'deny'
      if (context.asked !== null) enqueue.emit({ type: 'reply', request: context.asked, body: { option, by: 'member' } })
      enqueue.assign({ asked: null, allowed: context.allowed + (event.type === 'allow' ? 1 : 0) })
    }),
    keep: assign(({ context, event }) => {
      if (event.type !== 'replied' || event.ref === 'open') return {}
      return event.ref === 'look'
        ? { grants: (event.body as { grants: readonly Grant[] }).grants.map(({ id, kind }) => ({ id, kind })) }
        : { gone: [...context.gone, event.ref] }
    }),
  },
}).createMachine({
  context: { asked: null, allowed: 0, grants: [], gone: [] },
  on: {
    open: { actions: 'open' },
    look: { actions: 'look' },
    'take back': { actions: 'takeBack' },
    allow: { actions: 'answer' },
    deny: { actions: 'answer' },
    'ask-member': { actions: 'note' },
    cancelled: { actions: 'note' },
    replied: { actions: 'keep' },
    refused: {},
  },
})

const around = { input: undefined, effects: {}, always: {}, sometimes: {}, mayEnd: () => true } as const
const agent = (wanted: readonly Try[]): Model =>
  defineModel<AgentContext>({
    actor: 'conversation',
    machine: agentMachine,
    ...around,
    stimuli: wanted.map((what) => ({
      name: what,
      request: false,
      when: ({ context }) => (what === 'write as allowed' || what === 'write once more' ? context.given !== null : true),
      event: () => ({ type: 'try', what }),
    })),
  })

const member = (takes: readonly string[]): Model =>
  defineModel<MemberContext>({
    actor: 'member',
    machine: memberMachine,
    ...around,
    stimuli: [
      { name: 'open', request: false, event: () => ({ type: 'open' }) },
      { name: 'look', request: false, when: ({ sent }) => sent['open'] === 1, event: () => ({ type: 'look' }) },
      ...['allow', 'deny'].map((type) => ({
        name: type,
        request: false,
        when: ({ context }: { context: MemberContext }) => context.asked !== null,
        event: () => ({ type }),
      })),
      ...takes.map((kind) => ({
        name: `take back ${kind}`,
        request: false,
        when: ({ context }: { context: MemberContext }) => context.grants.some((one) => one.kind === kind),
        event: () => ({ type: 'take back', kind }),
      })),
    ],
  })

const consenting: Model = {
  ...consent,
  stimuli: consent.stimuli.filter(({ name }) => name === 'policy tells'),
  replies: (request, view) => (request.kind === 'watch' ? [] : (consent.replies?.(request, view) ?? []).slice(0, 1)),
  always: {},
  sometimes: {},
  steps: {},
  leadsTo: {},
}
const end = (event: { type: string; [key: string]: unknown }) => [{ event, ends: true }]
/** What was begun is kept, so that it can be counted. */
const folderGate: Model = {
  ...gate,
  input: { params: { root: `/home/me/${folder}`, name: folder, mode: 'rw', changes: '' }, slots: [] },
  stimuli: [],
  effects: { openFolder: () => end({ type: 'openFolder.opened', gate: 1, root: `/home/me/${folder}` }) },
  always: {},
  sometimes: {},
  steps: {},
  leadsTo: {},
  possible: {},
}
const webGate: Model = {
  ...egress,
  stimuli: [],
  effects: { openUpstream: () => end({ type: 'openUpstream.opened' }) },
  replies: () => [],
  // With the hosts it may reach, which are what is asked about here.
  projectPending: (item, view) => (item.what === 'effect' && item.name === 'fetchPage' ? item : egress.projectPending?.(item, view)),
  always: {},
  sometimes: {},
  steps: {},
  leadsTo: {},
  possible: {},
}

type Effect = Extract<Pending, { what: 'effect' }>
const begun = (view: SystemView, actor: string, ...names: string[]): Effect[] =>
  view.actor(actor).pending.filter((item): item is Effect => item.what === 'effect' && names.includes(item.name))
const memberOf = (view: SystemView): MemberContext => view.actor('member').context as MemberContext
const grantOf = ({ params }: Effect) => params['grant'] as { path?: string; session?: string; kinds?: readonly string[] }
const hostsOf = ({ params }: Effect) => (params['bearer'] as { hosts: readonly string[] }).hosts

/** Fetches that may reach the host. */
const reaching = (view: SystemView): Effect[] => begun(view, 'egress', 'fetchPage').filter((effect) => hostsOf(effect).includes(host))

/** Slots of consent that lead to what is not asked about here. */
const elsewhere = ['mcp', 'workspace', 'reader', 'journal', 'telemetry', 'policy'] as const

export function system(size: 'small' | 'full'): SystemModel {
  const full = size === 'full'
  const wanted: readonly Try[] = full ? ['fetch'] : ['ask', 'write as allowed', 'write once more', 'write unasked', 'read']
  return defineSystem({
    system: `permissions, from the wish to the gate ${full ? 'of the web' : 'of a folder'}`,
    actors: {
      member: { model: member([full ? 'fetch' : 'folder']), grants: { consent: { to: 'consent' } } },
      consent: {
        model: consenting,
        mailbox: 4,
        grants: {
          kernel: { to: 'kernel' },
          gateway: { to: 'member', limits: { kinds: ['ask-member'] } },
          self: { to: 'consent' },
          egress: { to: 'egress' },
          ...Object.fromEntries(elsewhere.map((slot) => [slot, { to: 'elsewhere' }])),
        },
      },
      agent: { model: agent(wanted) },
      folder: { model: folderGate },
      ...(full ? { egress: { model: webGate } } : {}),
    },
    instances: { 'fs-gate': 'folder', conversation: 'agent' },
    always: {
      'nothing is written without the member’s word for it': (view) => begun(view, 'folder', 'writeFile').length <= memberOf(view).allowed,
      'what is written is what was asked about, in the session that asked': (view) =>
        begun(view, 'folder', 'writeFile').every((effect) => grantOf(effect).path === path && grantOf(effect).session === session),
    },
    steps: {
      'a folder that was taken back is not used once that is acknowledged': (before, _step, after) =>
        !memberOf(before).gone.includes('folder') ||
        begun(after, 'folder', 'readFile', 'writeFile').length === begun(before, 'folder', 'readFile', 'writeFile').length,
      ...(full
        ? {
            'hosts that were taken back are not reached once that is acknowledged': (
              before: SystemView,
              _step: unknown,
              after: SystemView,
            ) => !memberOf(before).gone.includes('fetch') || reaching(after).length <= reaching(before).length,
          }
        : {}),
    },
    sometimes: full
      ? {
          'a page of an allowed host is fetched': (view) => reaching(view).length > 0,
          'the hosts were taken back, and that is acknowledged': (view) => memberOf(view).gone.includes('fetch'),
        }
      : {
          'a file is written': (view) => begun(view, 'folder', 'writeFile').length === 1,
          'a file is read': (view) => begun(view, 'folder', 'readFile').length === 1,
          'the folder was taken back, and that is acknowledged': (view) => memberOf(view).gone.includes('folder'),
        },
    mayEnd: true,
  })
}
