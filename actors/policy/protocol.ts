/**
 * What policy accepts. `effective`, `watch`, `explain` and `secrets` wait until the sources have been read once; all kinds are legal from then
 * on. Refused `overloaded` when too many wait or watch.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { values } from './keys.ts'
import { sourceKind, sourceState } from './sources.ts'

const problem = z.strictObject({ key: z.string().nullable(), source: z.string(), message: z.string() })

const entry = z.strictObject({
  key: z.string(),
  /** As in force; `null`: no restriction. Secrets are `"(set)"`. */
  value: z.unknown(),
  /** `managed settings, /etc/bulkhead/managed-settings.json`, or `default`. */
  decidedBy: z.string(),
})
export type PolicyEntry = z.infer<typeof entry>

const sourceView = z.strictObject({ kind: sourceKind, place: z.string(), state: sourceState, why: z.string().optional() })

const effective = z.strictObject({
  entries: z.array(entry),
  problems: z.array(problem),
  sources: z.array(sourceView),
  /** Managed policy is there but cannot be used: nothing applies and local settings are off. */
  failedClosed: z.boolean(),
  /** The organization's switch. While it is off no session starts and the other keys do not matter. */
  enabled: z.boolean(),
})
export type EffectivePolicy = z.infer<typeof effective>

const explanation = z.strictObject({
  ...entry.shape,
  type: z.string(),
  default: z.unknown(),
  effect: z.string(),
  example: z.unknown(),
  problems: z.array(problem),
})
export type PolicyExplanation = z.infer<typeof explanation>

const policy = z.strictObject({
  values: values.omit({ otlpHeaders: true }),
  /** Who decided, by key. */
  decidedBy: z.record(z.string(), z.string()),
  failedClosed: z.boolean(),
})
/** What the other actors go by. */
export type Policy = z.infer<typeof policy>

export const protocol = {
  /** Every effective value with its source, for people. */
  effective: { body: z.strictObject({}), reply: effective },
  /** What is in force, now and at every change of it, until cancelled. */
  watch: { body: z.strictObject({}), part: z.strictObject({ policy }), reply: z.strictObject({}), deadlineMs: null },
  /** What would be wrong with a settings file of this text. Changes nothing. */
  check: {
    body: z.strictObject({ text: z.string().max(1024 * 1024) }),
    reply: z.strictObject({ ok: z.boolean(), problems: z.array(problem) }),
  },
  /** One key: its value, who decided, what it means. Refused `not-found`. */
  explain: { body: z.strictObject({ key: z.string().max(200) }), reply: explanation },
  /** Values that are not for everyone who watches: headers for the telemetry collector. */
  secrets: { body: z.strictObject({}), reply: z.strictObject({ otlpHeaders: z.record(z.string(), z.string()) }) },
} satisfies Protocol
