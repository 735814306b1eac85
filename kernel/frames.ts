/** What travels between the kernel and an actor's host, in every placement. */
import { z } from 'zod'
import { traceparent } from './trace.ts'
import type { Fault, From } from './types.ts'

/** Kernel to host. Trusted: not validated by the host. */
export type ToActor =
  /** `transcript`: the salt of the message log. Each step then says what it was made of (`note`), and what it does outside waits for `durable`. */
  | { t: 'start'; id: string; params: Record<string, unknown>; slots: Record<string, number>; transcript: string | null }
  /** The steps up to `hold` are in the message log. */
  | { t: 'durable'; hold: number }
  /**
   * `n` is acknowledged by the step that handled it, or a later one. `handle`: a live socket of that number accompanies it. `revocable`: it may be
   * taken back until it is begun.
   */
  | {
      t: 'msg'
      n: number
      event: { type: string; body: unknown; from: From }
      handle?: number
      trace?: string
      revocable?: true
    }
  | { t: 'reply'; ref: number; body: unknown; caps: readonly number[] }
  | { t: 'refuse'; ref: number; error: Fault }
  | { t: 'part'; ref: number; body: unknown }
  | { t: 'cancel'; request: number }
  | { t: 'credit'; request: number; n: number }
  | { t: 'slots'; slots: Record<string, number> }
  | { t: 'stop' }

const slot = z.union([z.int().nonnegative(), z.string().max(200)])
const id = z.int().nonnegative()
const limits = z
  .strictObject({
    kinds: z.array(z.string()).optional(),
    session: z.string().optional(),
    expiresAt: z.number().optional(),
    uses: z.int().nonnegative().optional(),
    path: z.string().optional(),
    mode: z.enum(['ro', 'rw']).optional(),
    hosts: z.array(z.string()).optional(),
    tools: z.array(z.string()).optional(),
    rate: z.strictObject({ messages: z.int().positive(), perMs: z.int().positive() }).optional(),
    quota: z
      .strictObject({
        bytes: z.int().nonnegative().optional(),
        ms: z.number().nonnegative().optional(),
        tokens: z.int().nonnegative().optional(),
        processes: z.int().nonnegative().optional(),
      })
      .optional(),
  })
  .optional()
const caps = z
  .array(z.strictObject({ slot, limits, reason: z.string().max(500).optional() }))
  .max(64)
  .optional()
const fault = z.strictObject({
  code: z.string().max(100),
  message: z.string(),
  cause: z.string().optional(),
  remedy: z.string(),
  rule: z.string().optional(),
  retryAfterMs: z.number().optional(),
})

/** One thing a step wants done. */
const out = z.discriminatedUnion('t', [
  z.strictObject({
    t: z.literal('send'),
    slot,
    kind: z.string().max(100),
    body: z.unknown(),
    ref: id.optional(),
    deadlineMs: z.number().positive().nullable().optional(),
    caps,
    trace: z.string().regex(traceparent).optional(),
  }),
  z.strictObject({ t: z.literal('reply'), request: id, body: z.unknown(), caps }),
  z.strictObject({ t: z.literal('refuse'), request: id, error: fault }),
  z.strictObject({ t: z.literal('part'), request: id, body: z.unknown() }),
  z.strictObject({ t: z.literal('charge'), request: id, quota: z.enum(['tokens', 'processes']), amount: z.int() }),
  z.strictObject({ t: z.literal('cancel'), ref: id }),
  z.strictObject({ t: z.literal('credit'), ref: id, n: z.int().positive() }),
  z.strictObject({
    t: z.literal('log'),
    level: z.enum(['debug', 'info', 'warn', 'error']),
    message: z.string(),
    data: z.record(z.string(), z.unknown()).optional(),
  }),
])

/** A step for the message log. The event of a delivered message is not repeated: the kernel has it under `ack`. */
const note = z.strictObject({
  event: z.string().optional(),
  value: z.string(),
  did: z.array(z.string()),
  digest: z.string().max(100),
  error: z.string().nullable(),
  /** JSON of where a new span begins: after this step, or with it when it is a start. */
  begins: z.string().optional(),
})

/** Host to kernel: the actor may be hostile, so the kernel validates every frame with this. */
export const fromActor = z.discriminatedUnion('t', [
  /** Loaded and locked down; `facts` is what its own process says it may still do. */
  z.strictObject({ t: z.literal('ready'), facts: z.record(z.string(), z.boolean()) }),
  /** The committed result of one step, all or nothing. `ack` releases that delivery and all before it; `hold` asks to be told when the step is durable; `untaken`: that delivery was taken back, and is no step. */
  z.strictObject({
    t: z.literal('step'),
    ack: id.optional(),
    out: z.array(out),
    note: note.optional(),
    hold: id.optional(),
    untaken: z.literal(true).optional(),
  }),
])

export type FromActor = z.infer<typeof fromActor>
export type Out = z.infer<typeof out>
export type Note = z.infer<typeof note>
