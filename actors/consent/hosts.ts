/**
 * Hosts of a session: what its egress capability carries, how the member widens or narrows it, and the question about one that is not
 * listed. One capability carries them all, so a change is a new capability, and a narrower one first ends the old.
 */
import { fault, type Fault, noRequest } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import { canonicalHostPattern } from './host-overlap.ts'
import { maxHosts } from './limits.ts'
import { renewEgress, view } from './opening.ts'
import { allowedHosts } from './policy-rules.ts'
import { unknownSession } from './sessions.ts'
import {
  andThen,
  type Context,
  type HostQuestion,
  type Opening,
  refuse,
  type Session,
  type Step,
  stay,
  type Task,
  tell,
  withSession,
  without,
} from './state.ts'

/** `allow-host` and `drop-host` from the gateway. */
export function editHosts(context: Context, request: number, id: string, pattern: string, allowed: boolean): Step {
  const session = context.sessions[id]
  if (!session) return stay(context, refuse(request, unknownSession(id)))
  const host = canonicalHostPattern(pattern)
  if (host === null) return stay(context, refuse(request, fault('bad-settings', `${JSON.stringify(pattern)} is not a host pattern.`)))
  const others = session.hosts.filter((one) => canonicalHostPattern(one) !== host)
  if (!allowed && others.length === session.hosts.length)
    return stay(context, refuse(request, fault('not-found', `Session ${id} has no host ${host}.`)))
  if (allowed && others.length >= maxHosts) return stay(context, refuse(request, tooMany()))
  return andThen(setHosts(context, id, allowed ? [...others, host] : others), (now) => stay(now, { type: 'reply', request, body: {} }))
}

function setHosts(context: Context, id: string, hosts: readonly string[]): Step {
  const narrower = context.sessions[id]?.hosts.some((host) => !hosts.includes(host)) ?? false
  return renewHosts(
    withSession(context, id, (session) => ({ ...session, hosts })),
    id,
    narrower,
  )
}

/** The session's hosts, or what policy leaves of them, changed: its conversation gets the capability it may have now. */
export function renewHosts(context: Context, id: string, narrower: boolean): Step {
  const session = context.sessions[id]
  const { policy } = context
  if (!session || policy === null) return stay(context)
  const gone = narrower ? [...session.outgrown, ...(session.egress ? [session.egress] : [])] : []
  const revoked = gone.reduce<Step>((step, { grant }) => andThen(step, (now) => tell(now, 'kernel', 'revoke', { grant })), stay(context))
  const opening = Object.values(context.openings).find((item) => item.session === id)
  const renewed = andThen(revoked, (now) => (opening ? stay(renewLater(now, opening)) : renewNow(now, session, narrower)))
  return andThen(renewed, (now) => tellConversation(now, id, policy))
}

function renewNow(context: Context, session: Session, narrower: boolean): Step {
  const changed = narrower ? withSession(context, session.id, (now) => ({ ...now, egress: null, outgrown: [] })) : context
  return renewEgress(changed, noRequest, { ...session, ...(narrower ? { egress: null } : {}) })
}

/** The session is being opened: right after the task that runs, it gets the capability it may have now. */
function renewLater(context: Context, opening: Opening): Context {
  const [running, ...rest] = opening.tasks
  if (!running) return context
  const others = rest.filter((task) => task.do !== 'derive-egress' && task.do !== 'endow-egress')
  const spawns = others.some((task) => task.do === 'spawn-conversation')
  const has = running.do === 'spawn-conversation' || context.sessions[opening.session ?? '']?.conversation != null
  const tasks: Task[] = [running, { do: 'derive-egress' }, ...(has && !spawns ? [{ do: 'endow-egress' } as const] : []), ...others]
  return { ...context, openings: { ...context.openings, [opening.ref]: { ...opening, tasks } } }
}

/** The folders it still has and the hosts it may reach now. */
export function tellConversation(context: Context, id: string, policy: Policy): Step {
  const session = context.sessions[id]
  if (!session?.conversation) return stay(context)
  const folders = session.folders.filter(({ held }) => held).map(view)
  return tell(context, session.conversation.slot, 'folders', { folders, hosts: [...allowedHosts(policy, session.hosts)] })
}

/** `explain-host` from the gateway: what the session would be told of the address. The answer is egress's. */
export function explainHost(context: Context, request: number, id: string, url: string): Step {
  const session = context.sessions[id]
  if (!session) return stay(context, refuse(request, unknownSession(id)))
  if (!session.egress) return stay(context, refuse(request, fault('not-now', `Session ${id} is being opened.`)))
  const ref = `explain:${context.next}`
  const noted: Context = { ...context, next: context.next + 1, explains: { ...context.explains, [ref]: request } }
  return stay(noted, { type: 'send', to: session.egress.slot, kind: 'explain', body: { url }, ref })
}

