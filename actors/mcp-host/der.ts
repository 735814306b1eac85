/** Just enough DER to read a signature block: what encloses what, and where. Pure. */
export type Der = { tag: number /** With tag and length. */; raw: Buffer; content: Buffer }

/** Throws when it is not exactly one element, or goes beyond its bytes. */
export function readDer(bytes: Buffer): Der {
  const element = readOne(bytes, 0)
  if (element.raw.length !== bytes.length) throw new Error('trailing bytes')
  return element
}

export function childrenOf({ content }: Der): Der[] {
  const children: Der[] = []
  for (let at = 0; at < content.length; ) {
    const child = readOne(content, at)
    children.push(child)
    at += child.raw.length
  }
  return children
}

function readOne(bytes: Buffer, start: number): Der {
  const tag = bytes.readUInt8(start)
  if ((tag & 0x1f) === 0x1f) throw new Error('unusual tag')
  const first = bytes.readUInt8(start + 1)
  const count = first < 0x80 ? 0 : first & 0x7f
  // 0x80 would be an indefinite length, which DER does not have.
  if (first === 0x80 || count > 4) throw new Error('unusual length')
  const length = count === 0 ? first : bytes.readUIntBE(start + 2, count)
  const from = start + 2 + count
  if (from + length > bytes.length) throw new Error('cut short')
  return { tag, raw: bytes.subarray(start, from + length), content: bytes.subarray(from, from + length) }
}

/** A child by position; throws when it is not there or has another tag. */
export function childAt(parent: Der, index: number, tag: number): Der {
  const child = childrenOf(parent)[index]
  if (child?.tag !== tag) throw new Error(`element ${index} is not as expected`)
  return child
}
