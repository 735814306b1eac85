/** What `bulkhead inspect` prints: the live actors, what each holds and why, and what went wrong lately. Read from the kernel's own tables. */
import type { Budget } from './capabilities.ts'
import type { Kernel } from './kernel.ts'
import type { Live } from './lifecycle.ts'
import { type MemoryBound, residentMiB } from './memory.ts'
import type { Limits } from './types.ts'

export type InspectReport = {
  actors: {
    id: string
    purpose: string
    placement: string
    state: string
    pid: number | null
    startedAt: number | null
    restarts: number
    lastExit: string | null
    mailbox: { waiting: number; unacknowledged: number; limit: number }
    permissions: {
      fsRead: readonly string[]
      fsWrite: readonly string[]
      net: boolean
      childProcess: boolean
      wasi: boolean
      reasons: Readonly<Record<string, string>>
    }
    /** The operating system's jail around its process: there as its process found it, or not and why; null: it has no process. */
    jail: { ok: boolean; why: string | null } | null
    /** What its process holds in memory and may hold, and who sees to that; null: it has no process. */
    memory: (MemoryBound & { heldMiB: number | null }) | null
    /** What the actor's own process could do when it tried, after lock-down. Empty for inline actors. */
    facts: Readonly<Record<string, boolean>>
    capabilities: {
      slot: number
      name: string | null
      target: string
      limits: Limits
      usesLeft: number | null
      /** What is left of each quota at this capability. */
      budget: Budget | null
      reason: string
      by: string
      revoked: boolean
    }[]
  }[]
  /** Actor kinds that are started on demand. */
  kinds: { kind: string; purpose: string; placement: string; running: number }[]
  /** Why the message log broke off, or null; `off` when there is none. */
  messageLog: { failure: string | null } | 'off'
  deadLetters: {
    counts: Readonly<Record<string, number>>
    recent: readonly { at: number; from: string; slot: number | string; kind: string; code: string; message: string }[]
  }
}

/** Around it only when its process, too, found nothing of the host there. */
function jailOf({ port, facts, permissions }: Pick<Live, 'port' | 'facts' | 'permissions'>): { ok: boolean; why: string | null } | null {
  if (!port?.pid) return null
  if (port.jail !== null) return { ok: false, why: port.jail ?? 'unknown' }
  const holes = ['signal', 'host', ...(permissions.net ? [] : ['interfaces'])].filter((name) => facts[name])
  return holes.length === 0 ? { ok: true, why: null } : { ok: false, why: `it does not hold: ${holes.join(', ')}` }
}

export function inspect(kernel: Kernel): InspectReport {
  const { tables, deadLetters } = kernel
  const actors = [...kernel.actors.values()].map((live) => {
    const { manifest } = live.entry
    const { fsRead = [], fsWrite = [], net = false, childProcess = false, wasi = false } = live.permissions
    return {
      id: live.id,
      purpose: manifest.purpose,
      placement: manifest.placement,
      state: live.degraded ? `${live.state} (degraded)` : live.state,
      pid: live.port?.pid ?? null,
      startedAt: live.startedAt || null,
      restarts: live.incarnation - 1,
      lastExit: live.lastExit,
      mailbox: { waiting: live.receiver.length, unacknowledged: live.outstanding.size, limit: manifest.mailbox ?? 1024 },
      permissions: { fsRead, fsWrite, net, childProcess, wasi, reasons: manifest.permissionReasons },
      jail: jailOf(live),
      memory: live.port?.memory && live.port.pid ? { ...live.port.memory, heldMiB: residentMiB(live.port.pid) } : null,
      facts: live.facts,
      capabilities: [...(tables.clists.get(live.id) ?? [])].flatMap(([slot, { cap: id, name }]) => {
        const cap = tables.caps.get(id)
        if (!cap) return []
        const { target, limits, usesLeft, budget, reason, by } = cap
        return [{ slot, name, target, limits, usesLeft, budget, reason, by, revoked: cap.revoked }]
      }),
    }
  })
  const instanceEntries = [...new Set(kernel.entries.map((entry) => entry.manifest))].filter(
    ({ cardinality, idleMs }) => cardinality === 'instance' || idleMs !== undefined,
  )
  return {
    actors,
    kinds: instanceEntries.map(({ kind, purpose, placement }) => ({
      kind,
      purpose,
      placement,
      running: actors.filter(({ id }) => id === kind || id.startsWith(`${kind}:`)).length,
    })),
    messageLog: kernel.messageLog ? { failure: kernel.messageLog.failure() } : 'off',
    deadLetters: {
      counts: deadLetters.counts,
      recent: deadLetters.recent.map(({ at, from, slot, kind, error }) => ({
        at,
        from,
        slot,
        kind,
        code: error.code,
        message: error.message,
      })),
    },
  }
}