/** What egress said, or why it did not. */
export function explained(context: Context, ref: string, outcome: { body: unknown } | { error: Fault }): Step {
  const request = context.explains[ref]
  if (request === undefined) return stay(context)
  const answer = 'error' in outcome ? refuse(request, outcome.error) : { type: 'reply' as const, request, body: outcome.body }
  return stay({ ...context, explains: without(context.explains, ref) }, answer)
}

/** `ask-host` from egress: the session wants to reach a host nobody decided about. */
export function askHost(context: Context, request: number, body: { session: string; host: string; port: number }): Step {
  const session = context.sessions[body.session]
  if (!session) return stay(context, refuse(request, unknownSession(body.session)))
  const to = `${body.host}:${body.port}`
  // Answered for another request meanwhile; the capability that says so is on its way.
  if (session.hosts.includes(to)) return stay(context, reply(request, 'session', 'member'))
  const objection = against(session, to)
  if (objection) return stay(context, refuse(request, objection))
  const ref = `host:${context.next}`
  const question: HostQuestion = { request, session: session.id, to }
  return stay(
    { ...context, next: context.next + 1, hostQuestions: { ...context.hostQuestions, [ref]: question } },
    {
      type: 'send',
      to: 'gateway',
      kind: 'ask-member',
      ref,
      deadlineMs: null,
      body: {
        session: session.id,
        id: ref,
        tool: 'Network',
        title: `Reach ${to}`,
        detail: `Something in this session wants to reach ${body.host} on port ${body.port}, which is not among the allowed hosts. Whatever the session knows could be sent there.`,
        options: [
          { id: 'allow-once', label: 'Allow once', scope: 'once' },
          { id: 'allow-session', label: `Allow for this session: ${to}`, scope: 'session' },
          { id: 'allow-always', label: `Always allow, in every session: ${to}`, scope: 'always' },
          { id: 'deny', label: 'Deny', scope: null },
        ],
      },
    },
  )
}

function against({ approve }: Session, to: string): Fault | null {
  const remedy = 'Do without it, or the member allows the host: `bulkhead egress allow`, or `--allow-host` for one session.'
  if (approve === 'none') return fault('denied', 'This run allows nothing that needs approval.', { rule: 'approve mode none', remedy })
  // Unasked approval of any host would hand whatever the session knows to whoever wrote the page it reads.
  if (approve === 'all')
    return fault('denied', `Approve mode all does not cover hosts, and ${to} is not listed.`, { rule: 'approve mode all', remedy })
  return null
}

export function hostAnswered(context: Context, ref: string, body: unknown): Step {
  const question = context.hostQuestions[ref]
  if (!question) return stay(context)
  const { option, by: who } = (typeof body === 'object' && body !== null ? body : {}) as { option?: unknown; by?: unknown }
  const by = typeof who === 'string' ? who : 'member'
  const { request, to, session: id } = question
  const forgotten: Context = { ...context, hostQuestions: without(context.hostQuestions, ref) }
  const session = context.sessions[id]
  if (!session) return stay(forgotten, refuse(request, unknownSession(id)))
  const objection = against(session, to)
  if (objection) return stay(forgotten, refuse(request, objection))
  switch (option) {
    case 'allow-once':
      return stay(forgotten, reply(request, 'once', by))
    case 'allow-session': {
      if (session.hosts.length >= maxHosts) return stay(forgotten, refuse(request, tooMany()))
      const hosts = session.hosts.includes(to) ? session.hosts : [...session.hosts, to]
      return andThen(setHosts(forgotten, id, hosts), (now) => stay(now, reply(request, 'session', by)))
    }
    case 'allow-always':
      return andThen(tell(forgotten, 'egress', 'change-rule', { rule: { change: 'allow', pattern: to }, session: null }), (now) =>
        stay(now, reply(request, 'always', by)),
      )
    default:
      return stay(forgotten, refuse(request, fault('denied', 'The member said no.', { rule: `answer of ${by}` })))
  }
}

export function hostRefused(context: Context, ref: string, error: Fault): Step {
  const question = context.hostQuestions[ref]
  if (!question) return stay(context)
  return stay({ ...context, hostQuestions: without(context.hostQuestions, ref) }, refuse(question.request, error))
}

/** Egress does not want to know any more: the question is taken off the member's screen. Nor does who asked what egress says. */
export function hostWithdrawn(context: Context, request: number): Step {
  const explaining = Object.keys(context.explains).find((ref) => context.explains[ref] === request)
  if (explaining !== undefined)
    return stay({ ...context, explains: without(context.explains, explaining) }, { type: 'cancel', ref: explaining })
  const found = Object.entries(context.hostQuestions).find(([, question]) => question.request === request)
  if (!found) return stay(context)
  return stay({ ...context, hostQuestions: without(context.hostQuestions, found[0]) }, { type: 'cancel', ref: found[0] })
}

function reply(request: number, scope: 'once' | 'session' | 'always', by: string) {
  return { type: 'reply' as const, request, body: { decision: 'allow' as const, scope, by } }
}

function tooMany(): Fault {
  return fault('overloaded', `The session has ${maxHosts} hosts.`, { rule: `at most ${maxHosts} hosts` })
}
