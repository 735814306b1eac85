/**
 * From a host to the way to it, and a connection (I/O). Straight: resolved once, and dialled is what was vetted. Through this machine's proxy:
 * what can be known before it looks the name up is judged.
 */
import net, { type LookupFunction, type Socket } from 'node:net'
import dns from 'node:dns/promises'
import os from 'node:os'
import { type Fault, fault, isFault } from '../../kernel/index.ts'
import { type AddressPolicy, publicOnly } from './addresses.ts'
import { type Address, asRefusal, decideAddresses, literalAddress } from './decide.ts'
import { limits } from './limits.ts'
import type { ProxyFor } from './network.ts'
import { connectThrough, connectToProxy, vetForProxy } from './proxy-connect.ts'
import type { ProxyServer, ProxyTarget } from './proxy-settings.ts'
import { quickReader } from './read-memory.ts'
import type { HostTarget } from './rule-set.ts'

export type Web = {
  resolve(host: string): Promise<readonly Address[]>
  /** Asked anew for each decision: interfaces come and go. */
  addressPolicy(): AddressPolicy
  /** Absent: there is no proxy. */
  proxyFor?: ProxyFor
}
export type Way = { via: 'straight'; dial: readonly Address[] } | { via: 'proxy'; proxy: ProxyServer; web: Web }

export const realWeb: Web = {
  resolve: async (host) =>
    (await dns.lookup(host, { all: true })).map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 })),
  addressPolicy: () => publicOnly(Object.values(os.networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address))),
}

/** Rejects with a fault. */
async function vetted(host: string, web: Web, signal: AbortSignal): Promise<readonly Address[]> {
  const literal = literalAddress(host)
  const resolved = literal
    ? [literal]
    : await raceAbort(web.resolve(host), signal).catch((error) => Promise.reject(unreachable(host, error)))
  const decision = decideAddresses(host, resolved, web.addressPolicy())
  if (decision.verdict === 'deny') throw asRefusal(decision)
  return decision.dial
}

/** The way policy's host is reached by. Rejects with a fault. */
export async function wayTo(target: ProxyTarget, web: Web, signal: AbortSignal): Promise<Way> {
  const proxy = (await web.proxyFor?.(target)) ?? null
  if (proxy === null) return { via: 'straight', dial: await vetted(target.host, web, signal) }
  await vetForProxy(target, proxy, web, signal)
  return { via: 'proxy', proxy, web }
}

/**
 * A connection by that way, both halves open until each is ended. `read`: the proxy is to read the (plain HTTP) request itself, as proxies
 * want it on port 80. Rejects with a fault.
 */
export function connectBy(way: Way, target: HostTarget, signal: AbortSignal, read = false): Promise<Socket> {
  if (way.via === 'straight') return connect(target, way.dial, signal)
  return read ? connectToProxy(way.proxy, way.web, signal) : connectThrough(target, way.proxy, way.web, signal)
}

/** Node tries the addresses in turn, both families, and nothing but these. */
export function fixedLookup(dial: readonly Address[]): LookupFunction {
  return (_hostname, options, callback) => {
    const [first] = dial
    if (!first) return callback(new Error('nothing to dial'), '', 4)
    if (options.all) return callback(null, [...dial])
    return callback(null, first.address, first.family)
  }
}

function connect({ host, port }: HostTarget, dial: readonly Address[], signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // With one to choose from there is nothing to look up or to try in turn, which costs as much as the call that connects.
    const at = dial[0] !== undefined && dial.length === 1 ? { host: dial[0].address } : { host: bare(host), lookup: fixedLookup(dial) }
    const socket = quickReader((reading) => net.connect({ ...at, port, allowHalfOpen: true, noDelay: true, ...reading }))
    const timer = setTimeout(() => socket.destroy(new Error('no connection in time')), limits.tunnelConnectMs)
    const abort = (): void => void socket.destroy(new Error('given up'))
    const settled = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    socket.once('connect', () => {
      settled()
      socket.removeAllListeners('error')
      resolve(socket)
    })
    socket.once('error', (error) => {
      settled()
      reject(unreachable(host, signal.aborted ? signal.reason : error))
    })
  })
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1')
}

export function unreachable(host: string, error: unknown): Fault {
  if (isFault(error)) return error
  const timedOut = error instanceof DOMException && error.name === 'TimeoutError'
  const cause = timedOut ? 'It took too long.' : transportCause(error)
  return fault('fetch-failed', `${host} could not be reached.`, { cause })
}

/** What went wrong, in few words and without anything the caller sent. */
export function transportCause(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return transportCause(error.errors[0])
  if (!(error instanceof Error)) return 'the connection failed'
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null
  return code && !error.message.includes(code) ? `${code}: ${error.message}` : error.message
}

function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
