/**
 * The product at small bounds: policy that changes once, consent, a conversation that wants to run a command, and (in the full size) the
 * supervisor. The member, the model, the kernel's spawn and derive, and what a command does are around it. Between the actors are the
 * production router and the capability that consent derives for the one command.
 */
import { model as consent } from '../../actors/consent/model.ts'
import type { Context as ConsentContext } from '../../actors/consent/state.ts'
import type { Context as ConversationContext } from '../../actors/conversation/context.ts'
import { model as conversation } from '../../actors/conversation/model.ts'
import { model as policy } from '../../actors/policy/model.ts'
import { model as supervisor } from '../../actors/vm-supervisor/model.ts'
import type { Model, View } from '../model.ts'
import { defineSystem, type SystemModel, type SystemView } from '../system.ts'

const session = 's-1'
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const source = (values: object) => [{ kind: 'managed-file', place: '/m', state: 'present', values }]

/** Everything is allowed at first; then the organization switches the product off. */
const changingPolicy: Model = {
  ...policy,
  stimuli: [],
  effects: {
    observe: (_: never, { context }: View<{ known: unknown }>) => [
      { event: { type: 'observe.read', sources: source(context.known === null ? {} : { isEnabledForOrganization: false }) }, ends: false },
    ],
  },
  sometimes: {},
}

const consenting: Model = {
  ...consent,
  stimuli: consent.stimuli
    .filter(({ name }) => ['open', 'close'].includes(name))
    .map((stimulus) =>
      stimulus.name === 'open'
        ? {
            ...stimulus,
            event: (view: View<ConsentContext>, request: number) => {
              const event = stimulus.event(view, request)
              return { ...event, body: { ...(event['body'] as object), folders: [] } }
            },
          }
        : stimulus,
    ),
}

const bash = { type: 'tool_use', id: 'run', name: 'Bash', input: { command: 'ls' } }
const usage = { input: 1, output: 1 }

const running: Model = {
  ...conversation,
  stimuli: conversation.stimuli.filter(({ name }) => ['prompt', 'interrupt'].includes(name)),
  effects: {
    prepareTurn: () => [end({ type: 'prepareTurn.ready', date: '2026-01-01', practice: true, serverTools: [], serverNotes: [] })],
    callModel: (_: never, { context }: View<ConversationContext>) => [
      context.turn?.modelCalls === 1
        ? end({ type: 'callModel.done', content: [bash], stopReason: 'tool_use', usage })
        : end({ type: 'callModel.done', content: [{ type: 'text', text: 'done' }], stopReason: 'end_turn', usage }),
    ],
    runTool: () => [
      end({
        type: 'runTool.done',
        answers: [{ body: { exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/' }, output: '' }],
        durationMs: 1,
      }),
    ],
  },
  replies: ({ ref, kind }) => [{ type: 'replied', ref, kind, body: kind === 'read' ? { entries: [] } : { seq: 1 }, caps: [] }],
  always: Object.fromEntries(Object.entries(conversation.always).filter(([name]) => !conversation.onlyHere?.includes(name))),
  sometimes: {},
}

const attaching: Model = { ...supervisor, stimuli: supervisor.stimuli.filter(({ name }) => name === 'exec'), sometimes: {} }

const conversationOf = (view: SystemView): ConversationContext => view.actor('conversation').context as ConversationContext
const consentOf = (view: SystemView): ConsentContext => view.actor('consent').context as ConsentContext
const asked = (view: SystemView): boolean => conversationOf(view).turn?.calls.some(({ phase }) => phase === 'asking') === true
const runs = (view: SystemView): { to: unknown }[] =>
  view
    .actor('conversation')
    .pending.flatMap((item) => (item.what === 'effect' && item.name === 'runTool' ? (item.params['calls'] as { to: unknown }[]) : []))
const switchedOff = (view: SystemView): boolean => consentOf(view).policy?.values.isEnabledForOrganization === false

type Clists = {
  clists: [string, [number, { cap: number }][]][]
  caps: [number, { limits: { kinds?: string[]; uses?: number; session?: string } }][]
}

export function system(size: 'small' | 'full'): SystemModel {
  const full = size === 'full'
  return defineSystem({
    system: `the whole${full ? ', with the supervisor' : ''}`,
    actors: {
      policy: { model: changingPolicy },
      consent: {
        model: consenting,
        grants: {
          policy: { to: 'policy', limits: { kinds: ['watch'] } },
          workspace: { to: full ? 'supervisor' : 'policy', limits: { kinds: ['exec'] } },
        },
      },
      conversation: { model: running, grants: { consent: { to: 'consent', limits: { kinds: ['ask'], session } } } },
      ...(full ? { supervisor: { model: attaching, grants: { policy: { to: 'policy', limits: { kinds: ['watch'] } } } } } : {}),
    },
    mailbox: 2,
    faults: { revocations: { 'the way to consent': { holder: 'conversation', slot: 'consent' } } },
    always: {
      'a command runs on a capability good for one command of this session, and no other': (view) =>
        runs(view).every(({ to }) => {
          const { clists, caps } = view.capabilities as Clists
          const slot = clists.find(([holder]) => holder === 'conversation')?.[1].find(([number]) => number === to)
          const limits = caps.find(([id]) => id === slot?.[1].cap)?.[1].limits
          return limits?.uses === 1 && limits.session === session && limits.kinds?.join() === 'exec'
        }),
      'a session outlives the switch only while its opening is taken back': (view) =>
        !switchedOff(view) ||
        Object.keys(consentOf(view).sessions).every((id) =>
          Object.values(consentOf(view).openings).some((opening) => opening.session === id),
        ),
    },
    sometimes: {
      'a command runs': (view) => runs(view).length > 0,
      'the product is switched off while a question is open': (view) => switchedOff(view) && asked(view),
    },
    leadsTo: {
      'a question is answered': { from: asked, to: (view) => !asked(view) },
      'switched off, no session stays': { from: switchedOff, to: (view) => Object.keys(consentOf(view).sessions).length === 0 },
    },
    mayEnd: true,
  })
}
