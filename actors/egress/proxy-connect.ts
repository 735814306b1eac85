/**
 * A connection to a host by way of the proxy this machine is configured for (I/O). The proxy looks the name up, so what the guard can say is
 * said before: see ADR 14. The proxy itself is the one address that may be inside.
 */
import https from 'node:https'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import { type Fault, fault, isFault } from '../../kernel/index.ts'
import type { AddressClass } from './addresses.ts'
import { type Address, asRefusal, decideAddresses, literalAddress } from './decide.ts'
import { fixedLookup, transportCause, type Web } from './dial.ts'
import { limits } from './limits.ts'
import { http } from './node-http.ts'
import { isLocalName, type ProxyServer } from './proxy-settings.ts'
import type { HostTarget } from './rule-set.ts'

/** Where a company's proxy may stand. Not among them: what no proxy has (multicast, metadata services, link-local and broken addresses). */
const proxyMayBe: ReadonlySet<AddressClass> = new Set(['public', 'private', 'loopback', 'shared', 'own'])

/** Whether a proxy may be asked for the host. Rejects with a fault. */
export async function vetForProxy({ host }: HostTarget, proxy: ProxyServer, web: Web, signal: AbortSignal): Promise<void> {
  const refuse = (rule: string, reason: string): Fault => fault('private-address', reason, { rule })
  if (host === proxy.host) throw refuse('proxy-itself', `${host} is the proxy of this machine.`)
  const literal = literalAddress(host)
  if (literal === null && isLocalName(host)) throw refuse('address: local name', `${host} is a name of the local network.`)
  const known = literal ? [literal] : await briefly(web.resolve(host), signal)
  // Often only the proxy knows names of the outside.
  if (known.length === 0) return
  const judge = web.addressPolicy()
  const inside = known.filter(({ address }) => judge(address) !== 'public')
  // Which of several addresses the proxy takes is not ours to choose: one inside is enough.
  const decision = decideAddresses(host, inside, judge)
  if (inside.length > 0 && decision.verdict === 'deny') throw asRefusal(decision)
}

/** None when the resolver says there is none, or does not say in time. */
async function briefly(resolving: Promise<readonly Address[]>, signal: AbortSignal): Promise<readonly Address[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<readonly Address[]>((resolve) => {
    timer = setTimeout(() => resolve([]), limits.proxyLookupMs)
    signal.addEventListener('abort', () => resolve([]), { once: true })
  })
  try {
    return await Promise.race([resolving.catch(() => []), late])
  } finally {
    clearTimeout(timer)
  }
}

/** A connection to the proxy itself. Rejects with a fault. */
export async function connectToProxy(proxy: ProxyServer, web: Web, signal: AbortSignal): Promise<Socket> {
  const literal = literalAddress(proxy.host)
  const judge = web.addressPolicy()
  const found = literal ? [literal] : await web.resolve(proxy.host).catch((error) => Promise.reject(failed(proxy, transportCause(error))))
  const dial = found.filter(({ address }) => proxyMayBe.has(judge(address)))
  if (dial.length === 0) throw failed(proxy, 'Its address is one that no proxy has.')
  return new Promise((resolve, reject) => {
    const host = proxy.host.replace(/^\[(.*)\]$/, '$1')
    const raw = net.connect({ host, port: proxy.port, lookup: fixedLookup(dial), allowHalfOpen: true, noDelay: true })
    const socket = proxy.secure ? tls.connect({ socket: raw, ...(net.isIP(host) ? {} : { servername: host }), host }) : raw
    const give = (cause: string): void => {
      done()
      raw.destroy()
      reject(failed(proxy, cause))
    }
    const abort = (): void => give('It was given up.')
    const timer = setTimeout(() => give('It took too long.'), limits.tunnelConnectMs)
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
    for (const one of new Set([raw, socket])) one.on('error', (error) => give(transportCause(error)))
    signal.addEventListener('abort', abort, { once: true })
    socket.once(proxy.secure ? 'secureConnect' : 'connect', () => {
      done()
      resolve(socket)
    })
    if (signal.aborted) abort()
  })
}

/** A tunnel to the host through the proxy (HTTP CONNECT, RFC 9110 §9.3.6). Rejects with a fault. */
export async function connectThrough(target: HostTarget, proxy: ProxyServer, web: Web, signal: AbortSignal): Promise<Socket> {
  const line = await connectToProxy(proxy, web, signal)
  return new Promise((resolve, reject) => {
    const path = `${target.host}:${target.port}`
    const request = (proxy.secure ? https : http).request({
      method: 'CONNECT',
      path,
      headers: { host: path, ...authorized(proxy) },
      // No agent: Node would make a line of its own.
      maxHeaderSize: limits.headerBytes,
      signal,
      createConnection: () => line,
    })
    request.setTimeout(limits.tunnelConnectMs, () => request.destroy(new Error('the proxy fell silent')))
    request.on('error', (error) => {
      line.destroy()
      reject(isFault(signal.reason) ? signal.reason : failed(proxy, transportCause(error)))
    })
    // An answer that is no end of CONNECT: a server that is no proxy.
    request.on('response', (response) => request.destroy(new Error(`it answered ${response.statusCode}`)))
    request.on('connect', ({ statusCode = 0 }, socket: Socket, head) => {
      if (statusCode < 200 || statusCode > 299) {
        socket.destroy()
        const cause = statusCode === 407 ? 'It wants other credentials.' : `It does not connect to ${path} (${statusCode}).`
        return reject(failed(proxy, cause))
      }
      socket.setTimeout(0)
      socket.allowHalfOpen = true
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    request.end()
  })
}

/** Fields for a request the proxy is to read. */
export function authorized({ authorization }: ProxyServer): Record<string, string> {
  return authorization === null ? {} : { 'proxy-authorization': authorization }
}

function failed({ host, port }: ProxyServer, cause: string): Fault {
  return fault('fetch-failed', `The proxy ${host}:${port} did not connect.`, { cause, rule: 'proxy' })
}
