/** What sample accepts. */
import { z } from 'zod'
import type { Protocol } from '../../index.ts'

export const protocol = {
  /** Legal in every state. Refused `overloaded` while as many greetings as it keeps are being written. */
  hello: {
    body: z.strictObject({ name: z.string().min(1).max(100) }),
    reply: z.strictObject({ text: z.string() }),
  },
} satisfies Protocol
