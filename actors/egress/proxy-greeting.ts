/**
 * How a program that knows it speaks to a proxy says where it wants to go: SOCKS5 (RFC 1928), HTTP CONNECT, or a plain HTTP request with an
 * absolute target. Pure: bytes in, what to answer and where to connect out. One port serves all three, told apart by their first byte.
 */
import { canonicalHost, parseAuthority } from './host-grammar.ts'
import { readHead } from './http-head.ts'
import { limits } from './limits.ts'
import type { HostTarget } from './rule-set.ts'

export type Greeting =
  | { state: 'more'; answer?: Uint8Array }
  | { state: 'bad'; why: string; answer: Uint8Array }
  | {
      state: 'target'
      target: HostTarget
      /** What the client has sent already for the one it is connected to. */
      rest: Uint8Array
      opened: Uint8Array
      refused(rule: string, reason: string): Uint8Array
    }

const none = Buffer.alloc(0)

/** Feed it everything the client sent so far that is not taken yet; `taken` bytes of it are not to be fed again. */
export function createGreeter(): { push(bytes: Uint8Array): Greeting } {
  let held: Uint8Array = none
  let greeted = false
  return {
    push(bytes) {
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes])
      if (held.length === 0) return { state: 'more' }
      if (!greeted && held[0] !== 5) return http(held)
      if (!greeted) {
        const count = held[1]
        if (count === undefined || held.length < 2 + count) return { state: 'more' }
        // No method but "none": who speaks is known without.
        if (!held.subarray(2, 2 + count).includes(0)) return bad('it wants to authenticate', Buffer.from([5, 0xff]))
        held = held.subarray(2 + count)
        greeted = true
        const next = held.length > 0 ? socks(held) : null
        const chosen = Buffer.from([5, 0])
        if (next === null || next.state === 'more') return { state: 'more', answer: chosen }
        return next.state === 'bad'
          ? { ...next, answer: Buffer.concat([chosen, next.answer]) }
          : { ...next, opened: Buffer.concat([chosen, next.opened]), refused: (...why) => Buffer.concat([chosen, next.refused(...why)]) }
      }
      return socks(held)
    },
  }
}

const socksReply = (code: number): Uint8Array => Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0])

function socks(bytes: Uint8Array): Greeting {
  const [version, command, reserved, kind] = bytes
  if (version !== 5 || (bytes.length > 2 && reserved !== 0)) return bad('it is not SOCKS5', socksReply(1))
  if (bytes.length < 5) return { state: 'more' }
  if (command !== 1) return bad('only CONNECT is served', socksReply(7))
  const size = kind === 1 ? 4 : kind === 4 ? 16 : kind === 3 ? 1 + (bytes[4] ?? 0) : null
  if (size === null) return bad('its address is of no known kind', socksReply(8))
  if (bytes.length < 4 + size + 2) return { state: 'more' }
  const address = bytes.subarray(4, 4 + size)
  const text =
    kind === 1
      ? address.join('.')
      : kind === 3
        ? Buffer.from(address.subarray(1)).toString('latin1')
        : `[${Array.from({ length: 8 }, (_, at) => (((address[2 * at] ?? 0) << 8) | (address[2 * at + 1] ?? 0)).toString(16)).join(':')}]`
  const host = canonicalHost(text)
  const port = ((bytes[4 + size] ?? 0) << 8) | (bytes[5 + size] ?? 0)
  if (!host.ok || port === 0) return bad('its address cannot be used', socksReply(8))
  return {
    state: 'target',
    target: { host: host.value, port },
    rest: bytes.subarray(4 + size + 2),
    opened: socksReply(0),
    refused: () => socksReply(2),
  }
}

function http(bytes: Uint8Array): Greeting {
  const text = Buffer.from(bytes.subarray(0, limits.requestHeadBytes + 4)).toString('latin1')
  const end = text.indexOf('\r\n\r\n')
  if (end === -1)
    return bytes.length > limits.requestHeadBytes || !/^[A-Za-z]/.test(text)
      ? bad('it is no proxy request', answer(400, '', 'no request'))
      : { state: 'more' }
  const [, authority] = /^CONNECT ([!-~]+) HTTP\/1\.[01]\r\n/.exec(text) ?? []
  if (authority === undefined) {
    const read = readHead(bytes)
    if (read.state !== 'head' || read.head.authority === null) {
      const why = read.state === 'bad' ? read.why : 'its target does not say where to'
      return bad(why, answer(400, '', why))
    }
    const { host, port } = read.head.authority
    return {
      state: 'target',
      target: { host, port: port ?? 80 },
      rest: bytes,
      opened: none,
      refused: (rule, reason) => answer(403, rule, reason),
    }
  }
  const parsed = parseAuthority(authority)
  // Fields of a CONNECT say nothing that is heeded, but they must be fields.
  if (!parsed.ok || parsed.value.port === null || /[\0\n]/.test(text.slice(0, end).replaceAll('\r\n', ''))) {
    const why = 'its target is not host:port'
    return bad(why, answer(400, '', why))
  }
  return {
    state: 'target',
    target: { host: parsed.value.host, port: parsed.value.port },
    rest: bytes.subarray(end + 4),
    opened: Buffer.from('HTTP/1.1 200 Connection established\r\n\r\n'),
    refused: (rule, reason) => answer(403, rule, reason),
  }
}

/** A refusal a program can show and a model can read. */
export function answer(status: 400 | 403 | 502, rule: string, reason: string): Uint8Array {
  const text = `Bulkhead: ${reason}${rule === '' ? '' : `\nRule: ${rule}`}\n`
  const phrase = { 400: 'Bad Request', 403: 'Forbidden', 502: 'Bad Gateway' }[status]
  const field = rule.replace(/[^\x20-\x7e]/g, '?')
  const head = [
    `HTTP/1.1 ${status} ${phrase}`,
    'content-type: text/plain; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    ...(rule === '' ? [] : [`x-bulkhead-rule: ${field}`]),
    'connection: close',
    '',
    '',
  ]
  return Buffer.from(head.join('\r\n') + text)
}

function bad(why: string, reply: Uint8Array): Greeting {
  return { state: 'bad', why, answer: reply }
}
