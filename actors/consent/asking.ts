/**
 * One question, from a conversation's wish to the capability that allows exactly that:
 *
 *   ask -> rules (read-only, mode) -> standing grant -> the member -> time -> derive -> reply with the capability
 *      \-> a tool of a server: first what the MCP host knows to be decided about it
 */
import { fault } from '../../kernel/index.ts'
import type { Delegation, Fault, Limits } from '../../kernel/index.ts'
import { filePath } from './names.ts'
import type { Policy } from '../policy/protocol.ts'
import { toolDenied, toolRule } from './policy-rules.ts'
import { unknownSession } from './sessions.ts'
import {
  type Ask,
  type Context,
  folderScope,
  type Grant,
  type Held,
  refuse,
  type Session,
  type Step,
  stay,
  type Target,
  tell,
  withSession,
  without,
} from './state.ts'

const toolOfKind = { write: 'Write', edit: 'Edit', 'multi-edit': 'Edit', move: 'Move' } as const
const writeKinds = ['write', 'edit', 'multi-edit', 'move'] as const

/** The tool an action counts as. What the conversation calls it matters only between the two ways to write. */
function toolOf({ tool, target }: Pick<Ask, 'tool' | 'target'>): string {
  if (target.kind === 'mcp') return target.tool
  if (target.kind === 'exec') return 'Bash'
  if (target.act !== undefined) return target.act === 'delete' ? 'Delete' : 'Move'
  return tool === 'Edit' || tool === 'MultiEdit' ? 'Edit' : 'Write'
}

/** Never covered by what was allowed before, and never allowed beyond this once. */
function isSingle(target: Target): boolean {
  return target.kind === 'write' && (target.act === 'delete' || target.protected !== undefined || target.mass !== undefined)
}

/** The ways to write that policy leaves. */
function writableKinds(policy: Policy | null): readonly string[] {
  return writeKinds.filter((name) => policy === null || toolRule(policy, toolOfKind[name]) !== 'blocked')
}

export function ask(
  context: Context,
  request: number,
  session: string | null,
  wish: Pick<Ask, 'tool' | 'title' | 'detail' | 'target' | 'untrusted'>,
): Step {
  const known = session === null ? undefined : context.sessions[session]
  if (!known) return stay(context, refuse(request, unknownSession(session ?? '(none)')))
  const target = exact(wish.target)
  const objection = target
    ? against(known, { ...wish, target }, context.policy)
    : fault('bad-path', `"${wish.target.kind === 'write' ? wish.target.path : ''}" names no file in the folder.`)
  if (!target || objection) return stay(context, refuse(request, objection ?? fault('bad-path', 'The path names no file.')))

  const asked: Ask = { ...wish, request, session: known.id, target, decision: null }
  if (target.kind === 'mcp') return askRule(context, asked, target.tool)
  return decide(context, known, asked)
}

/** A tool of a server: what is decided about it is the MCP host's to say; a conversation's word would not do. */
function askRule(context: Context, asked: Ask, tool: string): Step {
  const ref = `rule:${context.next}`
  return stay(
    { ...context, next: context.next + 1, asks: { ...context.asks, [ref]: asked } },
    { type: 'send', to: 'mcp', kind: 'tool-rule', body: { tool }, ref },
  )
}

/** The MCP host answered: the tool may be called, at once or once the member agrees. */
export function ruled(context: Context, ref: string, body: unknown): Step {
  const asked = context.asks[ref]
  if (!asked) return stay(context)
  const forgotten: Context = { ...context, asks: without(context.asks, ref) }
  const session = context.sessions[asked.session]
  if (!session) return stay(forgotten, refuse(asked.request, unknownSession(asked.session)))
  const { decision, rule } = (typeof body === 'object' && body !== null ? body : {}) as { decision?: unknown; rule?: unknown }
  if (decision === 'allow' && !mustAsk(context, asked) && !asksAgain(context, asked))
    return once(forgotten, session, asked, typeof rule === 'string' ? rule : 'tool rule')
  const objection = refusedByMode(session)
  return objection ? stay(forgotten, refuse(asked.request, objection)) : decide(forgotten, session, asked)
}

