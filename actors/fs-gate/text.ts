/** UTF-8 text: recognising it, windows of lines, replacing. Pure. */
import { fault } from '../../kernel/index.ts'

/** Decodes UTF-8 exactly, a byte order mark included. Throws `not-text`. */
export function decodeText(bytes: Uint8Array, path: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    if (!text.includes('\0')) return text
  } catch {
    // Refused below, as text with NUL characters is.
  }
  throw notText(path)
}

export function notText(path: string) {
  return fault('not-text', `${path} is not UTF-8 text.`)
}

/** Collects lines `offset` to `offset + limit - 1` of a text that comes in pieces, within a byte limit. Line ends are kept as they are. */
export class LineWindow {
  readonly #offset: number
  readonly #limit: number
  readonly #maxBytes: number
  #line = 1
  #atLineStart = true
  #kept: string[] = []
  #bytes = 0
  #full = false
  #more = false

  constructor(offset: number, limit: number, maxBytes: number) {
    this.#offset = offset
    this.#limit = limit
    this.#maxBytes = maxBytes
  }

  add(piece: string): void {
    let start = 0
    while (start < piece.length) {
      const newline = piece.indexOf('\n', start)
      const end = newline === -1 ? piece.length : newline + 1
      this.#take(piece, start, end)
      this.#atLineStart = newline !== -1
      if (newline !== -1) this.#line += 1
      start = end
    }
  }

  #take(piece: string, start: number, end: number): void {
    if (this.#line < this.#offset) return
    if (this.#full || this.#line >= this.#offset + this.#limit) {
      this.#more = true
      return
    }
    const part = piece.slice(start, end)
    const size = Buffer.byteLength(part)
    if (this.#bytes + size <= this.#maxBytes) {
      this.#kept.push(part)
      this.#bytes += size
      return
    }
    // A line that does not fit is cut when it is the first (minified files), left out otherwise.
    if (this.#bytes === 0) this.#kept.push(part.slice(0, Math.floor(this.#maxBytes / 4)))
    this.#full = true
    this.#more = true
  }

  /** `lines`: of the whole text; a final line without newline counts. */
  result(): { text: string; lines: number; truncated: boolean } {
    return { text: this.#kept.join(''), lines: this.#atLineStart ? this.#line - 1 : this.#line, truncated: this.#more }
  }
}

/** The text with the replacement made. Throws `no-match` and `ambiguous-match`. */
export function replaceText(text: string, change: Replacement, path: string): { text: string; replacements: number } {
  const { oldText, newText, replaceAll } = change
  const pieces = text.split(oldText)
  const replacements = pieces.length - 1
  if (replacements === 0) {
    const cause =
      text.includes('\r\n') && !oldText.includes('\r\n') && oldText.includes('\n')
        ? 'The file has CRLF line ends, the text to replace has LF.'
        : undefined
    throw fault('no-match', `The text to replace is not in ${path}.`, cause === undefined ? {} : { cause })
  }
  if (replacements > 1 && !replaceAll)
    throw fault('ambiguous-match', `The text to replace occurs ${replacements} times in ${path}.`, {
      rule: 'exactly one match unless replaceAll',
    })
  return { text: pieces.join(newText), replacements }
}

export type Replacement = { oldText: string; newText: string; replaceAll?: boolean | undefined }
