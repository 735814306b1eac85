/**
 * What a client sends into a tunnel, judged before any of it goes on: the name inside (TLS server name, HTTP Host) has to be the name the
 * tunnel was allowed for, so that an allowed host is no cover for another. Pure: bytes in, bytes to forward or a refusal out.
 *
 *   first bytes --TLS hello--> server name is the host?  --> the rest passes as it is
 *               --HTTP/1-----> Host is the host?         --> one request, written anew, then nothing more
 *               --other------> port 80 or 443: refused   --> other ports: passes as it is
 */
import { canonicalHost, isAddress } from './host-grammar.ts'
import { type BodyReader, createBodyReader } from './http-body.ts'
import { goesTo, looksLikeHttp, readHead, writeHead } from './http-head.ts'
import type { ProxyServer } from './proxy-settings.ts'
import type { Asked } from './request-rules.ts'
import type { HostTarget } from './rule-set.ts'
import { readHello } from './tls-hello.ts'

export type Inspected =
  | { forward: readonly Uint8Array[] }
  | { refuse: { rule: string; reason: string } }
  /** TLS to the right name, to be opened here; these are its first bytes. */
  | { open: Uint8Array }
export type StreamInspector = {
  push(bytes: Uint8Array): Inspected
  /** The client sends no more. */
  end(): Inspected
  /** Whether what comes now passes as it is. */
  passing(): boolean
}

const nothing: Inspected = { forward: [] }
/** Ports on which only what their name says is spoken, unless policy says otherwise. */
const plainPorts = new Set([80, 443])

export type InspectorOptions = {
  /** The proxy that reads what goes on, when that is not the host itself. */
  reader?: ProxyServer | null
  /** Every request has to pass it, so nothing goes on that is not read. Null: it may go. */
  judge?: ((asked: Asked) => { rule: string; reason: string } | null) | null
}

export function createInspector(target: HostTarget, { reader = null, judge = null }: InspectorOptions = {}): StreamInspector {
  let held: Uint8Array = Buffer.alloc(0)
  let phase: 'first' | 'passing' | 'request' | 'done' = 'first'
  let body: BodyReader | null = null

  function pass(bytes: Uint8Array): Inspected {
    phase = 'passing'
    return { forward: [bytes] }
  }

  function secured(bytes: Uint8Array): Inspected {
    if (!judge) return pass(bytes)
    phase = 'done'
    return { open: bytes }
  }

  function opaque(bytes: Uint8Array): Inspected {
    if (judge) return refuse('opaque-bytes', `What goes to ${target.host} is read, and this is neither TLS nor HTTP.`)
    if (!plainPorts.has(target.port)) return pass(bytes)
    const what = target.port === 443 ? 'TLS' : 'HTTP'
    return refuse('opaque-bytes', `What was sent to ${target.host}:${target.port} is not ${what}.`)
  }

  function first(bytes: Uint8Array): Inspected {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes])
    if (held.length === 0) return nothing
    const hello = readHello(held)
    if (hello.state === 'more') return nothing
    if (hello.state === 'hello') {
      if (hello.encrypted) return refuse('tls-encrypted-hello', 'The TLS hello hides a second server name.')
      if (hello.name === null)
        return isAddress(target.host) ? secured(held) : refuse('tls-no-name', `The TLS hello does not say that it is for ${target.host}.`)
      const name = canonicalHost(hello.name)
      if (name.ok && name.value === target.host) return secured(held)
      return refuse('tls-name', `The TLS hello is for another server than ${target.host}.`)
    }
    // A hello that is one and is broken must not pass as something else.
    if (held[0] === 0x16 && held[1] === 3) return refuse('tls-form', `The TLS hello to ${target.host} cannot be read: ${hello.why}.`)
    const http = target.port !== 443 && looksLikeHttp(held)
    if (http === null) return nothing
    return http ? request(held) : opaque(held)
  }

  function request(bytes: Uint8Array): Inspected {
    const read = readHead(bytes)
    if (read.state === 'more') return nothing
    if (read.state === 'bad') return refuse('http-form', `The request to ${target.host} is not passed on: ${read.why}.`)
    if (!goesTo(read.head, target)) return refuse('http-host', `The request is for another host than ${target.host}:${target.port}.`)
    const refused = judge?.({ method: read.head.method, path: read.head.path }) ?? null
    if (refused) return { refuse: refused }
    body = createBodyReader(read.head.body)
    phase = 'request'
    const rest = framed(bytes.subarray(read.head.length))
    return 'forward' in rest ? { forward: [writeHead(read.head, reader && { to: target, ...reader }), ...rest.forward] } : rest
  }

  /** The body as far as it goes. What comes after it was not judged, and does not go on: the answer ends the connection. */
  function framed(bytes: Uint8Array): Inspected {
    const taken = body?.take(bytes) ?? null
    if (taken === null) return refuse('http-form', `The body of the request to ${target.host} has broken framing.`)
    if (body?.over()) phase = 'done'
    return taken === 0 ? nothing : { forward: [bytes.subarray(0, taken)] }
  }

  return {
    push(bytes) {
      if (phase === 'passing') return { forward: [bytes] }
      if (phase === 'done') return nothing
      return phase === 'request' ? framed(bytes) : first(bytes)
    },
    end() {
      if (phase !== 'first' || held.length === 0) return nothing
      return opaque(held)
    },
    passing: () => phase === 'passing',
  }
}

function refuse(rule: string, reason: string): Inspected {
  return { refuse: { rule, reason } }
}