function mustAsk({ policy }: Context, asked: Ask): boolean {
  if (asked.target.kind === 'write' && asked.target.protected !== undefined) return true
  return policy !== null && toolRule(policy, toolOf(asked)) === 'ask'
}

function decide(context: Context, known: Session, asked: Ask): Step {
  const { target } = asked
  const standing = asksAgain(context, asked) ? undefined : standingGrant(known, target)
  if (standing) return allow(context, known, asked, standing, 'session', standing.by)
  if (!mustAsk(context, asked) && (known.approve === 'all' || (known.approve === 'edits' && target.kind === 'write' && !isSingle(target))))
    return once(context, known, asked, `approve mode ${known.approve}`)

  const ref = `ask:${context.next}`
  return stay(
    { ...context, next: context.next + 1, asks: { ...context.asks, [ref]: asked } },
    {
      type: 'send',
      to: 'gateway',
      kind: 'ask-member',
      ref,
      deadlineMs: null,
      body: {
        session: known.id,
        id: ref,
        tool: asked.tool,
        title: asked.title,
        detail: warned(context, asked),
        options: options(context, asked),
      },
    },
  )
}

function exact(target: Target): Target | null {
  if (target.kind !== 'write') return target
  const path = filePath(target.path)
  const to = target.to === undefined ? undefined : filePath(target.to)
  return path === null || to === null || (target.act === 'move') !== (to !== undefined)
    ? null
    : { ...target, path, ...(to === undefined ? {} : { to }) }
}

/** What forbids it whoever would be asked. */
function against(session: Session, wish: Pick<Ask, 'tool' | 'target'>, policy: Policy | null): Fault | null {
  const { target } = wish
  if (policy && toolRule(policy, toolOf(wish)) === 'blocked') return toolDenied(policy, toolOf(wish))
  if (target.kind === 'write') {
    const folder = session.folders.find(({ name, held }) => name === target.folder && held)
    if (!folder) return fault('outside-folder', `There is no connected folder ${target.folder}.`)
    if (folder.mode === 'ro')
      return fault('read-only', `${folderScope(folder.name)} is connected read-only.`, { rule: `${folderScope(folder.name)} ro` })
  }
  // What is decided about a tool is not known yet; where nobody need be asked, no mode refuses it.
  return target.kind === 'mcp' ? null : refusedByMode(session)
}

function refusedByMode(session: Session): Fault | null {
  if (session.approve === 'none')
    return fault('denied', 'This run allows nothing that needs approval.', {
      rule: 'approve mode none',
      remedy: 'Do without it, or the member can run again with another `--approve` mode.',
    })
  return null
}

function sessionScope(target: Target): string {
  if (target.kind === 'write') return `write in ${folderScope(target.folder)}`
  return target.kind === 'exec' ? 'run commands in the workspace' : `call ${target.tool}`
}

function warned(context: Context, asked: Ask): string {
  const { target, detail, untrusted = [] } = asked
  const lines = asksAgain(context, asked) ? [`Read before this, and perhaps the reason for it: ${untrusted.join(', ')}.`] : []
  if (target.kind === 'write' && target.protected !== undefined)
    lines.push(`Protected: programs on this device run or obey this file (${target.protected}).`)
  return [...lines, detail].join('\n')
}

/** The data-flow rule: what was allowed for the session, or for good, was allowed before somebody else's words were in the turn. */
function asksAgain({ policy }: Context, { untrusted = [] }: Ask): boolean {
  return untrusted.length > 0 && (policy === null || policy.values.untrustedContentAsksAgain)
}

/** A yes for the session would not cover the next one in this turn either. */
function options(context: Context, asked: Ask) {
  const { target } = asked
  if (isSingle(target) || asksAgain(context, asked))
    return [
      { id: 'allow-once', label: 'Allow once', scope: 'once' },
      { id: 'deny', label: 'Deny', scope: null },
    ]
  return [
    { id: 'allow-once', label: 'Allow once', scope: 'once' },
    { id: 'allow-session', label: `Allow for this session: ${sessionScope(target)}`, scope: 'session' },
    { id: 'deny', label: 'Deny', scope: null },
  ]
}

