/**
 * The name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), read from the beginning of a stream. Pure. Reads across record and
 * segment borders; every length is checked before it is believed; what is not understood is said to be, never guessed.
 */
import { limits } from './limits.ts'

export type Hello =
  /** Not all of it is there yet. */
  | { state: 'more' }
  | { state: 'not-tls'; why: string }
  | {
      state: 'hello'
      /** As sent; null when there is none. */
      name: string | null
      /** A second, encrypted hello inside (ECH, or its forerunner): the name above then need not be the one that is wanted. */
      encrypted: boolean
    }

const handshakeRecord = 0x16
const clientHello = 0x01
const serverName = 0x0000
const encryptedHello = new Set([0xfe0d, 0xffce])

export function readHello(bytes: Uint8Array): Hello {
  const handshake: number[] = []
  let at = 0
  while (handshake.length < 4 || handshake.length < 4 + length24(handshake)) {
    if (handshake.length >= 4 && 4 + length24(handshake) > limits.helloBytes) return no('its hello is too long')
    if (bytes.length < at + 5) return plausible(bytes.subarray(at))
    const [type, major, minor] = [bytes[at], bytes[at + 1], bytes[at + 2]]
    const length = ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0)
    // Any minor version: what a client writes there has not meant anything for years, and must not be a way around this.
    if (type !== handshakeRecord || major !== 3 || (minor ?? 9) > 4) return no('it does not begin with a handshake')
    if (length === 0 || length > 16_384) return no('a record has an impossible length')
    const body = bytes.subarray(at + 5, at + 5 + length)
    for (const byte of body) handshake.push(byte)
    if (handshake.length > 0 && handshake[0] !== clientHello) return no('its first message is not a hello')
    if (body.length < length) {
      if (handshake.length >= 4 && handshake.length >= 4 + length24(handshake)) break
      return handshake.length > limits.helloBytes ? no('its hello is too long') : { state: 'more' }
    }
    at += 5 + length
  }
  return parseHello(Uint8Array.from(handshake.slice(4, 4 + length24(handshake))))
}

function plausible(head: Uint8Array): Hello {
  if (head.length > 0 && head[0] !== handshakeRecord) return no('it does not begin with a handshake')
  if (head.length > 1 && head[1] !== 3) return no('it does not begin with a handshake')
  return { state: 'more' }
}

function parseHello(body: Uint8Array): Hello {
  const reader = createReader(body)
  try {
    reader.skip(2 + 32)
    reader.skip(reader.number(1))
    reader.skip(reader.number(2))
    reader.skip(reader.number(1))
    if (reader.left() === 0) return { state: 'hello', name: null, encrypted: false }
    const extensions = createReader(reader.take(reader.number(2)))
    if (reader.left() > 0) return no('something follows its extensions')
    let name: string | null = null
    let encrypted = false
    const seen = new Set<number>()
    while (extensions.left() > 0) {
      const type = extensions.number(2)
      const content = extensions.take(extensions.number(2))
      if (seen.has(type)) return no('an extension is there twice')
      seen.add(type)
      if (encryptedHello.has(type)) encrypted = true
      if (type !== serverName) continue
      const list = createReader(content)
      const names = createReader(list.take(list.number(2)))
      if (list.left() > 0 || names.number(1) !== 0) return no('its server name is not a host name')
      name = Buffer.from(names.take(names.number(2))).toString('latin1')
      if (names.left() > 0 || name === '') return no('it names more than one server, or none')
    }
    return { state: 'hello', name, encrypted }
  } catch {
    return no('a length in its hello is wrong')
  }
}

function createReader(bytes: Uint8Array) {
  let at = 0
  const take = (count: number): Uint8Array => {
    if (at + count > bytes.length) throw new RangeError('past the end')
    at += count
    return bytes.subarray(at - count, at)
  }
  return {
    left: () => bytes.length - at,
    take,
    skip: (count: number) => void take(count),
    number: (size: 1 | 2): number => take(size).reduce((sum, byte) => sum * 256 + byte, 0),
  }
}

function length24(handshake: readonly number[]): number {
  return ((handshake[1] ?? 0) << 16) | ((handshake[2] ?? 0) << 8) | (handshake[3] ?? 0)
}

function no(why: string): Hello {
  return { state: 'not-tls', why }
}
