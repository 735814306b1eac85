/**
 * Files and the web without the workspace: the production gates and the production supervisor in one system, and somebody who reads or
 * fetches once. Nothing of the supervisor is fair here: its VM may stay as it is for ever, in any state, and who asks is answered all the same.
 */
import { emit, enqueueActions, setup } from 'xstate'
import { model as egress } from '../../actors/egress/model.ts'
import { model as gate } from '../../actors/fs-gate/model.ts'
import { model as supervisor } from '../../actors/vm-supervisor/model.ts'
import { vmState } from '../../actors/vm-supervisor/protocol.ts'
import type { Outgoing } from '../../kernel/types.ts'
import { defineModel, type Model } from '../model.ts'
import { defineSystem, type SystemModel, type SystemView } from '../system.ts'

const session = 's'
const host = 'example.com'

type Asked = { kind: 'read' | 'fetch' } | null
type Context = { asked: Asked; answer: string | null }
const client = setup({
  types: {} as {
    context: Context
    events: { type: 'read' | 'fetch' | 'replied' | 'part' } | { type: 'refused'; error: { code: string } }
    emitted: Outgoing
  },
  actions: {
    read: emit((): Outgoing => ({ type: 'send', to: 'folder', kind: 'read', body: { path: 'a' }, ref: 'ask', deadlineMs: null })),
    fetch: emit(
      (): Outgoing => ({ type: 'send', to: 'egress', kind: 'fetch', body: { url: `https://${host}/` }, ref: 'ask', deadlineMs: null }),
    ),
    keep: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'read' || event.type === 'fetch') enqueue.assign({ asked: { kind: event.type } })
      else enqueue.assign({ answer: event.type === 'refused' ? event.error.code : event.type })
    }),
  },
}).createMachine({
  context: { asked: null, answer: null },
  on: {
    read: { actions: ['keep', 'read'] },
    fetch: { actions: ['keep', 'fetch'] },
    replied: { actions: 'keep' },
    refused: { actions: 'keep' },
    part: {},
  },
})

const end = (event: { type: string; [key: string]: unknown }) => [{ event, ends: true }]
const bare = { stimuli: [], always: {}, sometimes: {}, steps: {}, leadsTo: {}, possible: {} } as const
const folderGate: Model = {
  ...gate,
  ...bare,
  effects: {
    openFolder: () => end({ type: 'openFolder.opened', gate: 1, root: '/r' }),
    readFile: () => end({ type: 'readFile.done', reply: { text: '', truncated: false, lines: 0, sha256: '' } }),
  },
}
const webGate: Model = {
  ...egress,
  ...bare,
  effects: { openUpstream: () => end({ type: 'openUpstream.opened' }), fetchPage: () => end({ type: 'fetchPage.done', reply: {} }) },
  replies: () => [],
}
/** It does whatever it may, when it likes, or nothing. */
const idle = (full: boolean): Model => ({
  ...supervisor,
  ...bare,
  stimuli: supervisor.stimuli.filter(({ name }) => name === 'attach' || name === 'exec' || (full && name === 'restart')),
  fairness: Object.fromEntries(
    ['deliver', 'timer', ...Object.keys(supervisor.effects).map((name) => `effect ${name}`)].map((of) => [of, 'none']),
  ),
})

const clientOf = (view: SystemView): Context => view.actor('client').context as Context
const stateOf = (view: SystemView): string => (view.actor('supervisor').context as { state: string }).state
const works = (view: SystemView, actor: string, effect: string): boolean =>
  view.actor(actor).pending.some((item) => item.what === 'effect' && item.name === effect)

/** Those that need a word of the member or of policy besides are left out, and one in which it does not stay. */
const states = vmState.options.filter((state) => !['off', 'stopping', 'recovering'].includes(state))

export function system(size: 'small' | 'full'): SystemModel {
  const full = size === 'full'
  return defineSystem({
    system: 'files and the web without the workspace',
    actors: {
      supervisor: { model: idle(full) },
      client: {
        model: defineModel<Context>({
          actor: 'client',
          machine: client,
          input: undefined,
          stimuli: (['read', 'fetch'] as const).map((kind) => ({
            name: kind,
            request: false,
            when: ({ context }) => context.asked === null,
            event: () => ({ type: kind }),
          })),
          effects: {},
          always: {},
          sometimes: {},
        }),
        grants: {
          folder: { to: 'folder', limits: { kinds: ['read'], session } },
          egress: { to: 'egress', limits: { kinds: ['fetch'], session, hosts: [host] } },
        },
      },
      folder: { model: folderGate },
      egress: { model: webGate },
    },
    mailbox: 1,
    ...(full ? { faults: { crashes: { times: 1, of: ['supervisor'] } } } : {}),
    always: { 'nobody is refused for the sake of the VM': (view) => ['replied', null].includes(clientOf(view).answer) },
    sometimes: Object.fromEntries(
      states.flatMap((state) => [
        [`a file is read, the VM ${state}`, (view: SystemView) => works(view, 'folder', 'readFile') && stateOf(view) === state],
        [`a page is fetched, the VM ${state}`, (view: SystemView) => works(view, 'egress', 'fetchPage') && stateOf(view) === state],
      ]),
    ),
    leadsTo: {
      'who reads or fetches is answered, though the VM stay as it is for ever': {
        from: (view) => clientOf(view).asked !== null,
        to: (view) => clientOf(view).answer === 'replied',
      },
    },
    mayEnd: true,
  })
}
