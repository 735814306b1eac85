/**
 * What the reader accepts. Everything is legal in every state; it keeps nothing between two requests. Whoever asks decides what may be read:
 * the reader sees bytes, and does not know whose. Refused: `overloaded`, `unsupported-content`. A document that keeps it busy for longer than
 * the deadline ends its process, and with it what else was being read.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { limits } from './limits.ts'

const page = z.int().min(1).max(100_000)

export const protocol = {
  /** A web page as Markdown, its links complete. */
  page: {
    body: z.strictObject({
      html: z.string().max(limits.htmlChars),
      /** Its address, which links may be relative to. */
      url: z.string().max(8192),
      /** All of it. Else what a reader came for, where that can be told: without menus, sidebars and advertisements. */
      whole: z.boolean(),
    }),
    reply: z.strictObject({
      title: z.string().nullable(),
      text: z.string(),
      /** What of the page `text` is. */
      part: z.enum(['article', 'whole']),
      truncated: z.boolean(),
    }),
    deadlineMs: limits.deadlineMs,
  },
  /** The text of a PDF file's pages, from `first` to `last` (default: from the first, at most `limits.pages`). Pictures of text have none. */
  pdf: {
    body: z.strictObject({
      bytes: z.instanceof(Uint8Array).refine(({ byteLength }) => byteLength <= limits.pdfBytes, `more than ${limits.pdfBytes} bytes`),
      first: page.optional(),
      last: page.optional(),
    }),
    reply: z.strictObject({
      title: z.string().nullable(),
      text: z.string(),
      /** Those that `text` has, and how many there are. */
      first: z.int(),
      last: z.int(),
      pages: z.int(),
      /** Text was cut within the pages named. */
      truncated: z.boolean(),
    }),
    deadlineMs: limits.deadlineMs,
  },
} satisfies Protocol
