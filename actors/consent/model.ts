/**
 * What the checker plays around consent: a member who opens a session with a folder and a host, asks for a write and a command, answers or
 * never answers, takes the folder back, closes; a kernel that spawns and derives, or refuses; policy that goes and comes back. Also one
 * errand, which has the session for itself: a look at the grants, at what was changed, at a host; another mode; hosts allowed and taken
 * back; a host that egress asks about. Or what was changed is asked for before there is a session, and before policy has told.
 */
import { defineModel, type Event, stopping, type View } from '../../checker/model.ts'
import { machine } from './machine.ts'
import type { Outgoing } from '../../kernel/index.ts'
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
const serving = ({ value }: View<Context>): boolean => value === 'serving'
const asking = ({ open }: View<Context>): number[] => open.filter((request) => request >= 300 && request < 500)

/** Allowing answers to questions that this step decided: they wait for the audit log. */
const decided = (before: View<Context>, after: View<Context>) =>
  Object.entries(after.context.held).flatMap(([ref, reply]) =>
    before.context.held[ref] || !asking(before).includes(reply.request) ? [] : [reply],
  )

const watches = ({ pending }: View<Context>, ref: string): boolean => pending.some((item) => item.what === 'request' && item.ref === ref)
/** Requests that somebody or something is to answer. */
const waiting = ({ asks, held, hostQuestions, histories, explains, openings, waiting: later, early }: Context): number[] => {
  const records: readonly Readonly<Record<string, { request: number }>>[] = [asks, held, hostQuestions, histories, openings]
  const known = [...records.flatMap((record) => Object.values(record)), ...later, ...early]
  return [...known.map(({ request }) => request), ...Object.values(explains)]
}

/** Another folder than the session's that has a store of changes. */
const earlier = { root: '/home/me/earlier', name: 'earlier', key: 'e', at: 1 }
const host = 'example.com'

/** What a member, or egress, may want besides; each is one request. */
const errands: Readonly<Record<string, object>> = {
  grants: { session },
  'approve-mode': { session, approve: 'edits' },
  changes: {},
  undo: { folder: '/home/me/sales' },
  redo: { folder: earlier.root },
  recent: {},
  'ask-host': { session, host: 'other.example', port: 443 },
  'allow-host': { session, host: 'third.example' },
  'drop-host': { session, host },
  'explain-host': { session, url: `https://${host}/` },
  revoke: { session, grant: String(grants.egress) },
}
const errandName = (kind: string): string => `errand: ${kind}`
/** What was changed is looked at, or taken back, before policy has told what is in force. */
const earlyName = (kind: string): string => `early: ${kind}`
const ranEarly = ({ sent }: View<Context>): boolean => ['changes', 'undo'].some((kind) => sent[earlyName(kind)] !== undefined)
const ranErrand = ({ sent }: View<Context>): boolean => Object.keys(errands).some((kind) => sent[errandName(kind)] !== undefined)
/** The errand's request, while it is open. */
const errandOf = (view: View<Context>): number | undefined => view.open.find((request) => request >= 1000)
const asked = ({ sent }: View<Context>): boolean => sent['ask to write'] === 1 || sent['ask to run'] === 1

/**
 * Numbers of refs only tell them apart: here they are in order, whatever came before. One that nobody waits under has none, nor has a gate
 * that was started to look at changes: whose it is says where it stands.
 */
const numbered = /\b(ask|rule|history|open|host|explain|audit):(\d+)/g
const places = new WeakMap<Context, ReadonlyMap<string, number>>()
function renamed(context: Context, text: string): string {
  let known = places.get(context)
  if (known === undefined) {
    const numbers = new Set([...JSON.stringify({ ...context, next: 0 }).matchAll(numbered)].map(([, , number]) => number as string))
    known = new Map([...numbers].toSorted((a, b) => Number(a) - Number(b)).map((number, place) => [number, place]))
    places.set(context, known)
  }
  return text
    .replaceAll(numbered, (_, kind: string, number: string) => `${kind}:${known.get(number) ?? 'gone'}`)
    .replaceAll(/fs-gate:undo\.\d+/g, 'fs-gate:undo')
}

const sends = (out: readonly Outgoing[], kind: string, grant: number | undefined): boolean =>
  out.some((message) => message.type === 'send' && message.kind === kind && (message.body as { grant?: number }).grant === grant)

