import { z } from 'zod'
import type { Protocol } from '../../types.ts'

export const protocol = {
  /** Writes these bytes to the kernel as they are. */
  attack: { body: z.strictObject({ bytes: z.instanceof(Uint8Array), times: z.int() }), reply: z.strictObject({}), deadlineMs: 60_000 },
} satisfies Protocol
