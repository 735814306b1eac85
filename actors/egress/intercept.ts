/**
 * A tunnel that is read (I/O): TLS of the client ends here, with a certificate of our own authority; each request is judged, gets the host's
 * secret, and goes on over TLS to the host, whose certificate is checked as always. Both sides speak HTTP/1.1 through Node's own strict
 * parser, and what goes on is written anew, so that the other side sees what was judged.
 *
 *   client --TLS--> [ request -> host? -> policy -> secret ] --TLS--> host
 *          <------- [ secret cut out of fields and body    ] <------
 */
import type { Agent, IncomingMessage, ServerResponse } from 'node:http'
import net, { type Socket } from 'node:net'
import { type Duplex, pipeline, Transform } from 'node:stream'
import tls, { type TLSSocket } from 'node:tls'
import { type Fault, fault, isFault } from '../../kernel/index.ts'
import type { Authority } from './authority.ts'
import { transportCause } from './dial.ts'
import { parseAuthority } from './host-grammar.ts'
import { hopByHop, refusedMethods } from './http-head.ts'
import { inject, type Secret } from './injection.ts'
import { limits } from './limits.ts'
import { http } from './node-http.ts'
import type { Asked } from './request-rules.ts'
import type { HostTarget } from './rule-set.ts'
import { createScrubber, withoutSecrets } from './scrub.ts'

export type InterceptOptions = {
  authority: Authority
  /** Why a request must not go, or null. Asked about each. */
  judge(asked: Asked): { rule: string; reason: string } | null
  /** Asked for each request: one that was taken away is not used again. */
  secrets(): readonly Secret[]
  signal: AbortSignal
}

/** `client` begins with its hello; `line` is connected to the host. Resolves with why it broke, or null. Never rejects. */
export async function intercept(client: Duplex, line: Socket, target: HostTarget, options: InterceptOptions): Promise<Fault | null> {
  const { authority, signal } = options
  const secureContext = await authority.contextFor(target.host)
  const outer = await secureLine(line, target, signal).catch((error) =>
    fault('fetch-failed', `TLS to ${target.host} failed.`, { cause: transportCause(error) }),
  )
  if (isFault(outer)) return outer
  const inner = new tls.TLSSocket(client, { isServer: true, secureContext, ALPNProtocols: ['http/1.1'] })
  const server = http.createServer({ maxHeaderSize: limits.requestHeadBytes, requireHostHeader: false, insecureHTTPParser: false })
  server.maxRequestsPerSocket = limits.innerRequests
  server.keepAliveTimeout = 0
  const agent = oneLine(outer)
  return new Promise((resolve) => {
    let told: Fault | null = null
    let answered = false
    const over = (why: Fault | null): void => {
      clearTimeout(firstTimer)
      signal.removeEventListener('abort', cut)
      agent.destroy()
      for (const stream of [inner, outer, client]) stream.destroy()
      line.destroy()
      resolve(why ?? told)
    }
    const cut = (): void => {
      line.resetAndDestroy()
      over(isFault(signal.reason) ? signal.reason : fault('cancelled', 'The tunnel was ended.'))
    }
    const firstTimer = setTimeout(
      () => over(fault('fetch-failed', `No request for ${target.host} came in time.`, { rule: 'first-bytes' })),
      limits.innerHeadMs,
    )
    signal.addEventListener('abort', cut, { once: true })
    if (signal.aborted) return cut()
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      clearTimeout(firstTimer)
      const refused = refusal(request, target, options)
      if (refused) {
        told = fault('egress-denied', refused.reason, { rule: refused.rule })
        return refuse(response, 403, refused)
      }
      response.once('finish', () => (answered = true))
      forward(request, response, target, agent, options.secrets())
    })
    const unreadable = (): void => over(fault('egress-denied', `A request to ${target.host} cannot be read.`, { rule: 'http-form' }))
    server.on('connect', unreadable)
    server.on('clientError', unreadable)
    inner.on('tlsClientError', () => undefined)
    inner.on('error', (error) => over(clientRefusal(error, target)))
    let shaken = false
    inner.on('secure', () => (shaken = true))
    inner.on('close', () => over(shaken ? null : clientRefusal(new Error('the handshake did not end'), target)))
    outer.on('error', () => over(fault('fetch-failed', `The connection to ${target.host} broke off.`)))
    // What is on its way to the client still goes.
    outer.on('close', () => {
      const why = answered ? null : fault('fetch-failed', `${target.host} closed the connection before it answered.`)
      if (inner.writableLength === 0) over(why)
      else inner.once('drain', () => over(why))
    })
    inner.setTimeout(limits.tunnelIdleMs, () => over(fault('fetch-failed', `The connection to ${target.host} was silent for too long.`)))
    server.emit('connection', inner)
  })
}