export const model = defineModel<Context>({
  actor: 'consent',
  machine,
  input: undefined,
  stimuli: [
    {
      name: 'policy tells',
      request: false,
      when: (view: View<Context>) => watches(view, 'policy'),
      event: () => ({ type: 'part', ref: 'policy', kind: 'watch', body: { policy } }),
    },
    {
      name: 'open',
      event: (_: View<Context>, request: number) => ({
        type: 'open',
        body: { session, folders: [{ path: '/home/me/sales', mode: 'rw' }], hosts: [host], approve: 'ask' },
        from: from(request),
      }),
    },
    {
      name: 'ask to write',
      when: (view: View<Context>) => opened(view) && !ranErrand(view) && !ranEarly(view),
      event: (_: View<Context>, request: number) => ({
        type: 'ask',
        body: { tool: 'Write', title: 'Write a', detail: '+', target: { kind: 'write', folder: 'sales', path: 'a' } },
        from: from(request, session),
      }),
    },
    {
      name: 'ask to run',
      when: (view: View<Context>) => opened(view) && !ranErrand(view) && !ranEarly(view),
      event: (_: View<Context>, request: number) => ({
        type: 'ask',
        body: { tool: 'Bash', title: 'Run ls', detail: 'ls', target: { kind: 'exec', command: 'ls' } },
        from: from(request, session),
      }),
    },
    {
      name: 'take the folder back',
      when: (view: View<Context>) => opened(view) && !ranErrand(view) && !ranEarly(view),
      event: (_: View<Context>, request: number) => ({
        type: 'revoke',
        body: { session, grant: String(grants.folder) },
        from: from(request),
      }),
    },
    {
      name: 'close',
      when: opened,
      event: (_: View<Context>, request: number) => ({ type: 'close', body: { session }, from: from(request) }),
    },
    {
      name: 'give up',
      request: false,
      when: (view: View<Context>) => asking(view).length > 0,
      event: (view: View<Context>) => ({ type: 'cancelled', request: asking(view)[0] }),
    },
    {
      name: 'give the errand up',
      request: false,
      when: (view: View<Context>) => errandOf(view) !== undefined,
      event: (view: View<Context>): Event => ({ type: 'cancelled', request: errandOf(view) }),
    },
    { ...stopping, when: ({ open, context }: View<Context>) => open.length === 0 && Object.keys(context.openings).length === 0 },
    ...Object.entries(errands).map(([kind, asks]) => ({
      name: errandName(kind),
      when: (view: View<Context>) => opened(view) && !ranErrand(view) && !ranEarly(view) && !asked(view) && view.open.length === 0,
      event: (_: View<Context>, request: number): Event => ({ type: kind, body: asks, from: from(request) }),
    })),
    ...(['changes', 'undo'] as const).map((kind) => ({
      name: earlyName(kind),
      when: (view: View<Context>) => view.context.policy === null && !ranEarly(view),
      event: (_: View<Context>, request: number): Event => ({ type: kind, body: errands[kind], from: from(request) }),
    })),
  ].map(({ when, ...stimulus }) => ({ ...stimulus, when: (view: View<Context>) => serving(view) && when?.(view) !== false })),
  effects: {
    mint: () => [{ event: { type: 'mint.done', name: 's-new', at: 1 }, ends: true }],
    stamp: () => [{ event: { type: 'stamp.done', at: 2 }, ends: true }],
    pause: () => [{ event: { type: 'pause.done' }, ends: true }],
    rest: () => [{ event: { type: 'rest.done' }, ends: true }],
    recall: () =>
      [[], [{ ...earlier, root: '/home/me/sales' }, earlier]].map((folders) => ({ event: { type: 'recall.done', folders }, ends: true })),
  },
  replies: ({ ref, kind, body }, { context }) => {
    const replied = (answer: unknown, caps: readonly number[] = []) => ({ type: 'replied', ref, kind, body: answer, caps })
    const refused = (code: string) => ({ type: 'refused', ref, kind, error: fault(code) })
    switch (kind) {
      // They go on for good, or policy goes down; what they say are stimuli.
      case 'watch-restarts':
        return []
      case 'watch':
        return Object.keys({ ...context.sessions, ...context.openings }).length === 0 ? [replied({}), refused('actor-down')] : []
      case 'changes':
      case 'undo':
      case 'redo':
        return [replied({}), refused('nothing-to-undo')]
      case 'explain':
        return [replied({}), refused('actor-down')]
      case 'spawn': {
        const { kind: actor, instance } = body as { kind: string; instance: string }
        return [replied({ id: `${actor}:${instance}` }, [actor === 'fs-gate' ? slots.gate : slots.conversation]), refused('overloaded')]
      }
      case 'info':
        return [
          replied({ root: '/home/me/sales', name: 'sales', mode: 'rw' }),
          refused('not-found'),
          ...(context.openings[ref]?.tries === 0 ? [refused('not-now')] : []),
        ]
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
          ...(ref.startsWith('host:') ? [replied({ option: 'allow-always', by: 'member' })] : []),
          replied({ option: 'deny', by: 'member' }),
          refused('no-one-to-ask'),
        ]
      case 'audit':
        return ref.startsWith('audit:') ? [replied({}), refused('audit-failed')] : [replied({})]
      default:
        return [replied({})]
    }
  },
  project: (context) => JSON.parse(renamed(context, JSON.stringify({ ...context, next: 0 }))) as unknown,
  projectPending: (item, { context }) =>
    item.what === 'effect'
      ? [item.name, renamed(context, String(item.params['ref']))]
      : item.what === 'timer'
        ? item
        : item.ref.startsWith('told:')
          ? undefined
          : [item.kind, renamed(context, item.ref), item.cancelled === true],
  always: {
    'whoever asked waits for the member, for policy, or for a capability': (view) =>
      asking(view).every((request) =>
        [...Object.values(view.context.asks), ...Object.values(view.context.held)].some((item) => item.request === request),
      ),
    'whoever asks for anything is known to wait': (view) =>
      !serving(view) || view.open.every((request) => waiting(view.context).includes(request)),
    'policy and restarts are watched, or asked for again in a moment': (view) =>
      !serving(view) ||
      (watches(view, 'restarts') &&
        (watches(view, 'policy') || view.pending.some((item) => item.what === 'effect' && item.name === 'rest'))),
    'a grant is on record as long as it can be used': ({ context }) =>
      Object.values(context.sessions).every(({ folders, grants: standing }) =>
        standing.every(({ kind, folder }) => kind !== 'write' || folders.some(({ name }) => name === folder)),
      ),
  },
  sometimes: {
    'a session is open': opened,
    'an errand waits': (view) => errandOf(view) !== undefined && !ranEarly(view),
    'what was changed is asked for before policy is known': ({ context }) => context.early.some(({ kind }) => kind !== 'open'),
    'what was asked before policy was known is worked on while a session opens': (view) =>
      ranEarly(view) && Object.keys(view.context.histories).length > 0 && Object.keys(view.context.openings).length > 0,
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
    'hosts that are taken back cannot be used from that step on': (before, event, _after, out) => {
      const { egress = null, hosts = [] } = before.context.sessions[session] ?? {}
      const { body } = event as { body?: { grant?: string; host?: string } }
      const takes =
        (event.type === 'revoke' && body?.grant === String(egress?.grant)) ||
        (event.type === 'drop-host' && body?.host !== undefined && hosts.includes(body.host))
      return !takes || egress === null || sends(out, 'revoke', egress.grant) || out.some(({ type }) => type === 'refuse')
    },
    'who closes a session takes back all it was given': (before, event, after, out) => {
      const was = before.context.sessions[session]
      if (event.type !== 'close' || !was || out.some(({ type }) => type === 'refuse')) return true
      const given = [...was.folders.flatMap(({ held }) => (held ? [held] : [])), ...(was.egress ? [was.egress] : []), ...was.outgrown]
      return after.context.sessions[session] === undefined && given.every(({ grant }) => sends(out, 'revoke', grant))
    },
    'a gate that was started to look at changes is stopped with that': (before, _event, after, out) =>
      Object.values(before.context.histories).every(
        ({ ref, at }) =>
          !at?.own ||
          after.context.histories[ref]?.at?.own === at.own ||
          out.some((message) => message.type === 'send' && message.kind === 'stop' && (message.body as { id: string }).id === at.own),
      ),
    'told to stop, it stops': (_before, event, { value }) => event.type !== 'stopping' || value === 'stopping',
    'a revoke is acknowledged only once the kernel is told': (before, event, _after, out) => {
      if (event.type !== 'revoke' || (event['body'] as { grant: string }).grant !== String(grants.folder)) return true
      const told = out.findIndex((message) => message.type === 'send' && message.kind === 'revoke')
      const acknowledged = out.findIndex((message) => message.type === 'reply')
      const had = before.context.sessions[session]?.folders.some(({ held }) => held?.grant === grants.folder) === true
      return !had || (told >= 0 && told < acknowledged)
    },
  },
  leadsTo: {
    'whoever asks gets an answer, if the member gives one': {
      from: ({ open, sent }) => open.length > 0 && sent['policy tells'] === 1,
      to: (view) => view.open.length === 0 || !serving(view),
    },
  },
  takes: serving,
  // Policy may stay, and nobody knows when it goes.
  fairness: { 'reply watch': 'none' },
  onlyHere: [
    'told to stop, it stops',
    'whoever asks for anything is known to wait',
    'policy and restarts are watched, or asked for again in a moment',
    'hosts that are taken back cannot be used from that step on',
    'who closes a session takes back all it was given',
    'whoever asked waits for the member, for policy, or for a capability',
    'nothing that needs approval is allowed without it',
    'what is decided to be handed over is held',
    'an allowing answer leaves only once the audit log has it',
    'a gate that was started to look at changes is stopped with that',
    'a revoke is acknowledged only once the kernel is told',
  ],
  mayEnd: ({ open, sent, value }) => value === 'stopping' || open.length === 0 || sent['policy tells'] !== 1,
})
