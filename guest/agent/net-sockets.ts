/**
 * Sockets inside a session's network namespace, held by the agent outside: a small helper enters the namespace, makes them and hands them
 * over, because they need an option Node cannot set (IP_TRANSPARENT: to take connections to any address).
 *
 *   routes   every address is this machine's, so that a connection to any of them arrives here; none has anywhere else to go
 *   nft      a connection to any port goes to one listener, which still sees where it was meant to go
 *   UDP      nobody listens but the resolver: all other datagrams are refused at once
 */
import { spawn } from 'node:child_process'
import type { Socket as UdpSocket } from 'node:dgram'
import type { Server } from 'node:net'
import type { Holder } from './holder.ts'
import { networkMs } from './limits.ts'

/** Where a program that speaks to a proxy finds one: HTTP and SOCKS5 on the same port. */
export const proxyPort = 1080
export const resolver = '127.0.0.53'
/** From the range of names, at its end, where no name gets. */
const ownAddress = '198.19.255.254'

export type NetSockets = { servers: readonly Server[]; names: UdpSocket; close(): void }

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

/** Node's own protocol for handles: one line of JSON, the descriptor beside it. */
const helper = `
import array, json, os, socket
channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
def give(made, kind, tag):
    line = json.dumps({"cmd": "NODE_HANDLE", "type": kind, "dgramType": "udp4", "msg": {"is": tag}}) + "\\n"
    channel.sendmsg([line.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))])
    channel.recv(4096)
def listener(family, address, level, option):
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.setsockopt(level, option, 1)
    made.bind((address, ${proxyPort}))
    made.listen(1024)
    return made
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("${resolver}", 53))
give(listener(socket.AF_INET, "127.0.0.1", socket.IPPROTO_IP, 19), "net.Server", "ipv4")
try:
    give(listener(socket.AF_INET6, "::1", socket.IPPROTO_IPV6, 75), "net.Server", "ipv6")
except OSError:
    channel.sendall(b'{"is":"no-ipv6"}\\n')
give(names, "dgram.Socket", "names")
`

/** Makes the namespace of this holder one whose every connection ends here. Rejects with why not. */
export async function openNetSockets(holder: Holder): Promise<NetSockets> {
  // An address beside loopback's: resolvers that ask for configured families (AI_ADDRCONFIG) find none without.
  await holder.order(`ip link set lo up && ip addr replace ${ownAddress}/32 dev lo && ip route replace local default dev lo`)
  await holder.order('ip -6 route replace local default dev lo 2>/dev/null || true')
  await holder.order(`echo '${ruleset}' | nft -f -`)
  return receive(holder.pid)
}

function receive(pid: number): Promise<NetSockets> {
  const command = ['--target', String(pid), '--net', '--', 'python3', '-I', '-S', '-c', helper]
  const child = spawn('nsenter', command, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: '/',
  })
  const servers: Server[] = []
  let said = ''
  child.stderr?.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-2000)))
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(late)
      for (const server of servers) server.close()
      child.kill('SIGKILL')
      reject(new Error(`the session's network could not be made: ${why} ${said.trim().split('\n').at(-1) ?? ''}`.trim()))
    }
    const late = setTimeout(() => fail('it took too long.'), networkMs)
    child.once('error', (error) => fail(error.message))
    child.once('exit', (code) => fail(`its helper ended with ${code}.`))
    child.on('message', (message: unknown, handle: unknown) => {
      const tag = (message as { is?: unknown } | null)?.is
      if (tag === 'ipv4' || tag === 'ipv6') servers.push(handle as Server)
      if (tag !== 'names') return
      clearTimeout(late)
      child.removeAllListeners('exit')
      if (child.connected) child.disconnect()
      const names = handle as UdpSocket
      const close = (): void => {
        for (const server of servers) server.close()
        names.close()
      }
      resolve({ servers, names, close })
    })
  })
}
