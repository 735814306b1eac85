/**
 * One HTTP exchange over a connection of its own (I/O). Node's own client, because nothing of it is loaded from disk after
 * the process gave up reading its code. Redirects are never followed here; bodies arrive decoded.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { type Duplex, pipeline, type Readable } from 'node:stream'
import tls from 'node:tls'
import zlib from 'node:zlib'
import { connectBy, fixedLookup, type Way } from './dial.ts'
import { limits } from './limits.ts'
import { http } from './node-http.ts'
import { authorized } from './proxy-connect.ts'

export type Exchange = {
  url: URL
  method: string
  headers: Record<string, string>
  body?: string
  /** Go exactly this way. Absent: the name is resolved by the system (the member's own model endpoint). */
  way?: Way
  connectMs: number
  /** Silence on the connection longer than this ends it. */
  idleMs: number
  signal: AbortSignal
}
export type Answer = { status: number; headers: IncomingHttpHeaders; body: Readable }

/** Rejects with the transport's error, or `signal.reason`. The caller reads `body` to its end or destroys it. */
export function exchange(options: Exchange): Promise<Answer> {
  const { url, method, body, way, signal } = options
  const secure = url.protocol === 'https:'
  const proxied = way?.via === 'proxy' ? way : null
  return new Promise((resolve, reject) => {
    const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port)
    const request = (secure ? https : http).request({
      protocol: url.protocol,
      hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port,
      // A proxy that reads the request has to be told the whole address.
      path: proxied && !secure ? `${url.origin}${url.pathname}${url.search}` : url.pathname + url.search,
      method,
      headers: {
        ...options.headers,
        host: url.host,
        'accept-encoding': 'gzip, br',
        ...(proxied && !secure ? authorized(proxied.proxy) : {}),
      },
      maxHeaderSize: limits.headerBytes,
      signal,
      ...(way?.via === 'straight' ? { lookup: fixedLookup(way.dial) } : {}),
      // With an agent Node would make a line of its own.
      ...(proxied ? { createConnection: lineBy(proxied, { host: url.hostname, port }, secure, signal) } : { agent: false }),
    })
    const connectTimer = setTimeout(() => request.destroy(new Error('no connection in time')), options.connectMs)
    const connected = () => clearTimeout(connectTimer)
    request.on('socket', (socket) => {
      if (!socket.connecting && !secure) connected()
      socket.once(secure ? 'secureConnect' : 'connect', connected)
    })
    request.setTimeout(options.idleMs, () => request.destroy(new Error('the connection fell silent')))
    request.on('close', connected)
    request.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    request.on('response', (response) => {
      const content = decoded(response)
      if (content) return resolve({ status: response.statusCode ?? 0, headers: response.headers, body: content })
      request.destroy(new Error(`the server used the content encoding ${response.headers['content-encoding']}, which was not asked for`))
    })
    request.end(body)
  })
}

/** Node's `createConnection`, through the proxy. */
function lineBy(way: Way, target: { host: string; port: number }, secure: boolean, signal: AbortSignal) {
  return (_options: unknown, ready: (error: Error | null, line: Duplex) => void): undefined => {
    connectBy(way, target, signal, !secure).then(
      (socket) => {
        const servername = target.host.replace(/^\[(.*)\]$/, '$1')
        ready(null, secure ? tls.connect({ socket, host: servername, ...(net.isIP(servername) ? {} : { servername }) }) : socket)
      },
      // A fault, which comes out of the request as it is.
      (error: unknown) => ready(error as Error, null as never),
    )
  }
}

/** Null for an encoding that was not asked for. */
function decoded(response: IncomingMessage): Readable | null {
  const encoding = response.headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (encoding === '' || encoding === 'identity') return response
  const decoder = decoders.get(encoding)?.()
  if (!decoder) return null
  // pipeline() carries errors and destruction both ways; the reader of the decoder sees them.
  return pipeline(response, decoder, () => undefined)
}

const decoders = new Map<string, () => Duplex>([
  ['gzip', () => zlib.createGunzip()],
  ['x-gzip', () => zlib.createGunzip()],
  ['br', () => zlib.createBrotliDecompress()],
])
