/**
 * What the checker plays around consent: a member who opens a session with a folder and a host, asks for a write and a command, answers or
 * never answers, takes the folder back, closes; a kernel that spawns and derives, or refuses.
 */
import { defineModel, type View } from '../../checker/model.ts'
import { machine } from './machine.ts'
import type { Policy } from '../policy/protocol.ts'
import type { Context } from './state.ts'

const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
const from = (request: number, session: string | null = null) => ({ request, badge: { from: 'x', session, limits: {} }, caps: [] })
const session = 's-1'
const policy = {
  values: {
    isEnabledForOrganization: true,
    allowedWorkspaceFolders: null,
    coworkEgressAllowedHosts: null,
    disabledBuiltinTools: [],
    builtinToolPolicy: {},
    otlpEndpoint: null,
    otlpContentCapture: [],
  },
  decidedBy: {},
  failedClosed: false,
} as unknown as Policy

/** Numbers the kernel of this model gives. */
const grants = { folder: 1, egress: 2, standing: 3 }
const slots = { gate: 101, conversation: 102, folder: 201, egress: 202, standing: 203 }

const opened = ({ context }: View<Context>): boolean =>
  context.sessions[session]?.conversation != null && Object.keys(context.openings).length === 0
const asking = ({ open }: View<Context>): number[] => open.filter((request) => request >= 300 && request < 500)

/** Allowing answers to questions that this step decided: they wait for the audit log. */
const decided = (before: View<Context>, after: View<Context>) =>
  Object.entries(after.context.held).flatMap(([ref, reply]) =>
    before.context.held[ref] || !asking(before).includes(reply.request) ? [] : [reply],
  )

