import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import type { protocol as reader } from '../../reader/protocol.ts'
import { DEFAULT_READ_LINES, MAX_LINE_CHARS, MAX_RESULT_CHARS } from '../limits.ts'
import { locate, shortPath } from '../paths.ts'
import { pageRange, pagesNote, pagesOf } from './page-range.ts'
import { type Call, tool } from './tool.ts'

type ReadReply = ReplyOf<typeof fsGate, 'read'>
type PagesReply = ReplyOf<typeof reader, 'pdf'>

export const read = tool({
  name: 'Read',
  description: `Reads a file from a connected folder. Text comes as lines numbered as in \`cat -n\`, up to ${DEFAULT_READ_LINES} from the start; use offset and limit for the rest. Images (PNG, JPEG, GIF, WebP) and PDF files are shown as they are, large or long PDF files better as the text of some pages (pages), notebooks (.ipynb) as their cells with outputs.`,
  input: z.strictObject({
    file_path: z.string().min(1).describe('Path of the file'),
    offset: z.int().min(1).optional().describe('First line to read, counted from 1'),
    limit: z.int().min(1).optional().describe('How many lines to read'),
    pages: pageRange.optional(),
  }),
  plan({ file_path, offset, limit, pages }, workspace) {
    const file = locate(file_path, workspace)
    const body = { path: file.path, offset: offset ?? 1, limit: limit ?? DEFAULT_READ_LINES, media: true }
    const at = { folder: file.folder }
    const call: Call =
      pages === undefined ? { at, kind: 'read', body } : { at, kind: 'read', body: { ...body, largePdf: true }, pages: pagesOf(pages) }
    return { access: 'read', title: `Read ${shortPath(file)}${pages === undefined ? '' : `, pages ${pages}`}`, file, calls: [call] }
  },
  present({ offset = 1, pages: asked }, [answer]) {
    if (asked !== undefined) {
      const { first, last, pages, ...has } = answer.body as PagesReply
      return {
        ok: true,
        text: [has.text, ...(has.truncated ? ['(cut here: there is more)'] : []), pagesNote({ first, last, of: pages })].join('\n'),
      }
    }
    const { text, truncated, lines: total, encoding, as, media = [], size } = answer.body as ReadReply
    const pictures = media.map(({ type, data }) => ({ media_type: type, data: data.toBase64() }))
    if (as === 'image' || as === 'pdf')
      return { ok: true, text: media.map((one) => `(${named(one)}, ${size} bytes)`).join('\n'), media: pictures }
    if (text === '') return { ok: true, text: offset > 1 ? `(no line ${offset}: the file ends before it)` : '(the file is empty)' }
    const lines = text.split('\n')
    if (lines.at(-1) === '') lines.pop()
    const numbered: string[] = []
    // Whole lines only, and room for the note: what is left out must be said with the right offset.
    let room = MAX_RESULT_CHARS - 200
    for (const [index, line] of lines.entries()) {
      const shown = `${String(offset + index).padStart(6)}\t${shorten(line)}`
      room -= shown.length + 1
      if (room < 0) break
      numbered.push(shown)
    }
    if (truncated || numbered.length < lines.length)
      numbered.push(`(more follows: the file has ${total} lines; read on with offset ${offset + numbered.length})`)
    if (encoding !== undefined) numbered.push(`(the file is in ${encoding}; Edit keeps that, Write makes it UTF-8)`)
    if (as === 'notebook') numbered.push('(shown as cells; Edit and Write work on the JSON of the file)')
    return { ok: true, text: numbered.join('\n'), ...(pictures.length > 0 ? { media: pictures } : {}) }
  },
})

function named({ type, width, height }: NonNullable<ReadReply['media']>[number]): string {
  return width === undefined ? type : `${type}, ${width} × ${height} pixels`
}

function shorten(line: string): string {
  return line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS)}… (line has ${line.length} characters)` : line
}
