import { z } from 'zod'
import type { Protocol } from '../../types.ts'

const text = z.strictObject({ text: z.string().max(1000) })
const n = z.strictObject({ n: z.int() })

export const protocol = {
  echo: { body: text, reply: z.strictObject({ text: z.string(), count: z.int(), from: z.string(), session: z.string().nullable() }) },
  /** Answers with so many characters, or asks `peer` with them first. */
  long: { body: z.strictObject({ characters: z.int(), ask: z.boolean() }), reply: z.strictObject({ text: z.string() }), deadlineMs: null },
  /** Handled by doing nothing. */
  silent: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: 50 },
  /** Does nothing else ever again. */
  spin: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: null },
  /** Changes state and never answers. */
  never: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: null },
  /** What the jail should deny; `dir`: reading and writing that folder as well; `outgrowMiB`: holding so much at once. */
  attempt: {
    body: z.strictObject({ dir: z.string().optional(), outgrowMiB: z.int().optional() }),
    reply: z.strictObject({ results: z.record(z.string(), z.string()) }),
  },
  /** Parts from an effect, with credit. */
  stream: { body: z.strictObject({ parts: z.int() }), part: n, reply: z.strictObject({}) },
  /** A hundred parts and the reply from one step. */
  burst: { body: z.strictObject({}), part: n, reply: z.strictObject({}) },
  /** Charges its own request, and answers or does not. */
  spend: {
    body: z.strictObject({ quota: z.enum(['tokens', 'processes']), amount: z.int(), answer: z.boolean() }),
    reply: z.strictObject({}),
  },
  /** Keeps more and more in V8's heap, or so much outside it, and does nothing else until it is ended for it. */
  hoard: { body: z.strictObject({ outsideMiB: z.int().nullable() }), reply: z.strictObject({}), deadlineMs: null },
  /** Throws where nobody catches it: outside of any step and effect. */
  breaks: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: null },
  throws: { body: z.strictObject({}), reply: z.strictObject({}) },
  /** Sends `kind` on the accompanying capability, or on `slot`, and passes the answer back. */
  ask: { body: z.strictObject({ slot: z.string(), kind: z.string() }), reply: z.strictObject({ answer: z.unknown() }) },
} satisfies Protocol
