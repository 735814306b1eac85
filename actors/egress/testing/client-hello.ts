/** TLS ClientHellos for tests: written by hand, so that each field can be wrong. */
export type HelloShape = {
  names?: readonly (string | Uint8Array)[]
  nameType?: number
  extra?: readonly (readonly [type: number, content: Uint8Array])[]
  recordMinor?: number
  /** Largest piece of the handshake in one record. */
  perRecord?: number
  trailing?: Uint8Array
}

export function clientHello({ names, nameType = 0, extra = [], recordMinor = 1, perRecord = 16_384, trailing }: HelloShape = {}): Buffer {
  const list = (names ?? []).map((name) => Buffer.concat([Buffer.from([nameType]), sized(2, Buffer.from(name as string))]))
  const extensions = [
    ...(names === undefined ? [] : [Buffer.concat([u(2, 0), sized(2, sized(2, Buffer.concat(list)))])]),
    ...extra.map(([type, content]) => Buffer.concat([u(2, type), sized(2, content)])),
  ]
  const body = Buffer.concat([
    u(2, 0x0303),
    Buffer.alloc(32, 7),
    sized(1, Buffer.alloc(32, 9)),
    sized(2, Buffer.from([0x13, 0x01, 0x13, 0x02])),
    sized(1, Buffer.from([0])),
    sized(2, Buffer.concat(extensions)),
  ])
  const handshake = Buffer.concat([Buffer.from([1]), u(3, body.length), body])
  const records: Buffer[] = []
  for (let at = 0; at < handshake.length; at += perRecord)
    records.push(Buffer.concat([Buffer.from([0x16, 3, recordMinor]), sized(2, handshake.subarray(at, at + perRecord))]))
  return Buffer.concat([...records, ...(trailing ? [trailing] : [])])
}

function u(size: number, value: number): Buffer {
  const out = Buffer.alloc(size)
  out.writeUIntBE(value, 0, size)
  return out
}

function sized(size: number, content: Uint8Array): Buffer {
  return Buffer.concat([u(size, content.length), content])
}
