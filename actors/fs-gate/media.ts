/** What is shown as it is and not as text: images, PDF files, and the pictures in notebooks. Told by their first bytes, not by their name. Pure. */
import { Buffer } from 'node:buffer'
import { imageSize } from 'image-size'
import { z } from 'zod'
import { fault } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import type { MediaType } from './protocol.ts'

export type Media = { type: MediaType; data: Uint8Array<ArrayBuffer>; width?: number; height?: number }

/** As many bytes as `mediaType` has to see. */
export const headBytes = 12

export function mediaType(head: Uint8Array): MediaType | null {
  const text = Buffer.from(head.subarray(0, headBytes)).toString('latin1')
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (/^GIF8[79]a/.test(text)) return 'image/gif'
  if (/^RIFF[^]{4}WEBP/.test(text)) return 'image/webp'
  return text.startsWith('%PDF-') ? 'application/pdf' : null
}

/** Throws `not-text` for an image whose head is broken, and `too-large`. */
export function mediaOf(type: MediaType, data: Uint8Array<ArrayBuffer>, path: string): Media {
  if (type === 'application/pdf') return { type, data }
  const size = sizeOf(data)
  if (size === null) throw fault('not-text', `${path} looks like an image, but its head is damaged.`)
  const { width, height } = size
  if (Math.max(width, height) > limits.imageSide)
    throw fault('too-large', `${path} is ${width} × ${height} pixels.`, {
      rule: `at most ${limits.imageSide} pixels a side`,
      remedy: 'Make a smaller copy with a program in the workspace.',
    })
  return { type, data, width, height }
}

function sizeOf(data: Uint8Array): { width: number; height: number } | null {
  try {
    const { width, height } = imageSize(data)
    return width > 0 && height > 0 ? { width, height } : null
  } catch {
    return null
  }
}

const lines = z.union([z.string(), z.array(z.string())]).transform((text) => (typeof text === 'string' ? text : text.join('')))
const output = z.looseObject({
  output_type: z.string(),
  text: lines.optional(),
  data: z.record(z.string(), z.unknown()).optional(),
  ename: z.string().optional(),
  evalue: z.string().optional(),
})
const notebook = z.looseObject({
  nbformat: z.int().min(4),
  cells: z.array(z.looseObject({ cell_type: z.string(), source: lines, outputs: z.array(output).optional() })).max(limits.notebookCells),
})

/** A notebook as text to read, with its pictures; null when it is none. */
export function readNotebook(json: string): { text: string; media: Media[] } | null {
  const parsed = notebook.safeParse(jsonOf(json))
  if (!parsed.success) return null
  const media: Media[] = []
  const parts = parsed.data.cells.flatMap(({ cell_type: kind, source, outputs = [] }, index) => [
    `[cell ${index + 1}, ${kind}]`,
    source,
    ...outputs.flatMap((one) => [`[output of cell ${index + 1}]`, outputText(one, media)]),
    '',
  ])
  return { text: parts.map((part) => (part === '' || part.endsWith('\n') ? part : `${part}\n`)).join(''), media }
}

function outputText({ output_type: type, text, data = {}, ename = '', evalue = '' }: z.infer<typeof output>, media: Media[]): string {
  if (type === 'error') return `${ename}: ${evalue}`
  if (text !== undefined) return text
  for (const kind of ['image/png', 'image/jpeg'] as const) {
    const picture = lines.safeParse(data[kind])
    if (!picture.success) continue
    const bytes = Buffer.from(picture.data, 'base64')
    const fits = media.length < limits.notebookPictures && bytes.length <= limits.notebookPictureBytes && mediaType(bytes) === kind
    const size = fits ? sizeOf(bytes) : null
    if (size === null || Math.max(size.width, size.height) > limits.imageSide) return `(${kind}, not shown)`
    media.push({ type: kind, data: bytes, ...size })
    return `(${kind}: picture ${media.length})`
  }
  const plain = lines.safeParse(data['text/plain'])
  return plain.success ? plain.data : `(${Object.keys(data).join(', ') || type}, not shown)`
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
