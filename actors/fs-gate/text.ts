/** Text: recognising it, windows of lines, replacing. Pure. */
import { fault } from '../../kernel/index.ts'
import { decode, type Decoded } from './encoding.ts'

/** Decodes text exactly, a byte order mark included. Throws `not-text`. */
export function decodeText(bytes: Uint8Array, path: string): string {
  return decoded(bytes, path).text
}

/** With the encoding it is in. Throws `not-text`. */
export function decoded(bytes: Uint8Array, path: string): Decoded {
  const found = decode(bytes)
  if (found) return found
  throw notText(path)
}

export function notText(path: string) {
  return fault('not-text', `${path} is not text.`)
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
    if (this.#offset <= 1 && this.#fits(piece)) return
    let start = 0
    while (start < piece.length) {
      if (this.#full || this.#line >= this.#offset + this.#limit) return this.#pass(piece, start)
      const newline = piece.indexOf('\n', start)
      const end = newline === -1 ? piece.length : newline + 1
      this.#take(piece, start, end)
      this.#atLineStart = newline !== -1
      if (newline !== -1) this.#line += 1
      start = end
    }
  }

  /** Keeps a piece that lies wholly in the window as one: most files do, and to cut them into lines costs as much as to read them. */
  #fits(piece: string): boolean {
    if (this.#full || piece.length > this.#maxBytes) return false
    const last = this.#offset + this.#limit - 1
    let line = this.#line
    let ended = 0
    for (let at = piece.indexOf('\n'); at !== -1; at = piece.indexOf('\n', ended)) {
      ended = at + 1
      line += 1
    }
    const whole = ended === piece.length
    if ((whole ? line - 1 : line) > last) return false
    const bytes = this.#bytes + Buffer.byteLength(piece)
    if (bytes > this.#maxBytes) return false
    this.#kept.push(piece)
    this.#bytes = bytes
    this.#line = line
    if (piece !== '') this.#atLineStart = whole
    return true
  }

  /** Behind the window lines are only counted. */
  #pass(piece: string, from: number): void {
    this.#more = true
    let lines = 0
    for (let at = piece.indexOf('\n', from); at !== -1; at = piece.indexOf('\n', at + 1)) lines += 1
    this.#line += lines
    this.#atLineStart = piece.endsWith('\n')
  }

  #take(piece: string, start: number, end: number): void {
    if (this.#line < this.#offset) return
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
  const { replaceAll } = change
  // Models write LF; a file that has CRLF throughout keeps it.
  const crlf = !text.includes(change.oldText) && text.includes('\r\n') && !/(^|[^\r])\n/.test(text)
  const oldText = crlf ? change.oldText.replaceAll(/\r?\n/g, '\r\n') : change.oldText
  const newText = crlf ? change.newText.replaceAll(/\r?\n/g, '\r\n') : change.newText
  const pieces = text.split(oldText)
  const replacements = pieces.length - 1
  if (replacements === 0) {
    const mixed = text.includes('\r\n') && oldText.includes('\n') && !oldText.includes('\r\n')
    throw fault(
      'no-match',
      `The text to replace is not in ${path}.`,
      mixed ? { cause: 'The file has CRLF line ends, the text to replace has LF.' } : {},
    )
  }
  if (replacements > 1 && !replaceAll)
    throw fault('ambiguous-match', `The text to replace occurs ${replacements} times in ${path}.`, {
      rule: 'exactly one match unless replaceAll',
    })
  return { text: pieces.join(newText), replacements }
}

export type Replacement = { oldText: string; newText: string; replaceAll?: boolean | undefined }