function standingGrant(session: Session, target: Target): Grant | undefined {
  if (isSingle(target)) return undefined
  return session.grants.find((grant) => {
    if (grant.kind !== target.kind) return false
    if (target.kind === 'write') return grant.folder === target.folder
    return target.kind === 'exec' || grant.tool === target.tool
  })
}

/** The gateway brought the member's answer. Only the two allowing options allow; whatever else came is a no. */
export function answered(context: Context, ref: string, body: unknown): Step {
  const asked = context.asks[ref]
  if (!asked) return stay(context)
  const answer = (typeof body === 'object' && body !== null ? body : {}) as { option?: unknown; by?: unknown }
  const by = typeof answer.by === 'string' ? answer.by : 'member'
  const forgotten: Context = { ...context, asks: without(context.asks, ref) }
  const session = context.sessions[asked.session]
  if (!session) return stay(forgotten, refuse(asked.request, unknownSession(asked.session)))
  const objection = against(session, asked, context.policy) ?? refusedByMode(session)
  if (objection) return stay(forgotten, refuse(asked.request, objection))
  if (answer.option === 'allow-once') return once(forgotten, session, asked, by)
  if (answer.option !== 'allow-session' || isSingle(asked.target) || asksAgain(context, asked))
    return stay(forgotten, refuse(asked.request, fault('denied', 'The member said no.', { rule: `answer of ${by}` })))
  const standing = standingGrant(session, asked.target)
  if (standing) return allow(forgotten, session, asked, standing, 'session', standing.by)
  return stay(
    { ...context, asks: { ...context.asks, [ref]: { ...asked, decision: { scope: 'session', by, at: null } } } },
    { type: 'effect', name: 'stamp', ref },
  )
}

/** The time of a decision that stands for the session: now its capability is derived, so that it can be taken back. */
export function stamped(context: Context, ref: string, at: number): Step {
  const asked = context.asks[ref]
  const session = asked && context.sessions[asked.session]
  if (!asked?.decision || !session) return stay(context)
  const decision = { ...asked.decision, at }
  const source = base(session, asked.target)
  if (!source)
    return stay(
      { ...context, asks: without(context.asks, ref) },
      refuse(asked.request, fault('revoked', 'The folder was disconnected meanwhile.')),
    )
  const limits: Limits = { ...lastingLimits(asked.target, context.policy), session: session.id }
  return stay(
    { ...context, asks: { ...context.asks, [ref]: { ...asked, decision } } },
    {
      type: 'send',
      to: 'kernel',
      kind: 'derive',
      body: {},
      ref,
      caps: [{ slot: source, limits, reason: `${sessionScope(asked.target)}, allowed by ${decision.by}` }],
    },
  )
}

/** The capability of a standing grant is there: it is kept on record and handed to the conversation. */
export function derived(context: Context, ref: string, body: unknown, caps: readonly number[]): Step {
  const asked = context.asks[ref]
  const decision = asked?.decision
  const grant = typeof body === 'object' && body !== null && 'grant' in body ? body.grant : undefined
  const [slot] = caps
  const usable = typeof grant === 'number'
  // Withdrawn while it was derived: nobody may hold what nobody can see.
  if (!asked || !decision) return usable ? tell(context, 'kernel', 'revoke', { grant }) : stay(context)
  const forgotten: Context = { ...context, asks: without(context.asks, ref) }
  if (slot === undefined || !usable)
    return stay(forgotten, refuse(asked.request, fault('internal', 'The kernel\'s reply to "derive" is not as agreed.')))
  const late = context.policy && toolRule(context.policy, toolOf(asked)) === 'blocked' ? toolDenied(context.policy, toolOf(asked)) : null
  if (late) {
    const revoked = tell(forgotten, 'kernel', 'revoke', { grant })
    return { ...revoked, out: [...revoked.out, refuse(asked.request, late)] }
  }
  const { target } = asked
  const holder = forgotten.sessions[asked.session]
  if (holder && base(holder, target) === null) {
    // The folder was taken back while this was derived: what is dead already must not stay on record.
    const revoked = tell(forgotten, 'kernel', 'revoke', { grant })
    return { ...revoked, out: [...revoked.out, refuse(asked.request, fault('revoked', 'The folder was disconnected meanwhile.'))] }
  }
  const record: Grant = {
    grant,
    slot,
    kind: target.kind,
    folder: target.kind === 'write' ? target.folder : null,
    tool: target.kind === 'mcp' ? target.tool : null,
    scope: sessionScope(target),
    by: decision.by,
    at: decision.at ?? 0,
    reason: asked.title,
  }
  const recorded = withSession(forgotten, asked.session, (session) => ({ ...session, grants: [...session.grants, record] }))
  const session = recorded.sessions[asked.session]
  if (!session) return stay(forgotten, refuse(asked.request, unknownSession(asked.session)))
  return allow(recorded, session, asked, record, 'session', decision.by)
}

