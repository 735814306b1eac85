/** The text of a PDF file's pages. */
import * as pdfjs from 'unpdf/pdfjs'
import { type BodyOf, fault, type ReplyOf } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import type { protocol } from './protocol.ts'

const remedy = 'Check that it is whole and has no password; a program in the workspace may read what this cannot.'

/**
 * In a damaged file pdf.js may meet a second mistake after it has given its answer, and reject what nobody waits for: that may not end the process
 * for whoever asks next. Anything else that is rejected unheard ends it, as it should.
 */
process.on('unhandledRejection', (reason) => {
  if (!(reason instanceof Error && reason.stack?.includes('/unpdf/'))) throw reason
})

type Reply = ReplyOf<typeof protocol, 'pdf'>

/** Rejects with `unsupported-content` when the bytes are no PDF file that can be read, or have no such pages. */
export async function readPdf({ bytes, first = 1, last }: BodyOf<typeof protocol, 'pdf'>, signal: AbortSignal): Promise<Reply> {
  const document = await open(bytes)
  try {
    const pages = document.numPages
    if (first > pages || (last !== undefined && last < first))
      throw fault('unsupported-content', `There are no pages ${first} to ${last ?? 'the end'}.`, {
        cause: `The document has ${pages}.`,
        remedy: 'Ask for pages it has.',
      })
    const wanted = Math.min(last ?? first + limits.pages - 1, pages)
    const texts: string[] = []
    let chars = 0
    let reached = first - 1
    while (reached < wanted && chars < limits.textChars) {
      signal.throwIfAborted()
      const text = await pageText(document, ++reached)
      texts.push(`--- page ${reached} ---\n${text}`)
      chars += text.length
    }
    const text = texts.join('\n\n')
    const truncated = text.length > limits.textChars
    return {
      title: await titleOf(document),
      text: truncated ? text.slice(0, limits.textChars) : text,
      first,
      last: reached,
      pages,
      truncated,
    }
  } finally {
    await document.loadingTask.destroy()
  }
}

type Pdf = Awaited<ReturnType<typeof pdfjs.getDocument>['promise']>

async function open(bytes: Uint8Array): Promise<Pdf> {
  try {
    // A copy, because it takes what it is given. Nothing is drawn, so no fonts are needed, and no stranger's code is run.
    return await pdfjs.getDocument({ data: new Uint8Array(bytes), useSystemFonts: false, disableFontFace: true, verbosity: 0 }).promise
  } catch (error) {
    const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    throw fault('unsupported-content', 'The bytes are no PDF file that can be read.', { cause, remedy })
  }
}

async function pageText(document: Pdf, number: number): Promise<string> {
  try {
    const page = await document.getPage(number)
    const { items } = await page.getTextContent()
    page.cleanup()
    const text = items.map((item) => ('str' in item ? item.str + (item.hasEOL ? '\n' : '') : '')).join('')
    return text.trim() || '(no text: perhaps a picture)'
  } catch (error) {
    return `(this page cannot be read: ${error instanceof Error ? error.message : String(error)})`
  }
}

async function titleOf(document: Pdf): Promise<string | null> {
  const { info } = await document.getMetadata().catch(() => ({ info: {} }))
  const title = (info as { Title?: unknown }).Title
  return typeof title === 'string' && title.trim() ? title.trim().slice(0, limits.titleChars) : null
}
