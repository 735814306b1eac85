/** From a host to addresses that may be dialled, and a connection to one of them (I/O). Resolved once; dialled is what was vetted. */
import net, { type LookupFunction, type Socket } from 'node:net'
import dns from 'node:dns/promises'
import os from 'node:os'
import { type Fault, fault, isFault } from '../../kernel/index.ts'
import { type AddressPolicy, publicOnly } from './addresses.ts'
import { type Address, asRefusal, decideAddresses, literalAddress } from './decide.ts'
import { limits } from './limits.ts'
import type { HostTarget } from './rule-set.ts'

export type Web = {
  resolve(host: string): Promise<readonly Address[]>
  /** Asked anew for each decision: interfaces come and go. */
  addressPolicy(): AddressPolicy
}

export const realWeb: Web = {
  resolve: async (host) =>
    (await dns.lookup(host, { all: true })).map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 })),
  addressPolicy: () => publicOnly(Object.values(os.networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address))),
}

/** Rejects with a fault. */
export async function vetted(host: string, web: Web, signal: AbortSignal): Promise<readonly Address[]> {
  const literal = literalAddress(host)
  const resolved = literal
    ? [literal]
    : await raceAbort(web.resolve(host), signal).catch((error) => Promise.reject(unreachable(host, error)))
  const decision = decideAddresses(host, resolved, web.addressPolicy())
  if (decision.verdict === 'deny') throw asRefusal(decision)
  return decision.dial
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

/** A TCP connection; both halves stay open until each is ended. Rejects with a fault. */
export function connect({ host, port }: HostTarget, dial: readonly Address[], signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const bare = host.replace(/^\[(.*)\]$/, '$1')
    const socket = net.connect({ host: bare, port, lookup: fixedLookup(dial), allowHalfOpen: true, noDelay: true })
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