function secureLine(line: Socket, { host }: HostTarget, signal: AbortSignal): Promise<TLSSocket> {
  const name = host.replace(/^\[(.*)\]$/, '$1')
  return new Promise((resolve, reject) => {
    const give = (error: unknown): void => {
      done()
      line.destroy()
      reject(error)
    }
    const abort = (): void => give(signal.reason)
    const timer = setTimeout(() => give(new Error('no TLS in time')), limits.tunnelConnectMs)
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
    const secure = tls.connect({ socket: line, host: name, ...(net.isIP(name) ? {} : { servername: name }), ALPNProtocols: ['http/1.1'] })
    secure.once('error', give)
    secure.once('secureConnect', () => {
      done()
      secure.off('error', give)
      resolve(secure)
    })
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
  })
}

/** An agent whose only connection is this one. */
function oneLine(line: TLSSocket): Agent {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1, maxTotalSockets: 1 })
  let taken = false
  agent.createConnection = () => {
    if (taken) throw new Error('the connection was used up')
    taken = true
    return line
  }
  return agent
}

/** Why this request does not go to the host, whatever its connection was allowed for. */
function refusal(request: IncomingMessage, target: HostTarget, { judge }: InterceptOptions): { rule: string; reason: string } | null {
  const { method = '', url = '' } = request
  const form = (why: string) => ({ rule: 'http-form', reason: `The request to ${target.host} is not passed on: ${why}.` })
  const hosts = request.rawHeaders.filter((_, at) => at % 2 === 1 && request.rawHeaders[at - 1]?.toLowerCase() === 'host')
  const host = hosts.length === 1 ? parseAuthority(hosts[0] ?? '') : null
  if (!host?.ok || host.value.host !== target.host || (host.value.port ?? 443) !== target.port)
    return { rule: 'http-host', reason: `The request is for another host than ${target.host}:${target.port}.` }
  if (!url.startsWith('/') && !(url === '*' && method === 'OPTIONS')) return form('its target has a form that is not passed on')
  if (refusedMethods.has(method.toUpperCase())) return form(`${method.slice(0, 16)} is not passed on`)
  if (request.headers.upgrade !== undefined) return form('it asks for another protocol on the connection')
  return judge({ method, path: url })
}

function refuse(response: ServerResponse, status: 403 | 502, { rule, reason }: { rule: string; reason: string }): void {
  const text = `Bulkhead: ${reason}\nRule: ${rule}\n`
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'x-bulkhead-rule': rule.replace(/[^\x20-\x7e]/g, '?'),
    connection: 'close',
  })
  response.end(text)
}

function forward(request: IncomingMessage, response: ServerResponse, target: HostTarget, agent: Agent, secrets: readonly Secret[]): void {
  const given = pairs(request.rawHeaders).filter(([name]) => !hopByHop.has(name))
  // A secret that comes back compressed would not be found.
  const asked = secrets.length > 0 ? given.filter(([name]) => name !== 'accept-encoding') : given
  const { path, headers } = inject({ path: request.url ?? '/', headers: asked }, secrets)
  const values = secrets.map(({ value }) => value)
  const broke = (error: unknown): void => {
    if (response.headersSent) return void response.destroy()
    refuse(response, 502, { rule: 'host', reason: `${target.host} broke off: ${withoutSecrets(transportCause(error), values)}.` })
  }
  const onward = http.request({
    agent,
    method: request.method ?? 'GET',
    path,
    headers: headers.flat(),
    maxHeaderSize: limits.headerBytes,
  })
  onward.on('error', broke)
  onward.on('response', (answer) => {
    const encoding = answer.headers['content-encoding']?.trim().toLowerCase() ?? 'identity'
    if (secrets.length > 0 && encoding !== 'identity') {
      onward.destroy()
      return refuse(response, 502, {
        rule: 'secret-encoding',
        reason: `${target.host} answers compressed, so its secret could not be cut out.`,
      })
    }
    const fields = pairs(answer.rawHeaders).filter(
      ([name]) => !hopByHop.has(name) && name !== 'transfer-encoding' && !(secrets.length > 0 && name === 'content-length'),
    )
    response.writeHead(
      answer.statusCode ?? 502,
      fields.flatMap(([name, value]) => [name, withoutSecrets(value, values)]),
    )
    pipeline(answer, scrubbing(values), response, () => undefined)
  })
  response.on('close', () => {
    if (!response.writableFinished) onward.destroy()
  })
  pipeline(request, onward, (error) => error && onward.destroy())
}

function scrubbing(values: readonly string[]): Transform {
  const scrubber = createScrubber(values)
  return new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => done(null, scrubber.push(chunk)),
    flush: (done) => done(null, scrubber.end()),
  })
}

function pairs(raw: readonly string[]): (readonly [string, string])[] {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name.toLowerCase(), raw[at + 1] ?? ''] as const] : []))
}

/** A program that does not know our authority ends the handshake; its member should learn why. */
function clientRefusal(error: unknown, target: HostTarget): Fault {
  return fault('fetch-failed', `The program ended TLS for ${target.host}.`, {
    cause: transportCause(error),
    rule: 'tls-read',
    remedy: 'Requests to this host are read: the program has to trust the certificate in SSL_CERT_FILE.',
  })
}
