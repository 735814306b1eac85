/**
 * What may be asked of egress. All kinds are legal from the first moment; while the upstream is being opened `model` and
 * `model-info` wait for it, and while it cannot be opened they are refused with `model-unreachable`.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { limits } from './limits.ts'

const headers = z.record(z.string().max(256), z.string().max(16_384))

export const protocol = {
  /**
   * One HTTP request of the Anthropic SDK. `path` is `/v1/…` with an optional query. The answer streams: one `head`, then
   * `chunk`s, then the empty reply. Statuses of the API (401, 429, 529 …) are answers, not refusals.
   * Refused: `model-unreachable`, `model-refused` (a redirect, a path outside `/v1/`), `overloaded`.
   */
  model: {
    body: z.strictObject({
      method: z.enum(['GET', 'POST']),
      path: z.string().max(limits.urlChars),
      headers,
      body: z.string().max(limits.modelRequestBytes),
    }),
    part: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('head'), status: z.int(), headers }),
      z.strictObject({ type: z.literal('chunk'), bytes: z.custom<Uint8Array>((value) => value instanceof Uint8Array) }),
    ]),
    reply: z.strictObject({}),
    deadlineMs: null,
  },
  /** Who answers `model`: the API (or what ANTHROPIC_BASE_URL names), or the embedded practice model. */
  'model-info': {
    body: z.strictObject({}),
    reply: z.strictObject({ mode: z.enum(['api', 'practice']), baseUrl: z.string() }),
  },
  /**
   * One page as text. The capability's `hosts` limit is the allow list; none or empty allows nothing.
   * Refused: `bad-url`, `egress-denied`, `private-address`, `cross-host-redirect`, `unsupported-content`, `fetch-failed`, `overloaded`.
   */
  fetch: {
    body: z.strictObject({ url: z.string().max(limits.urlChars), maxBytes: z.int().min(1).max(limits.fetchMaxBytes).optional() }),
    reply: z.strictObject({
      /** HTTP status of the last answer; not only 200 is an answer. */
      status: z.int(),
      /** Address the text came from, after redirects on the same host. */
      url: z.string(),
      contentType: z.string(),
      title: z.string().optional(),
      /** Markdown when the page is HTML, else its text. Untrusted content. */
      text: z.string(),
      truncated: z.boolean(),
    }),
    deadlineMs: 60_000,
  },
  /** What `fetch` of this address would be told, and why, without fetching it. */
  explain: {
    body: z.strictObject({ url: z.string().max(limits.urlChars) }),
    reply: z.strictObject({ allowed: z.boolean(), rule: z.string(), reason: z.string() }),
  },
} satisfies Protocol
