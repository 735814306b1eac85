/** Text in the encodings that people's files have, both ways and exact: UTF-8, UTF-16 with its mark, and the Windows one byte code. Pure. */

import { Buffer, isUtf8 } from 'node:buffer'

export type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252'
export type Decoded = { text: string; encoding: Encoding }

/** null: not text. A byte order mark stays in the text, so that writing it back gives the same bytes. */
export function decode(bytes: Uint8Array): Decoded | null {
  for (const encoding of candidates(bytes)) {
    try {
      const text = new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes)
      if (isText(text, encoding)) return { text, encoding }
    } catch {
      // Not in this one.
    }
  }
  return null
}

/** UTF-8 that comes in pieces, which may end within a character. A byte order mark stays. */
export class Utf8Pieces {
  #rest: Buffer = Buffer.alloc(0)

  /** The text as far as it is complete; null: not UTF-8. */
  add(piece: Buffer): string | null {
    const bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece])
    const end = wholeCharacters(bytes)
    this.#rest = bytes.subarray(end)
    const whole = bytes.subarray(0, end)
    return isUtf8(whole) ? whole.toString('utf8') : null
  }

  /** Whether the last character is complete. */
  get isWhole(): boolean {
    return this.#rest.length === 0
  }
}

/** Bytes up to the last character that begins but does not end in them. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back += 1) {
    const byte = bytes[bytes.length - back] as number
    if ((byte & 0b1100_0000) === 0b1000_0000) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? bytes.length - back : bytes.length
  }
  return bytes.length
}

/** null: the text has a character that the encoding lacks. */
export function encode(text: string, encoding: Encoding): Buffer | null {
  if (encoding === 'utf-8') return Buffer.from(text)
  if (encoding === 'utf-16le') return Buffer.from(text, 'utf16le')
  if (encoding === 'utf-16be') return Buffer.from(text, 'utf16le').swap16()
  const bytes = Buffer.alloc(text.length)
  for (let i = 0; i < text.length; i += 1) {
    const byte = oneByte().get(text[i] as string)
    if (byte === undefined) return null
    bytes[i] = byte
  }
  return bytes
}

function candidates(bytes: Uint8Array): Encoding[] {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return bytes.length % 2 === 0 ? ['utf-16le'] : []
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return bytes.length % 2 === 0 ? ['utf-16be'] : []
  return ['utf-8', 'windows-1252']
}

/** Any bytes are characters in a one byte code: what holds control characters is something else. */
function isText(text: string, encoding: Encoding): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  return encoding === 'windows-1252' ? !/[\0-\x08\x0e-\x1a\x1c-\x1f\x7f\x81\x8d\x8f\x90\x9d]/.test(text) : !text.includes('\0')
}

let table: Map<string, number> | null = null
function oneByte(): Map<string, number> {
  table ??= new Map(Array.from({ length: 256 }, (_, byte) => [new TextDecoder('windows-1252').decode(Uint8Array.of(byte)), byte] as const))
  return table
}
