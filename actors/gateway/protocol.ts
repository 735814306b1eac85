/** What the gateway accepts from inside. What clients may say is in client-methods.ts. */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'

const option = z.strictObject({ id: z.string(), label: z.string(), scope: z.enum(['once', 'session', 'always']).nullable() })

export const protocol = {
  /**
   * From the daemon, one-way: a client connected; its socket waits under this number. `local`: through the Unix socket, which only this
   * user can reach. `page`: through a loopback port, which anything on the machine and any web page can; it has to prove itself.
   * Legal while serving.
   */
  connection: { body: z.strictObject({ conn: z.int(), door: z.enum(['local', 'page']) }) },
  /**
   * From consent: asks everyone who watches the session; the first answer is the reply. Refused `no-one-to-ask` when nobody
   * watches, or when all who do leave or decline to answer. Cancelling it takes the question off their screens.
   */
  'ask-member': {
    body: z.strictObject({
      session: z.string(),
      id: z.string(),
      tool: z.string(),
      title: z.string(),
      detail: z.string(),
      options: z.array(option).min(1).max(9),
    }),
    reply: z.strictObject({ option: z.string(), by: z.string() }),
    deadlineMs: null,
  },
} satisfies Protocol

export type Option = z.infer<typeof option>
