/**
 * What of consent's doing the audit log keeps, read off each step: questions and how they ended, folders and sessions that come and go, grants
 * taken back. Pure.
 *
 *   step --> entries sent, in order --> a reply that hands out authority waits for the last of them to be on the disk
 *
 * So nobody can use a capability whose grant is not on record. When the log cannot be written, the reply becomes a refusal.
 */
import { fault, type Fault } from '../../kernel/index.ts'
import type { Ask, Context, HostQuestion, Out, Session, Step } from './state.ts'

type Entry = { action: string; session: string | null; data: Record<string, unknown> }
type Event = { type: string; ref?: unknown; body?: unknown; from?: { request: number | null; badge: { session: string | null } } }
type Wish = Pick<Ask, 'session' | 'tool' | 'title'> & { target: Ask['target'] | { kind: 'host'; to: string } }

const recordPrefix = 'audit:'
const isRecord = ({ ref }: Event): boolean => typeof ref === 'string' && ref.startsWith(recordPrefix)

/** The step with its entries; replies that give something wait under `context.held`. */
export function recorded(before: Context, event: Event, step: Step): Step {
  if (isRecord(event)) return step
  const held: Record<string, Extract<Out, { type: 'reply' }>> = {}
  let { next } = step.context
  const out: Out[] = changes(before, step.context, event).map(send)
  for (const message of step.out) {
    const answers = message.type === 'reply' || message.type === 'refuse'
    const entry = answers ? entryOf(message, wishOf(before, event, message.request), step.context) : null
    if (entry) out.push(send(entry))
    if (!entry || message.type !== 'reply') {
      out.push(message)
      continue
    }
    const ref = `${recordPrefix}${next++}`
    held[ref] = message
    out.splice(-1, 1, { ...send(entry), ref })
  }
  return { context: { ...step.context, next, held: { ...step.context.held, ...held } }, out }
}

/** The log has it: the reply that waited leaves. */
export function released(context: Context, ref: string): Step {
  const { [ref]: reply, ...held } = context.held
  return { context: { ...context, held }, out: reply ? [reply] : [] }
}

/** The log cannot have it: what it would have allowed does not happen. */
export function withheld(context: Context, ref: string, { message, cause, code }: Fault): Step {
  const { [ref]: reply, ...held } = context.held
  const error = fault('audit-failed', 'It was not carried out, because it could not be put on record.', {
    cause: code === 'audit-failed' ? (cause ?? message) : message,
  })
  return { context: { ...context, held }, out: reply ? [{ type: 'refuse', request: reply.request, error }] : [] }
}

export const isRecordRef = (ref: string): boolean => ref.startsWith(recordPrefix)

function send({ action, session, data }: Entry): Extract<Out, { type: 'send' }> {
  return { type: 'send', to: 'telemetry', kind: 'audit', body: { action, data: session === null ? data : { session, ...data } } }
}

/** The question a reply or refusal answers. */
function wishOf(before: Context, event: Event, request: number): Wish | null {
  const asked = Object.values(before.asks).find((item) => item.request === request)
  if (asked) return asked
  const host = Object.values(before.hostQuestions).find((item) => item.request === request)
  if (host) return hostWish(host)
  if (event.type !== 'ask' || event.from?.request !== request) return null
  return { ...(event.body as Wish), session: event.from.badge.session ?? '' }
}

function entryOf(message: Extract<Out, { type: 'reply' | 'refuse' }>, wish: Wish | null, context: Context): Entry | null {
  if (message.type === 'refuse') {
    if (!wish) return null
    const { code, rule } = message.error
    return { action: 'permission.refused', session: wish.session, data: { ...shown(wish), code, ...(rule ? { rule } : {}) } }
  }
  const body = message.body as Record<string, unknown>
  if (wish && body['decision'] === 'allow') {
    const { scope, by } = body
    return { action: 'permission.allowed', session: wish.session, data: { ...shown(wish), scope, by } }
  }
  if (typeof body['session'] === 'string' && 'resumed' in body) {
    const { session, hosts, approve, resumed } = body
    return { action: 'session.opened', session, data: { hosts, approve, resumed, model: context.sessions[session]?.model ?? null } }
  }
  return null
}

const hostWish = ({ session, to }: HostQuestion): Wish => ({
  session,
  tool: 'Network',
  title: `Reach ${to}`,
  target: { kind: 'host', to },
})

const shown = ({ tool, title, target }: Wish): Record<string, unknown> => ({ tool, title, target })

/** What the step changed that is not an answer to anyone. */
function changes(before: Context, after: Context, event: Event): Entry[] {
  const asked = Object.entries(after.asks).flatMap(([ref, ask]): Entry[] =>
    before.asks[ref] ? [] : [{ action: 'permission.asked', session: ask.session, data: shown(ask) }],
  )
  const ids = new Set([...Object.keys(before.sessions), ...Object.keys(after.sessions)])
  const kept = [...ids].flatMap((id) => sessionChanges(id, before.sessions[id], after.sessions[id], event))
  const hosts = Object.entries(after.hostQuestions).flatMap(([ref, question]): Entry[] =>
    before.hostQuestions[ref] ? [] : [{ action: 'permission.asked', session: question.session, data: shown(hostWish(question)) }],
  )
  return [...asked, ...hosts, ...kept]
}

function sessionChanges(id: string, was: Session | undefined, is: Session | undefined, { type }: Event): Entry[] {
  if (was === is) return []
  const because = type === 'part' ? 'policy' : type
  const entry = (action: string, data: Record<string, unknown>): Entry => ({ action, session: id, data })
  const had = (was?.folders ?? []).filter(({ held }) => held)
  const has = (is?.folders ?? []).filter(({ held }) => held)
  const same = (one: Session['folders'][number], other: Session['folders'][number]): boolean => one.held?.grant === other.held?.grant
  const connected = has.filter((folder) => !had.some((other) => same(folder, other)))
  const gone = had.filter((folder) => !has.some((other) => same(folder, other)))
  const over = (was?.grants ?? []).filter(({ grant }) => !is?.grants.some((other) => other.grant === grant))
  return [
    ...connected.map(({ name, root, mode, by }) => entry('folder.connected', { name, root, mode, by })),
    ...gone.map(({ name, root }) => entry('folder.disconnected', { name, root, because })),
    ...over.map(({ kind, scope }) => entry('grant.revoked', { kind, scope, because })),
    ...(was && is && was.hosts.some((host) => !is.hosts.includes(host))
      ? [entry('grant.revoked', { kind: 'fetch', scope: was.hosts.join(', '), because })]
      : []),
    ...(was && is && was.approve !== is.approve ? [entry('session.approve-mode', { approve: is.approve })] : []),
    ...(was && !is ? [entry('session.closed', { because })] : []),
  ]
}
