/**
 * Names without a resolver: each name a session asks for gets an address of its own from a range nobody routes, and a connection to that
 * address is a connection to that name. So no question about a name ever leaves the machine. Pure.
 */

/** 198.18.0.0/15, set aside for benchmarks (RFC 2544): no host has such an address. */
const base = (198 << 24) | (18 << 16)
/** Names a session may have addresses for; then the oldest address is given to another name. */
const maxNames = 65_000

const typeA = 1
const typeAAAA = 28
const typeAny = 255

export class Names {
  readonly #byName = new Map<string, number>()
  readonly #byAddress = new Map<number, string>()
  #next = 1

  /** The name's address, as 32 bits. */
  addressOf(name: string): number {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const address = (base + this.#next) >>> 0
    this.#next = (this.#next % maxNames) + 1
    const before = this.#byAddress.get(address)
    if (before !== undefined) this.#byName.delete(before)
    this.#byName.set(name, address)
    this.#byAddress.set(address, name)
    return address
  }

  /** What a connection to this address is for: a name, the address itself, or null for one that stands for nothing. */
  targetOf(address: string): string | null {
    const bits = bitsOf(address)
    if (bits === null) return address.includes(':') ? `[${address.replace(/%.*$/, '')}]` : null
    if (bits >>> 17 !== base >>> 17) return address
    return this.#byAddress.get(bits) ?? null
  }

  /** Answers one DNS query (RFC 1035), or null for what is none. `asked`: hears the name, unless it is this machine's. */
  answer(query: Uint8Array, asked: (name: string) => void = () => {}): Uint8Array | null {
    const view = new DataView(query.buffer, query.byteOffset, query.byteLength)
    if (query.length < 12 || query.length > 512 || (view.getUint16(2) & 0xf800) !== 0 || view.getUint16(4) !== 1) return null
    const read = readName(query, 12)
    if (read === null || query.length < read.end + 4) return null
    const type = view.getUint16(read.end)
    const internet = view.getUint16(read.end + 2) === 1
    const question = query.subarray(12, read.end + 4)
    const name = read.name.toLowerCase()
    const known = isPublicName(name)
    if (!isLoopbackName(name)) asked(name)
    const records: Uint8Array[] = []
    if (internet && known && (type === typeA || type === typeAny)) records.push(record(typeA, bytesOf(this.addressOf(name))))
    if (internet && isLoopbackName(name)) {
      if (type === typeA) records.push(record(typeA, Uint8Array.of(127, 0, 0, 1)))
      if (type === typeAAAA)
        records.push(
          record(
            typeAAAA,
            Uint8Array.from({ length: 16 }, (_, at) => (at === 15 ? 1 : 0)),
          ),
        )
    }
    const head = new DataView(new ArrayBuffer(12))
    head.setUint16(0, view.getUint16(0))
    // A response, recursion available, and as the client asked; a name that cannot be one does not exist.
    head.setUint16(2, 0x8080 | (view.getUint16(2) & 0x0100) | (known || isLoopbackName(name) ? 0 : 3))
    head.setUint16(4, 1)
    head.setUint16(6, records.length)
    return Buffer.concat([new Uint8Array(head.buffer), question, ...records])
  }
}

/** Names of at least two labels, of plain characters; not those that mean this machine or its neighbours. */
function isPublicName(name: string): boolean {
  if (name.length > 253 || !/^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+$/.test(name)) return false
  return !/(^|\.)(localhost|local|arpa|internal|invalid|onion)$/.test(name) && !/\.\d+$/.test(name)
}

function isLoopbackName(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost')
}

/** Queries have no compressed names. */
function readName(bytes: Uint8Array, start: number): { name: string; end: number } | null {
  const labels: string[] = []
  let at = start
  for (;;) {
    const length = bytes[at]
    if (length === undefined || length > 63) return null
    at += 1
    if (length === 0) return { name: labels.join('.'), end: at }
    if (at + length > bytes.length) return null
    labels.push(Buffer.from(bytes.subarray(at, at + length)).toString('latin1'))
    at += length
  }
}

/** Good for a minute; its name is the question's. */
function record(type: number, data: Uint8Array): Uint8Array {
  const head = new DataView(new ArrayBuffer(12))
  head.setUint16(0, 0xc00c)
  head.setUint16(2, type)
  head.setUint16(4, 1)
  head.setUint32(6, 60)
  head.setUint16(10, data.length)
  return Buffer.concat([new Uint8Array(head.buffer), data])
}

function bitsOf(address: string): number | null {
  const plain = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(plain)) return null
  return plain.split('.').reduce((sum, part) => (sum << 8) | Number(part), 0) >>> 0
}

/** An address as the kernel has it, 4 or 16 bytes, in its usual spelling. */
export function addressOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const groups = Array.from({ length: 8 }, (_, at) => view.getUint16(2 * at).toString(16))
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1)
}

function bytesOf(bits: number): Uint8Array {
  return Uint8Array.of(bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255)
}
