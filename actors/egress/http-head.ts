/**
 * The head of an HTTP/1 request that wants to pass, read strictly (RFC 9112): whatever two readers could read in two ways is refused. Pure.
 * What passes is written anew from the parts, so that the other side sees what was judged here.
 */
import { canonicalHost, parseAuthority } from './host-grammar.ts'
import { limits } from './limits.ts'

export type Body = { kind: 'none' } | { kind: 'length'; bytes: number } | { kind: 'chunked' }
export type Head = {
  method: string
  /** Origin form, or `*`. */
  path: string
  /** Of an absolute-form target; null otherwise. */
  authority: { host: string; port: number | null } | null
  host: { host: string; port: number | null }
  headers: readonly (readonly [string, string])[]
  body: Body
  /** Bytes of the input it took. */
  length: number
}
export type HeadRead = { state: 'more' } | { state: 'bad'; why: string } | { state: 'head'; head: Head }

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Field values: visible characters, blanks and tabs; nothing below 0x20, no DEL. */
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/
const targetCharacters = /^[\x21-\x7e]+$/
/** Of the connection, not of the message: this one is not the client's. */
export const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'upgrade',
])
export const refusedMethods = new Set(['TRACE', 'TRACK', 'CONNECT'])

const methods = ['GET ', 'HEAD ', 'POST ', 'PUT ', 'PATCH ', 'DELETE ', 'OPTIONS ', 'CONNECT ', 'TRACE ', 'TRACK ', 'PRI ']

/** Whether a stream that begins so is HTTP/1: a known method, and a first line that says so at its end. Null while that is not there yet. */
export function looksLikeHttp(bytes: Uint8Array): boolean | null {
  const text = Buffer.from(bytes.subarray(0, limits.requestHeadBytes)).toString('latin1')
  const end = text.indexOf('\n')
  if (end !== -1) return methods.some((method) => text.startsWith(method)) && / HTTP\/\d+(\.\d+)?\r?$/.test(text.slice(0, end))
  return bytes.length < limits.requestHeadBytes && methods.some((method) => method.startsWith(text.slice(0, method.length))) ? null : false
}

export function readHead(bytes: Uint8Array): HeadRead {
  const text = Buffer.from(bytes.subarray(0, limits.requestHeadBytes + 4)).toString('latin1')
  const end = text.indexOf('\r\n\r\n')
  const lines = (end === -1 ? text : text.slice(0, end)).split('\r\n')
  // Checked also while more is to come: a bare end of line must not be waited past.
  if (
    lines.some(
      (line, at) => /[\n\0]/.test(line) || (line.includes('\r') && !(end === -1 && at === lines.length - 1 && line.endsWith('\r'))),
    )
  )
    return bad('a line has a bare line end or a NUL')
  if (end === -1) return bytes.length > limits.requestHeadBytes ? bad('the head is too long') : { state: 'more' }
  if (end > limits.requestHeadBytes) return bad('the head is too long')
  const [requestLine = '', ...fields] = lines
  const [, method = '', target = '', minor = ''] = /^(\S+) (\S+) HTTP\/1\.([01])$/.exec(requestLine) ?? []
  if (!token.test(method) || !targetCharacters.test(target)) return bad('the first line is not a request of HTTP/1')
  if (refusedMethods.has(method.toUpperCase())) return bad(`${method.slice(0, 16)} is not passed on`)
  if (fields.length > limits.requestFields) return bad('it has too many fields')
  const headers: [string, string][] = []
  for (const field of fields) {
    const [, name = '', value = ''] = /^([^:]*):[ \t]*(.*?)[ \t]*$/s.exec(field) ?? []
    if (!token.test(name) || !fieldValue.test(value)) return bad('a field has a form that can be read in two ways')
    headers.push([name.toLowerCase(), value])
  }
  const only = (name: string): string[] => headers.filter(([key]) => key === name).map(([, value]) => value)
  const hosts = only('host')
  const host = hosts.length === 1 ? parseAuthority(hosts[0] ?? '') : null
  if (!host?.ok) return bad('it has no Host, or more than one, or one that is not a host')
  const read = readTarget(target, method)
  if (read === null) return bad('its target has a form that is not passed on')
  if (only('upgrade').length > 0) return bad('it asks for another protocol on the connection')
  const body = bodyOf(only('transfer-encoding'), only('content-length'), minor)
  if (typeof body === 'string') return bad(body)
  return { state: 'head', head: { method, ...read, host: host.value, headers, body, length: end + 4 } }
}

function readTarget(target: string, method: string): Pick<Head, 'path' | 'authority'> | null {
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return { path: target, authority: null }
  const [, authority, path = ''] = /^http:\/\/([^/?#@]*)([^#]*)$/i.exec(target) ?? []
  const parsed = authority === undefined ? null : parseAuthority(authority)
  if (!parsed?.ok) return null
  return { path: path.startsWith('/') ? path : `/${path}`, authority: parsed.value }
}

/** What frames the body, or what makes that unclear. */
function bodyOf(encodings: readonly string[], lengths: readonly string[], minor: string): Body | string {
  if (encodings.length > 0) {
    if (lengths.length > 0) return 'it has a Content-Length beside a Transfer-Encoding'
    if (minor === '0') return 'HTTP/1.0 has no Transfer-Encoding'
    return encodings.length === 1 && encodings[0]?.toLowerCase() === 'chunked'
      ? { kind: 'chunked' }
      : 'its Transfer-Encoding is not exactly chunked'
  }
  if (lengths.length === 0) return { kind: 'none' }
  const [length = ''] = lengths
  if (lengths.length > 1 || !/^\d{1,15}$/.test(length)) return 'its Content-Length is not one plain number'
  return Number(length) === 0 ? { kind: 'none' } : { kind: 'length', bytes: Number(length) }
}

/** Whether head and target agree about where it goes. `port`: of the connection. */
export function goesTo(head: Head, target: { host: string; port: number }): boolean {
  const agrees = ({ host, port }: { host: string; port: number | null }): boolean => {
    const canonical = canonicalHost(host)
    return canonical.ok && canonical.value === target.host && (port ?? 80) === target.port
  }
  return agrees(head.host) && (head.authority === null || agrees(head.authority))
}

/**
 * The head to send: one request on the connection, then it ends, so that nothing unjudged can follow on it. `proxy`: it is read by one, which
 * wants the whole address and may want to know who asks.
 */
export function writeHead(
  { method, path, headers }: Head,
  proxy: { to: { host: string; port: number }; authorization: string | null } | null = null,
): Buffer {
  const kept = headers.filter(([name]) => !hopByHop.has(name))
  const { host, port } = proxy?.to ?? { host: '', port: 80 }
  const origin = proxy === null ? '' : `http://${host}${port === 80 ? '' : `:${port}`}`
  const lines = [
    `${method} ${origin}${path === '*' && origin !== '' ? '' : path} HTTP/1.1`,
    ...kept.map(([name, value]) => `${name}: ${value}`),
    ...(proxy?.authorization ? [`proxy-authorization: ${proxy.authorization}`] : []),
    'connection: close',
    '',
    '',
  ]
  return Buffer.from(lines.join('\r\n'), 'latin1')
}

function bad(why: string): HeadRead {
  return { state: 'bad', why }
}
