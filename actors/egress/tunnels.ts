/** The tunnels that are open (I/O): by id, bounded in all and by session. */
import { type Fault, fault } from '../../kernel/index.ts'
import type { Access } from './access.ts'
import type { Authority } from './authority.ts'
import { canonicalHost } from './host-grammar.ts'
import type { Web } from './dial.ts'
import { limits } from './limits.ts'
import { relay } from './relay.ts'
import type { HostTarget } from './rule-set.ts'
import { createTunnelStream, type TunnelStream } from './tunnel-stream.ts'

export type TunnelPart = { type: 'open' } | { type: 'data'; bytes: Uint8Array } | { type: 'end' }
export type Tunnels = {
  /**
   * Resolves when it is over, with why it was refused or broke. It is there for `feed` at once: what the client sends follows on the heels
   * of its request, before policy has had a word.
   */
  open(
    id: string,
    to: HostTarget | null,
    policy: Promise<Access>,
    signal: AbortSignal,
    send: (part: TunnelPart) => Promise<void>,
  ): Promise<Fault | null>
  /** Resolves when there is room for more, and at once when there is no such tunnel: what is sent to one that is over goes nowhere. */
  feed(id: string, bytes: Uint8Array | null): Promise<void>
}

export function createTunnels(web: Web, authority: Authority): Tunnels {
  const open = new Map<string, TunnelStream>()
  const perOwner = new Map<string, number>()
  return {
    async open(id, to, policy, signal, send) {
      // The number is the opener's own; what is before it is whose tunnel it is.
      const owner = id.slice(0, id.lastIndexOf(' '))
      const count = perOwner.get(owner) ?? 0
      if (open.has(id)) return fault('malformed', 'The tunnel is open already.')
      if (open.size >= limits.tunnels || count >= limits.sessionTunnels)
        return fault('overloaded', `${count} connections are open in this session.`, { retryAfterMs: 1_000 })
      const host = to === null ? null : canonicalHost(to.host)
      if (host !== null && !host.ok) return fault('bad-url', `The host cannot be used: ${host.why}.`, { rule: 'host-form' })
      const stream = createTunnelStream((bytes) => send(bytes === null ? { type: 'end' } : { type: 'data', bytes }))
      open.set(id, stream)
      perOwner.set(owner, count + 1)
      try {
        const access = await policy
        const target = to === null || host === null ? null : { host: host.value, port: to.port }
        // Parts leave in the order they are sent: nothing the host says comes before this.
        const opened = (): void => void send({ type: 'open' }).catch(() => stream.destroy())
        return await relay(stream, target, { web, access, signal, authority, opened })
      } finally {
        open.delete(id)
        const left = (perOwner.get(owner) ?? 1) - 1
        if (left > 0) perOwner.set(owner, left)
        else perOwner.delete(owner)
      }
    },
    feed: (id, bytes) => open.get(id)?.feed(bytes) ?? Promise.resolve(),
  }
}
