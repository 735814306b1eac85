/**
 * Connections of sessions, over a port of their own: one message a frame.
 *
 *   guest -> host   open (where to), data, end, reset, credit; echo
 *   host -> guest   data, end, reset, credit; echo: a question whether the port works, whose number comes back
 *
 * The guest's side reads headers as `JSON.stringify` spells these, in this order of their fields.
 *
 * Each direction of a connection has credit to begin with, `netWindow` bytes to the host and `netWindowIn` to the guest; what was consumed
 * is given back. The host believes none of it: an unknown number, bytes beyond the credit, a session that is not attached end the connection.
 */

/** Bytes on their way to the host, unacknowledged: what a guest can make the host keep for one connection. */
export const netWindow = 256 * 1024
/** Bytes on their way to the guest: a round trip through an emulated machine takes tens of milliseconds. */
export const netWindowIn = 1024 * 1024
/** Consumed in the guest before it is told: a frame for each piece costs an emulated machine as much as the piece. Far less than the window. */
export const creditStep = netWindowIn / 4
/** Largest piece in one frame. */
export const netPiece = 64 * 1024
/** Connections of one guest at a time. */
export const maxConnections = 4_096

/** `to`: an address as it was dialled, the name behind a synthetic one, or null for a program that speaks to a proxy. */
export type NetMessage =
  | { n: number; net: 'open'; session: string; to: { host: string; port: number } | null }
  | { n: number; net: 'data' | 'end' | 'reset' }
  | { n: number; net: 'echo' }
  | { n: number; net: 'credit'; bytes: number }

export function parseNetMessage(header: unknown): NetMessage | null {
  if (typeof header !== 'object' || header === null || Array.isArray(header)) return null
  const o = header as Record<string, unknown>
  const { n, net } = o
  if (!isCount(n)) return null
  if (net === 'echo') return { n, net }
  if (net === 'data' || net === 'end' || net === 'reset') return { n, net }
  if (net === 'credit') return isCount(o['bytes']) && o['bytes'] <= netWindowIn ? { n, net, bytes: o['bytes'] } : null
  if (net !== 'open' || typeof o['session'] !== 'string' || !/^[a-z0-9][a-z0-9_-]{0,63}$/i.test(o['session'])) return null
  if (o['to'] === null) return { n, net, session: o['session'], to: null }
  const to = parseTarget(o['to'])
  return to === null ? null : { n, net, session: o['session'], to }
}

function parseTarget(value: unknown): { host: string; port: number } | null {
  if (typeof value !== 'object' || value === null) return null
  const { host, port } = value as Record<string, unknown>
  if (typeof host !== 'string' || host === '' || host.length > 260 || !isCount(port) || port < 1 || port > 65_535) return null
  return { host, port }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
