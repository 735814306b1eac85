import { z } from 'zod'
import type { Protocol } from '../../types.ts'

export const protocol = {
  /** Its step goes on until the lever of its parameters is moved; without a lever it is over at once. */
  stall: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: null },
  note: { body: z.strictObject({ n: z.int() }), reply: z.strictObject({ noted: z.int() }), deadlineMs: null },
  /** The notes it got since it was asked last, in their order. */
  notes: { body: z.strictObject({}), reply: z.strictObject({ notes: z.array(z.int()) }), deadlineMs: null },
} satisfies Protocol
