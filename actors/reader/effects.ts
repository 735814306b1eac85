/** What the reader does, as Effect programs around the parsers. It touches nothing but memory. */
import * as Effect from 'effect/Effect'
import { asFault, type BodyOf, type Effects } from '../../kernel/index.ts'
import { readPage } from './page.ts'
import { readPdf } from './pdf.ts'
import type { protocol } from './protocol.ts'

type Done = { type: string; [key: string]: unknown }
type For<K extends keyof typeof protocol> = { request: number; body: BodyOf<typeof protocol, K> }

export const effects = {
  readPage: {
    outcomes: ['done', 'failed'],
    run: ({ body }: For<'page'>) => reading(async () => readPage(body)),
  },
  readPdf: {
    outcomes: ['done', 'failed'],
    run: ({ body }: For<'pdf'>) => reading((signal) => readPdf(body, signal)),
  },
} satisfies Effects

function reading(work: (signal: AbortSignal) => Promise<object>): Effect.Effect<Done> {
  return Effect.promise((signal) =>
    work(signal).then(
      (reply): Done => ({ type: 'done', reply }),
      (error: unknown): Done => ({ type: 'failed', error: asFault(error) }),
    ),
  )
}