/** Asking the member, or deriving, was refused: so is the wish. */
export function askRefused(context: Context, ref: string, error: Fault): Step {
  const asked = context.asks[ref]
  if (!asked) return stay(context)
  return stay({ ...context, asks: without(context.asks, ref) }, refuse(asked.request, error))
}

/** The conversation does not want to know any more: the question is taken off the member's screen. */
export function withdrawn(before: Context, request: number): Step {
  // An answer that waits for the audit log would answer nobody any more.
  const held = Object.fromEntries(Object.entries(before.held).filter(([, waiting]) => waiting.request !== request))
  const context: Context = { ...before, held }
  const found = Object.entries(context.asks).find(([, item]) => item.request === request)
  if (!found) return stay(context)
  const [ref, asked] = found
  const rest: Context = { ...context, asks: without(context.asks, ref) }
  return asked.decision ? stay(rest) : stay(rest, { type: 'cancel', ref })
}

function base(session: Session, target: Target): number | string | null {
  if (target.kind === 'exec') return 'workspace'
  if (target.kind === 'mcp') return 'mcp'
  return session.folders.find(({ name }) => name === target.folder)?.held?.slot ?? null
}

function once(context: Context, session: Session, asked: Ask, by: string): Step {
  const { target } = asked
  const slot = base(session, target)
  if (slot === null) return stay(context, refuse(asked.request, fault('revoked', 'The folder was disconnected meanwhile.')))
  const limits: Limits = {
    ...lastingLimits(target, context.policy),
    ...(target.kind === 'write' ? onlyThis(target, context.policy) : {}),
    session: session.id,
    uses: 1,
  }
  return reply(context, asked, { slot, limits, reason: `${asked.title}, once, allowed by ${by}` }, 'once', by)
}

/** A move's two ends lie in the folder they share; nothing else may happen there with it. */
function onlyThis({ path, act, to, ...target }: Extract<Target, { kind: 'write' }>, policy: Policy | null): Limits {
  const approved = [...(target.protected === undefined ? [] : ['protected']), ...(target.mass === undefined ? [] : ['mass'])]
  const tools = approved.length === 0 ? {} : { tools: approved }
  if (act === 'delete') return { kinds: ['delete'], path, ...tools }
  if (act !== 'move' || to === undefined) return { kinds: writableKinds(policy).filter((kind) => kind !== 'move'), path, ...tools }
  const other = to.split('/')
  const from = path.split('/')
  const end = from.findIndex((part, index) => other[index] !== part)
  return { kinds: ['move'], path: from.slice(0, end === -1 ? from.length : end).join('/'), ...tools }
}

/** What a capability for such a target is good for at most. */
function lastingLimits(target: Target, policy: Policy | null): Limits {
  if (target.kind === 'write') return { kinds: writableKinds(policy) }
  return target.kind === 'exec' ? { kinds: ['exec', 'job'] } : { kinds: ['call'], tools: [target.tool] }
}

function allow(context: Context, session: Session, asked: Ask, held: Held, scope: 'once' | 'session', by: string): Step {
  return reply(context, asked, { slot: held.slot, limits: { session: session.id } }, scope, by)
}

function reply(context: Context, { request }: Ask, cap: Delegation, scope: 'once' | 'session', by: string): Step {
  return stay(context, { type: 'reply', request, body: { decision: 'allow', scope, by }, caps: [cap] })
}
