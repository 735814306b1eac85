import { z } from 'zod'
import type { Protocol } from '../../types.ts'

export const protocol = {
  /** A numbered message under a grant of the test's own book-keeping. The answer says that it was handled. */
  note: { body: z.strictObject({ grant: z.int(), n: z.int() }), reply: z.strictObject({ handled: z.int() }), deadlineMs: null },
  /** Sends `note` on the capability with this reason, if it holds one. */
  pass: {
    body: z.strictObject({ key: z.string(), kind: z.string(), grant: z.int(), n: z.int() }),
    reply: z.strictObject({ answer: z.unknown() }),
    deadlineMs: null,
  },
  /** Keeps the accompanying capability under `key`. */
  keep: { body: z.strictObject({ key: z.string() }), reply: z.strictObject({}), deadlineMs: null },
  /** Hands what it keeps under `key`, narrowed, to whoever asks. */
  lend: {
    body: z.strictObject({ key: z.string(), limits: z.record(z.string(), z.unknown()) }),
    reply: z.strictObject({}),
    deadlineMs: null,
  },
} satisfies Protocol
