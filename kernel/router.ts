/**
 * The router: the only way a message travels. `route` is pure: it reads the tables and says what would happen. The kernel runs it when
 * a message is sent and again right before it is handed over, so that a revocation catches messages that are already queued.
 */
import { type ActorId, type Capability, isRevoked, lookup, type Tables } from './capabilities.ts'
import { fault } from './errors.ts'
import type { Badge, Fault } from './types.ts'

export type Delivered = { ok: true; cap: Capability; target: ActorId; badge: Badge }
export type Refused = { ok: false; error: Fault }

/**
 * Whether `sender` may send a message of `kind` on `slot` at `now` (epoch ms).
 * Refusals: `no-capability`, `revoked`, `expired`, `attenuated`.
 */
export function route(tables: Tables, sender: ActorId, slot: number | string, kind: string, now: number): Delivered | Refused {
  const cap = lookup(tables, sender, slot)
  if (!cap) return refused(fault('no-capability', `${sender} holds no capability ${JSON.stringify(slot)}.`, { rule: 'capability table' }))
  const error = check(tables, cap, kind, now)
  if (error) return refused(error)
  return { ok: true, cap, target: cap.target, badge: { from: sender, session: cap.limits.session ?? null, limits: cap.limits } }
}

/** The part of `route` that can change while a message waits. `uses` were taken when it was sent and are not asked again. */
export function check(tables: Tables, cap: Capability, kind: string, now: number, taken = false): Fault | null {
  if (isRevoked(tables, cap)) return fault('revoked', `The grant "${cap.reason}" was revoked.`, { rule: cap.reason })
  const { kinds, expiresAt } = cap.limits
  if (kinds && !kinds.includes(kind))
    return fault('attenuated', `This capability to ${cap.target} does not allow "${kind}".`, {
      rule: `kinds: ${kinds.join(', ') || 'none'}`,
    })
  if (expiresAt !== undefined && now >= expiresAt)
    return fault('expired', `The grant "${cap.reason}" was limited in time.`, { rule: `expires ${new Date(expiresAt).toISOString()}` })
  if (taken) return null
  for (const used of chain(tables, cap))
    if (used.usesLeft !== null && used.usesLeft <= 0)
      return fault('expired', `The grant "${cap.reason}" was for ${used.limits.uses} use(s).`, { rule: `uses ${used.limits.uses}` })
  return null
}

/** Takes one use from the capability and from each it was derived from. Called once, when a send is accepted. */
export function takeUse(tables: Tables, cap: Capability): void {
  for (const used of chain(tables, cap)) if (used.usesLeft !== null) used.usesLeft--
}

function* chain(tables: Tables, cap: Capability): Generator<Capability> {
  for (let at: Capability | undefined = cap; at; at = at.parent === null ? undefined : tables.caps.get(at.parent)) yield at
}

function refused(error: Fault): Refused {
  return { ok: false, error }
}
