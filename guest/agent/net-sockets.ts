/**
 * What makes every connection in a session's network namespace end at the sockets there (`net-pump.pl`), which need an option Node cannot set
 * (IP_TRANSPARENT: to take connections to any address).
 *
 *   routes   every address is this machine's, so that a connection to any of them arrives here; none has anywhere else to go
 *   nft      a connection to any port goes to one listener, which still sees where it was meant to go
 *   UDP      nobody listens but the resolver: all other datagrams are refused at once
 */
import type { Holder } from './holder.ts'

/** Where a program that speaks to a proxy finds one: HTTP and SOCKS5 on the same port. */
export const proxyPort = 1080
export const resolver = '127.0.0.53'
/** From the range of names, at its end, where no name gets. */
const ownAddress = '198.19.255.254'

/** Loopback stays what it is: the session's own. */
const ruleset = [
  // Made anew: an earlier try may have ended half-way.
  'add table inet bulkhead',
  'delete table inet bulkhead',
  'add table inet bulkhead',
  'add chain inet bulkhead gate { type filter hook prerouting priority mangle; policy accept; }',
  'add rule inet bulkhead gate ip daddr 127.0.0.0/8 accept',
  'add rule inet bulkhead gate ip6 daddr ::1 accept',
  `add rule inet bulkhead gate meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:${proxyPort} accept`,
  `add rule inet bulkhead gate meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:${proxyPort} accept`,
].join('; ')

/** Has every connection of this holder's namespace come to one place. Rejects with why not. */
export async function routeToOneListener(holder: Holder): Promise<void> {
  // An address beside loopback's: resolvers that ask for configured families (AI_ADDRCONFIG) find none without.
  await holder.order(`ip link set lo up && ip addr replace ${ownAddress}/32 dev lo && ip route replace local default dev lo`)
  await holder.order('ip -6 route replace local default dev lo 2>/dev/null || true')
  await holder.order(`echo '${ruleset}' | nft -f -`)
}
