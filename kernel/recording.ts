/** The kernel's part of the message log: puts what actors note about their steps into it, each under its span. */
import { randomBytes } from 'node:crypto'
import type { Delivery } from './delivery.ts'
import type { Note } from './frames.ts'
import type { Live } from './lifecycle.ts'
import type { MessageLog } from './message-log.ts'
import { maxSpanChars } from './limits.ts'
import { encode } from './transcript.ts'

type Recording = {
  transcript: string | null
  noted(live: Live, note: Note, delivery: Delivery | undefined): void
  whenDurable(tell: () => void): void
}

/** Where an actor's lines go now; `id` null once its log broke off. */
type Current = { incarnation: number; id: number | null; n: number; chars: number }

export function recording(log: MessageLog | null): Recording {
  if (!log) return { transcript: null, noted: () => {}, whenDurable: (tell) => tell() }
  const salt = randomBytes(16).toString('base64url')
  const spans = new WeakMap<object, Current>()

  function begin(live: Live, begins: string): Current {
    const { session } = live.params
    const span = {
      incarnation: live.incarnation,
      n: 0,
      chars: 0,
      id:
        log?.begin({
          actor: live.id,
          kind: live.entry.manifest.kind,
          incarnation: live.incarnation,
          session: typeof session === 'string' ? session : null,
          begins,
        }) ?? null,
    }
    spans.set(live, span)
    return span
  }

  return {
    transcript: salt,
    noted(live, { event, value, did, digest, error, begins }, delivery) {
      const input = event ?? (delivery ? encode(delivery.event, salt) : null)
      // An actor that says it took a step on nothing: not ours to believe, and nothing a replay could use.
      if (input === null) return
      const known = spans.get(live)
      const current = known?.incarnation === live.incarnation ? known : null
      const isStart = current === null
      const span = current ?? begin(live, begins ?? '{}')
      span.chars += input.length + value.length + did.reduce((sum, text) => sum + text.length, 0)
      if (span.chars > maxSpanChars) span.id = null
      if (span.id !== null)
        log.add(span.id, span.n++, delivery?.event.from.badge.session ?? null, { event: input, value, did, digest, error })
      if (begins !== undefined && !isStart) begin(live, begins)
    },
    whenDurable: (tell) => log.whenDurable(tell),
  }
}
