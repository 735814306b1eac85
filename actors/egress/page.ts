/** What arrived, told apart: text as it is, and what the reader makes text of (HTML, PDF). Content type, charset. Pure. */
import { limits } from './limits.ts'

export type Arrived =
  | { kind: 'text'; contentType: string; text: string; truncated: boolean }
  | { kind: 'html'; contentType: string; html: string; truncated: boolean }
  | { kind: 'pdf'; contentType: string; bytes: Uint8Array }

const textTypes =
  /^(text\/.*|application\/(.*\+)?(json|xml|yaml|x-yaml|javascript|ecmascript|x-ndjson|jsonlines|toml|sql|graphql|x-sh)|image\/svg\+xml)$/
const htmlTypes = /^(text\/html|application\/xhtml\+xml)$/

/** Null when the bytes are neither text nor a PDF file. `header` is the Content-Type header, which the bytes may contradict. */
export function tellApart(bytes: Uint8Array, header: string | undefined, cut: boolean): Arrived | null {
  const { type, charset } = parseContentType(header)
  if (isPdf(bytes)) return { kind: 'pdf', contentType: 'application/pdf', bytes }
  if (!looksLikeText(bytes, charset)) return null
  const declaredText = type === '' || type === 'application/octet-stream' || textTypes.test(type) || htmlTypes.test(type)
  if (!declaredText) return null
  // A byte order mark says more about the bytes than whoever wrote the header.
  const source = decode(bytes, markedCharset(bytes) ?? charset ?? declaredCharset(bytes))
  const html = htmlTypes.test(type) || ((type === '' || type === 'application/octet-stream') && /^\s*(<!doctype html|<html)/i.test(source))
  const contentType = html ? type || 'text/html' : type || 'text/plain'
  const chars = html ? limits.htmlChars : limits.textChars
  const clipped = { text: source.slice(0, chars), truncated: cut || source.length > chars }
  return html ? { kind: 'html', contentType, html: clipped.text, truncated: clipped.truncated } : { kind: 'text', contentType, ...clipped }
}

/** By its first bytes, which every PDF file begins with. */
export function isPdf(bytes: Uint8Array): boolean {
  return startsWith(bytes, [0x25, 0x50, 0x44, 0x46, 0x2d])
}

export function parseContentType(header: string | undefined): { type: string; charset: string | null } {
  const [type = '', ...parameters] = (header ?? '').split(';')
  const charset = parameters.map((one) => /^\s*charset\s*=\s*"?([\w.:-]+)"?\s*$/i.exec(one)?.[1]).find((found) => found !== undefined)
  return { type: type.trim().toLowerCase(), charset: charset?.toLowerCase() ?? null }
}

function looksLikeText(bytes: Uint8Array, charset: string | null): boolean {
  if (charset?.startsWith('utf-16') || startsWith(bytes, [0xff, 0xfe]) || startsWith(bytes, [0xfe, 0xff])) return true
  return !bytes.subarray(0, 4096).includes(0)
}

function markedCharset(bytes: Uint8Array): string | null {
  if (startsWith(bytes, [0xff, 0xfe])) return 'utf-16le'
  if (startsWith(bytes, [0xfe, 0xff])) return 'utf-16be'
  return startsWith(bytes, [0xef, 0xbb, 0xbf]) ? 'utf-8' : null
}

function declaredCharset(bytes: Uint8Array): string {
  const head = new TextDecoder('latin1').decode(bytes.subarray(0, 2048))
  return /<meta[^>]+charset\s*=\s*["']?([\w-]+)/i.exec(head)?.[1] ?? 'utf-8'
}

function decode(bytes: Uint8Array, charset: string): string {
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, at) => bytes[at] === byte)
}
