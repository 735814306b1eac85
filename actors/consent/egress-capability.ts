/** The capability of egress a session holds, and what of it its conversation and its programs get. Pure. */
import type { Delegation } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import { allowedHosts, toolRule } from './policy-rules.ts'
import { type Context, type Session, type Step, stay, tell } from './state.ts'

const toolOfKind: Readonly<Record<string, string>> = {
  read: 'Read',
  glob: 'Glob',
  grep: 'Grep',
  list: 'List',
  fetch: 'WebFetch',
  search: 'WebSearch',
}

export function permitted<Kind extends string>(policy: Policy | null, kinds: readonly Kind[]): Kind[] {
  return kinds.filter((kind) => policy === null || toolRule(policy, toolOfKind[kind] ?? kind) !== 'blocked')
}

/** What programs of the workspace use. */
const tunnelKinds = ['connect', 'tunnel-data', 'authority'] as const
/** What a conversation uses; it opens no connections itself. */
const conversationKinds = ['model', 'model-info', 'fetch', 'search'] as const

/** The session's own hosts that policy allows as well. */
export function ownHosts(session: Session, policy: Policy | null): string[] {
  return policy ? [...allowedHosts(policy, session.hosts)] : []
}

/**
 * What the session's egress capability allows: its own hosts, what the member's egress rules allow, others after a question, and fetching
 * if policy does. Egress holds all of it to policy's list once more.
 */
export function egressLimits(session: Session, policy: Policy | null): { kinds: string[]; session: string; hosts: string[] } {
  return {
    kinds: permitted(policy, ['model', 'model-info', 'fetch', 'search', 'explain', ...tunnelKinds]),
    session: session.id,
    hosts: [...ownHosts(session, policy), '@member', '?'],
  }
}

export function conversationEgress({ egress }: Session): Delegation {
  return { slot: egress?.slot ?? 'egress', limits: { kinds: [...conversationKinds] } }
}

/** The workspace may carry the session's connections, as far as its egress capability goes. */
export function attachNetwork(context: Context, { id, egress }: Session): Step {
  if (!egress) return stay(context)
  return tell(context, 'workspace', 'network', { session: id }, [{ slot: egress.slot, limits: { kinds: [...tunnelKinds], session: id } }])
}
