/** Consent's only contact with the world: chance for session names, and the time of a decision. */
import { randomBytes } from 'node:crypto'
import * as Effect from 'effect/Effect'
import type { Effects } from '../../kernel/index.ts'
import { policyRetryMs, retryMs } from './limits.ts'

/** Crockford's alphabet without look-alikes: names are read aloud and typed. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

export const effects = {
  /** A new session name (40 random bits: unique, and not guessable by counting) and the time, epoch ms. */
  mint: {
    outcomes: ['done'],
    run: () =>
      Effect.sync(() => ({
        type: 'done',
        name: `s-${[...randomBytes(8)].map((byte) => alphabet[byte % 32]).join('')}`,
        at: Date.now(),
      })),
  },
  /** Waits a moment before a task is tried again. */
  pause: { outcomes: ['done'], run: () => Effect.as(Effect.sleep(retryMs), { type: 'done' }) },
  /** Waits before policy is asked again. */
  rest: { outcomes: ['done'], run: () => Effect.as(Effect.sleep(policyRetryMs), { type: 'done' }) },
  /** The time, epoch ms. */
  stamp: { outcomes: ['done'], run: () => Effect.sync(() => ({ type: 'done', at: Date.now() })) },
} satisfies Effects