export const model = defineModel<Context>({
  actor: 'consent',
  machine,
  input: undefined,
  stimuli: [
    {
      name: 'policy tells',
      request: false,
      event: () => ({ type: 'part', ref: 'policy', kind: 'watch', body: { policy } }),
    },
    {
      name: 'open',
      event: (_, request) => ({
        type: 'open',
        body: { session, folders: [{ path: '/home/me/sales', mode: 'rw' }], hosts: ['example.com'], approve: 'ask' },
        from: from(request),
      }),
    },
    {
      name: 'ask to write',
      when: opened,
      event: (_, request) => ({
        type: 'ask',
        body: { tool: 'Write', title: 'Write a', detail: '+', target: { kind: 'write', folder: 'sales', path: 'a' } },
        from: from(request, session),
      }),
    },
    {
      name: 'ask to run',
      when: opened,
      event: (_, request) => ({
        type: 'ask',
        body: { tool: 'Bash', title: 'Run ls', detail: 'ls', target: { kind: 'exec', command: 'ls' } },
        from: from(request, session),
      }),
    },
    {
      name: 'take the folder back',
      when: opened,
      event: (_, request) => ({ type: 'revoke', body: { session, grant: String(grants.folder) }, from: from(request) }),
    },
    { name: 'close', when: opened, event: (_, request) => ({ type: 'close', body: { session }, from: from(request) }) },
    {
      name: 'give up',
      request: false,
      when: (view) => asking(view).length > 0,
      event: (view) => ({ type: 'cancelled', request: asking(view)[0] }),
    },
  ],
  effects: {
    mint: () => [{ event: { type: 'mint.done', name: 's-new', at: 1 }, ends: true }],
    stamp: () => [{ event: { type: 'stamp.done', at: 2 }, ends: true }],
    pause: () => [{ event: { type: 'pause.done' }, ends: true }],
    rest: () => [{ event: { type: 'rest.done' }, ends: true }],
  },
  replies: ({ ref, kind, body }, { context }) => {
    const replied = (answer: unknown, caps: readonly number[] = []) => ({ type: 'replied', ref, kind, body: answer, caps })
    const refused = (code: string) => ({ type: 'refused', ref, kind, error: fault(code) })
    switch (kind) {
      // They go on for good; what they say are stimuli.
      case 'watch':
      case 'watch-restarts':
        return []
      case 'spawn': {
        const { kind: actor, instance } = body as { kind: string; instance: string }
        return [replied({ id: `${actor}:${instance}` }, [actor === 'fs-gate' ? slots.gate : slots.conversation]), refused('overloaded')]
      }
      case 'info':
        return [replied({ root: '/home/me/sales', name: 'sales', mode: 'rw' }), refused('not-found')]
      case 'sessions':
        return [replied({ sessions: [] })]
      case 'derive': {
        const task = context.openings[ref]?.tasks[0]?.do
        const what = task === 'derive-folder' ? 'folder' : task === 'derive-egress' ? 'egress' : 'standing'
        return [replied({ grant: grants[what] }, [slots[what]]), refused('revoked')]
      }
      case 'ask-member':
        return [
          replied({ option: 'allow-once', by: 'member' }),
          replied({ option: 'allow-session', by: 'member' }),
          replied({ option: 'deny', by: 'member' }),
          refused('no-one-to-ask'),
        ]
      case 'audit':
        return ref.startsWith('audit:') ? [replied({}), refused('audit-failed')] : [replied({})]
      default:
        return [replied({})]
    }
  },
  project: ({ next: _next, ...context }) => context,
  projectPending: (item) =>
    item.what === 'effect'
      ? [item.name, item.params['ref']]
      : item.what === 'timer'
        ? item
        : item.ref.startsWith('told:')
          ? undefined
          : [item.kind, item.ref, item.cancelled === true],
  always: {
    'whoever asked waits for the member, for policy, or for a capability': (view) =>
      asking(view).every((request) =>
        [...Object.values(view.context.asks), ...Object.values(view.context.held)].some((item) => item.request === request),
      ),
    'a grant is on record as long as it can be used': ({ context }) =>
      Object.values(context.sessions).every(({ folders, grants: standing }) =>
        standing.every(({ kind, folder }) => kind !== 'write' || folders.some(({ name }) => name === folder)),
      ),
  },
  sometimes: {
    'a session is open': opened,
    'a permission stands': ({ context }) => (context.sessions[session]?.grants.length ?? 0) > 0,
    'the folder was taken back': ({ context, sent }) =>
      sent['take the folder back'] === 1 && context.sessions[session]?.folders.length === 0,
  },
  steps: {
    'nothing that needs approval is allowed without it': (before, event, after) =>
      decided(before, after).every(({ request }) => {
        const ask = Object.values(before.context.asks).find((item) => item.request === request)
        const member =
          event.type === 'replied' && event['kind'] === 'ask-member' && (event['body'] as { option: string }).option === 'allow-once'
        const standing = (before.context.sessions[session]?.grants.length ?? 0) > 0
        return member || standing || ask?.decision != null
      }),
    'an allowing answer leaves only once the audit log has it': (before, event, _after, out) =>
      out.every(
        (message) =>
          message.type !== 'reply' ||
          !asking(before).includes(message.request) ||
          (event.type === 'replied' && before.context.held[String(event['ref'])]?.request === message.request),
      ),
    // Taken back while it waits for the audit log: the router refuses to hand it on.
    'what is decided to be handed over is held': (before, _event, after) =>
      decided(before, after).every(({ caps = [] }) => {
        const now = after.context.sessions[session]
        const held = [
          ...(now?.folders.flatMap((folder) => (folder.held ? [folder.held.slot] : [])) ?? []),
          ...(now?.grants.map(({ slot }) => slot) ?? []),
        ]
        return caps.every(({ slot }) => slot === 'workspace' || held.includes(Number(slot)))
      }),
    'a revoke is acknowledged only once the kernel is told': (before, event, _after, out) => {
      if (event.type !== 'revoke') return true
      const told = out.findIndex((message) => message.type === 'send' && message.kind === 'revoke')
      const acknowledged = out.findIndex((message) => message.type === 'reply')
      const had = before.context.sessions[session]?.folders.some(({ held }) => held?.grant === grants.folder) === true
      return !had || (told >= 0 && told < acknowledged)
    },
  },
  leadsTo: {
    'whoever asks gets an answer, if the member gives one': {
      from: (view) => asking(view).length > 0,
      to: (view) => asking(view).length === 0,
    },
  },
  onlyHere: [
    'whoever asked waits for the member, for policy, or for a capability',
    'nothing that needs approval is allowed without it',
    'what is decided to be handed over is held',
    'an allowing answer leaves only once the audit log has it',
    'a revoke is acknowledged only once the kernel is told',
  ],
  mayEnd: ({ open, sent }) => open.length === 0 || sent['policy tells'] !== 1,
})
