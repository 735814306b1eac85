/** What arrived, as text a model can read: content type, charset, HTML to Markdown. Pure. */
import TurndownService from 'turndown'
import { limits } from './limits.ts'

export type Page = { contentType: string; title?: string; text: string; truncated: boolean }

const textTypes =
  /^(text\/.*|application\/(.*\+)?(json|xml|yaml|x-yaml|javascript|ecmascript|x-ndjson|jsonlines|toml|sql|graphql|x-sh)|image\/svg\+xml)$/
const htmlTypes = /^(text\/html|application\/xhtml\+xml)$/
const noContent = ['script', 'style', 'noscript', 'template', 'title', 'meta', 'link', 'iframe', 'object', 'canvas', 'svg'] as const

const turndown = new TurndownService({ headingStyle: 'atx', codeBlockStyle: 'fenced', bulletListMarker: '-' }).remove([
  ...noContent,
] as never)

/** Null when the bytes are not text. `header` is the Content-Type header, which the bytes may contradict. */
export function readPage(bytes: Uint8Array, header: string | undefined, cut: boolean): Page | null {
  const { type, charset } = parseContentType(header)
  if (!looksLikeText(bytes, charset)) return null
  const declaredText = type === '' || type === 'application/octet-stream' || textTypes.test(type) || htmlTypes.test(type)
  if (!declaredText) return null
  // A byte order mark says more about the bytes than whoever wrote the header.
  const source = decode(bytes, markedCharset(bytes) ?? charset ?? declaredCharset(bytes))
  const html = htmlTypes.test(type) || ((type === '' || type === 'application/octet-stream') && /^\s*(<!doctype html|<html)/i.test(source))
  const contentType = html ? type || 'text/html' : type || 'text/plain'
  if (!html) return { contentType, ...clip(source, cut) }
  const whole = source.length <= limits.htmlBytes
  const title = titleOf(source)
  const text = toMarkdown(whole ? source : source.slice(0, limits.htmlBytes))
  return { contentType, ...(title ? { title } : {}), ...clip(text, cut || !whole) }
}

export function parseContentType(header: string | undefined): { type: string; charset: string | null } {
  const [type = '', ...parameters] = (header ?? '').split(';')
  const charset = parameters.map((one) => /^\s*charset\s*=\s*"?([\w.:-]+)"?\s*$/i.exec(one)?.[1]).find((found) => found !== undefined)
  return { type: type.trim().toLowerCase(), charset: charset?.toLowerCase() ?? null }
}

/** Deeper than any page people write; the parser's time grows with depth times length, and its recursion with depth. */
const deepest = 400
/** Elements that need no end tag: left open they do not nest. */
const unnested = new Set(
  'area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead tbody tfoot option optgroup html head body'.split(
    ' ',
  ),
)

function toMarkdown(html: string): string {
  if (nesting(html) > deepest) return bareText(html)
  try {
    return turndown.turndown(html).trim()
  } catch {
    // Hostile nesting overflows the converter's recursion; bare text still serves the reader.
    return bareText(html)
  }
}

function nesting(html: string): number {
  let depth = 0
  let most = 0
  for (const [, end, name = ''] of html.matchAll(/<(\/?)([a-z][a-z0-9-]*)/gi)) {
    if (unnested.has(name.toLowerCase())) continue
    depth = end ? Math.max(0, depth - 1) : depth + 1
    most = Math.max(most, depth)
  }
  return most
}

/** In one pass: what a page writes must not decide how long this takes. */
function bareText(html: string): string {
  const out: string[] = []
  let hidden: string | null = null
  for (const piece of html.split('<')) {
    const tag = /^\/?[a-z]+/i.exec(piece)?.[0].toLowerCase()
    if (hidden === null && (tag === 'script' || tag === 'style')) hidden = `/${tag}`
    else if (hidden === tag) hidden = null
    const end = piece.indexOf('>')
    if (hidden === null) out.push(end === -1 && tag !== undefined ? '' : piece.slice(end + 1))
  }
  return out.join(' ').replace(/\s+/g, ' ').trim()
}

function titleOf(html: string): string | null {
  const raw = /<title[^<>]{0,200}>([^<]{0,1000})/i.exec(html)?.[1]?.trim()
  if (!raw) return null
  return turndown
    .turndown(`<p>${raw}</p>`)
    .replace(/\s+/g, ' ')
    .replace(/\\(?=[\W_])/g, '')
}

function looksLikeText(bytes: Uint8Array, charset: string | null): boolean {
  if (charset?.startsWith('utf-16') || startsWith(bytes, [0xff, 0xfe]) || startsWith(bytes, [0xfe, 0xff])) return true
  if (startsWith(bytes, [0x25, 0x50, 0x44, 0x46])) return false
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

function clip(text: string, cut: boolean): { text: string; truncated: boolean } {
  return text.length <= limits.textChars ? { text, truncated: cut } : { text: text.slice(0, limits.textChars), truncated: true }
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, at) => bytes[at] === byte)
}
