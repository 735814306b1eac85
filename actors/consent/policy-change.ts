/**
 * A new policy, applied to everything that runs:
 *
 *   switched off       -> sessions end, openings are refused
 *   folders            -> what may no longer be connected is disconnected; what is capped comes back read-only
 *   hosts, WebFetch    -> the egress capability dies and a narrower one takes its place
 *   tools              -> standing approvals for them die; the conversation no longer offers them
 */
import { noRequest } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import { renewHosts, tellConversation } from './hosts.ts'
import { egressLimits } from './egress-capability.ts'
import { open } from './opening.ts'
import { folderLimit, restrictions, switchedOff, toolRule } from './policy-rules.ts'
import { dropFolder, endSession } from './sessions.ts'
import { history } from './histories.ts'
import { andThen, type Context, type Early, type Grant, refuse, type Step, stay, tell, withSession } from './state.ts'

export function policyChanged(before: Context, policy: Policy): Step {
  const context: Context = { ...before, policy, early: [] }
  const off = switchedOff(policy)
  const applied = off ? switchOff(context) : applyAll(context, before.policy)
  return before.early.reduce((step, asked) => andThen(step, (now) => begin(now, asked)), applied)
}

function begin(context: Context, asked: Early): Step {
  if (asked.kind === 'open') return open(context, asked.request, asked.from, asked.body)
  return history(context, asked.request, asked.kind, asked.body)
}

function switchOff(context: Context): Step {
  const error = context.policy && switchedOff(context.policy)
  if (!error) return stay(context)
  const openings = Object.values(context.openings)
  const busy = new Set(openings.map(({ session }) => session))
  // What an opening has under way is let end and then taken back with the whole session.
  const ended: Context = {
    ...context,
    waiting: [],
    openings: Object.fromEntries(openings.map((opening) => [opening.ref, { ...opening, abandoned: true, fresh: true }])),
  }
  const refused: Step = {
    context: ended,
    out: [...openings.filter(({ abandoned }) => !abandoned), ...context.waiting].map(({ request }) => refuse(request, error)),
  }
  const idle = Object.keys(context.sessions).filter((id) => !busy.has(id))
  return idle.reduce((step, id) => andThen(step, (now) => endSession(now, id)), refused)
}

function applyAll(context: Context, before: Policy | null): Step {
  const { policy } = context
  // Nothing was opened under no policy.
  if (policy === null || before === null) return stay(context)
  return Object.keys(context.sessions).reduce<Step>(
    (step, id) =>
      [applyTools, applyEgress, applyFolders].reduce((last, apply) => andThen(last, (now) => apply(now, id, before, policy)), step),
    stay(context),
  )
}

function applyFolders(context: Context, id: string, _before: Policy, policy: Policy): Step {
  const session = context.sessions[id]
  if (!session) return stay(context)
  const judged = session.folders
    .filter(({ root }) => root !== '')
    .map((folder) => ({ folder, limit: folderLimit(policy, folder.root) }))
    .filter(({ folder, limit }) => limit === null || (limit === 'ro' && folder.mode === 'rw'))
  if (judged.length === 0) return stay(context)
  const dropped = judged.reduce<Step>((step, { folder }) => andThen(step, (now) => dropFolder(now, id, folder.name)), stay(context))
  const told = andThen(dropped, (now) => tellConversation(now, id, policy))
  const capped = judged.filter(({ limit }) => limit === 'ro').map(({ folder }) => ({ path: folder.path, mode: 'ro' as const }))
  if (capped.length === 0) return told
  return andThen(told, (now) => open(now, noRequest, 'policy', { session: id, folders: capped, hosts: [] }))
}

function applyEgress(context: Context, id: string, before: Policy, policy: Policy): Step {
  const session = context.sessions[id]
  if (!session) return stay(context)
  const was = egressLimits(session, before)
  const is = egressLimits(session, policy)
  if (JSON.stringify(was) === JSON.stringify(is)) return stay(context)
  const narrower = was.hosts.some((host) => !is.hosts.includes(host)) || was.kinds.length > is.kinds.length
  return renewHosts(context, id, narrower)
}

function applyTools(context: Context, id: string, before: Policy, policy: Policy): Step {
  const session = context.sessions[id]
  const restricted = restrictions(policy)
  if (!session || JSON.stringify(restrictions(before)) === JSON.stringify(restricted)) return stay(context)
  const tools = ({ kind, tool }: Grant) => (kind === 'exec' ? ['Bash'] : kind === 'write' ? ['Write', 'Edit', 'Move'] : [tool ?? ''])
  const over = session.grants.filter((grant) => tools(grant).some((tool) => toolRule(policy, tool) === 'blocked'))
  const kept = withSession(context, id, (now) => ({ ...now, grants: now.grants.filter((grant) => !over.includes(grant)) }))
  const revoked = over.reduce<Step>((step, { grant }) => andThen(step, (now) => tell(now, 'kernel', 'revoke', { grant })), stay(kept))
  const { conversation } = session
  return andThen(revoked, (now) => (conversation ? tell(now, conversation.slot, 'restrict', restricted) : stay(now)))
}
