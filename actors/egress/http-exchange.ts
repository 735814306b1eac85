/**
 * One HTTP exchange over a connection of its own (I/O). Node's own client, because nothing of it is loaded from disk after
 * the process gave up reading its code. Redirects are never followed here; bodies arrive decoded.
 */
import http from 'node:http'
import https from 'node:https'
import { type Duplex, pipeline, type Readable } from 'node:stream'
import zlib from 'node:zlib'
import type { Address } from './decide.ts'
import { fixedLookup } from './dial.ts'
import { limits } from './limits.ts'

export type Exchange = {
  url: URL
  method: string
  headers: Record<string, string>
  body?: string
  /** Dial exactly these. Absent: the name is resolved by the system (the member's own model endpoint). */
  dial?: readonly Address[]
  connectMs: number
  /** Silence on the connection longer than this ends it. */
  idleMs: number
  signal: AbortSignal
}
export type Answer = { status: number; headers: http.IncomingHttpHeaders; body: Readable }

/** Rejects with the transport's error, or `signal.reason`. The caller reads `body` to its end or destroys it. */
export function exchange(options: Exchange): Promise<Answer> {
  const { url, method, body, dial, signal } = options
  const secure = url.protocol === 'https:'
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).request({
      protocol: url.protocol,
      hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      path: url.pathname + url.search,
      method,
      headers: { ...options.headers, host: url.host, 'accept-encoding': 'gzip, br' },
      agent: false,
      maxHeaderSize: limits.headerBytes,
      signal,
      ...(dial ? { lookup: fixedLookup(dial) } : {}),
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

/** Null for an encoding that was not asked for. */
function decoded(response: http.IncomingMessage): Readable | null {
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
