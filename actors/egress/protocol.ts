/**
 * What may be asked of egress. All kinds are legal from the first moment; while the upstream is being opened `model` and
 * `model-info` wait for it, and while it cannot be opened they are refused with `model-unreachable`.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { requestRule } from './request-rules.ts'
import { mode, ruleChange, sessionName } from './rules.ts'

const headers = z.record(z.string().max(256), z.string().max(16_384))

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.byteLength <= limits.partBytes, 'at most 64 KiB')
const tunnel = z.int().min(0)

const explanation = z.strictObject({
  verdict: z.enum(['allow', 'ask', 'deny']),
  /** Whether it would be fetched without a question. */
  allowed: z.boolean(),
  rule: z.string(),
  reason: z.string(),
})
export type HostExplanation = z.infer<typeof explanation>

const lists = { allow: z.array(z.string()), deny: z.array(z.string()) }
const rulesReply = z.strictObject({
  member: z.strictObject({ mode, ...lists, requests: z.array(requestRule).optional() }),
  sessions: z.record(z.string(), z.strictObject({ mode: mode.nullable(), deny: lists.deny })),
  /** `hosts` null: policy does not restrict. `failedClosed`: managed policy cannot be used, so the member's rules widen nothing. */
  managed: z.strictObject({
    hosts: z.array(z.string()).nullable(),
    decidedBy: z.string(),
    failedClosed: z.boolean(),
    /** The way out that policy names; both null where this machine's own settings count. */
    proxy: z.strictObject({ url: z.string().nullable(), pac: z.string().nullable(), decidedBy: z.string() }).optional(),
  }),
  registries: z.array(z.strictObject({ manager: z.enum(['npm', 'pip', 'apt', 'cargo']), pattern: z.string(), source: z.string() })),
  /** Entries that are ignored, and why. */
  warnings: z.array(z.string()),
  /** Why the file of rules cannot be used; nothing is allowed then. */
  problem: z.string().nullable(),
})
export type EgressRules = z.infer<typeof rulesReply>

const decision = z.strictObject({
  /** Epoch milliseconds. */
  at: z.number(),
  session: z.string().nullable(),
  via: z.enum(['fetch', 'tunnel']),
  host: z.string(),
  port: z.int(),
  verdict: z.enum(['allow', 'deny']),
  rule: z.string(),
})
export type EgressDecision = z.infer<typeof decision>

const searchHost = z.string().min(1).max(limits.patternChars)
const pageNumber = z.int().min(1).max(100_000)

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
   * One page as text: text as it is, HTML and PDF as the reader reads them. The capability's `hosts` limit says what may be reached: patterns, and `*` (every public host), `@packages` (this
   * machine's registries), `@member` (what the member's rules allow), `?` (other hosts are asked about); none or empty allows nothing.
   * No deadline: where the member is asked it takes as long as the member does. Refused: `bad-url`, `egress-denied`, `private-address`, `cross-host-redirect`, `unsupported-content`, `fetch-failed`, `overloaded`.
   */
  fetch: {
    body: z.strictObject({
      url: z.string().max(limits.urlChars),
      /** Of a text or a page; a PDF file is taken whole, or not at all. */
      maxBytes: z.int().min(1).max(limits.fetchMaxBytes).optional(),
      /** All of a page. Default false: what a reader comes for, where that can be told. */
      whole: z.boolean().optional(),
      /** Pages of a PDF file. Default: from the first, as many as the reader reads at once. */
      pages: z.strictObject({ first: pageNumber, last: pageNumber.optional() }).optional(),
    }),
    reply: z.strictObject({
      /** HTTP status of the last answer; not only 200 is an answer. */
      status: z.int(),
      /** Address the text came from, after redirects on the same host. */
      url: z.string(),
      contentType: z.string(),
      title: z.string().optional(),
      /** Markdown when the page is HTML, else its text. Untrusted content. */
      text: z.string(),
      /** HTML: what of it `text` is. */
      part: z.enum(['article', 'whole']).optional(),
      /** PDF: the pages in `text`, and how many there are. */
      pages: z.strictObject({ first: z.int(), last: z.int(), of: z.int() }).optional(),
      truncated: z.boolean(),
      /** For the rule that what was read must not decide what is done: see the threat model. */
      untrusted: z.literal(true),
      /** Fetched by this session a few minutes ago; the host was decided about anew. */
      cached: z.boolean(),
    }),
    deadlineMs: null,
  },
  /**
   * A search on the web, by the model API's own tool, limited to hosts the capability could reach. The question goes to the model API and
   * nowhere else. Refused: `egress-denied` (no host may be reached), `fetch-failed` (the API does not search; its own code is the cause),
   * `bad-input`, `model-unreachable`, `model-refused`, `overloaded`.
   */
  search: {
    body: z.strictObject({
      query: z.string().min(2).max(limits.searchQueryChars),
      /** Who searches: the conversation's own model. */
      model: z.string().min(1).max(200),
      /** Hosts, each with all below it: results of these only, or of none of these. Not both. */
      only: z.array(searchHost).max(limits.searchDomains).optional(),
      without: z.array(searchHost).max(limits.searchDomains).optional(),
    }),
    reply: z.strictObject({
      results: z.array(
        z.strictObject({
          title: z.string(),
          url: z.string(),
          /** When the page was last changed, in the provider's words. */
          age: z.string().nullable(),
        }),
      ),
      /** What the provider says about them; `[2]` is the second result. */
      summary: z.string(),
      searches: z.int(),
      /** Results that policy keeps back. */
      withheld: z.int(),
      /** As of `fetch`. */
      untrusted: z.literal(true),
    }),
    deadlineMs: limits.searchMs + 10_000,
  },
  /** What `fetch` of this address would be told, and why, without fetching it. The name of a host that is not allowed is not looked up. */
  explain: {
    body: z.strictObject({ url: z.string().max(limits.urlChars) }),
    reply: explanation,
  },
  /**
   * A TCP connection to a host: parts `open` once it stands, then `data`, then `end` when the host sends no more; the reply when both sides
   * are done. What the client sends comes as `tunnel-data` under the same `tunnel`, a number of the sender's own choice. `to` null: the
   * client speaks to a proxy (SOCKS5, CONNECT, plain HTTP) and says itself where to. What is sent must be for that host: see
   * inspect-stream.ts. Refused: `egress-denied`, `private-address`, `bad-url`, `fetch-failed`, `overloaded`.
   */
  connect: {
    body: z.strictObject({ tunnel, to: z.strictObject({ host: z.string().min(1).max(260), port: z.int().min(1).max(65_535) }).nullable() }),
    part: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('open') }),
      z.strictObject({ type: z.literal('data'), bytes }),
      z.strictObject({ type: z.literal('end') }),
    ]),
    reply: z.strictObject({}),
    deadlineMs: null,
  },
  /** Bytes for a tunnel; null: no more will come. Replies when there is room for more, also when the tunnel is over. */
  'tunnel-data': { body: z.strictObject({ tunnel, bytes: bytes.nullable() }), reply: z.strictObject({}), deadlineMs: null },
  /**
   * The certificate of the authority that signs for hosts whose TLS is read here, made anew with each start of egress. Whoever makes tunnels
   * for programs has them trust it.
   */
  authority: { body: z.strictObject({}), reply: z.strictObject({ pem: z.string() }) },
  /**
   * Reads the kept secrets anew: in force when it replies; a flow into which one belongs now, and that is not read, has ended. The message
   * carries none. `problem`: why some cannot be used; their hosts are closed.
   */
  'reload-secrets': { body: z.strictObject({}), reply: z.strictObject({ names: z.array(z.string()), problem: z.string().nullable() }) },
  /** The member's rules, what bounds them, and this machine's registries, read anew. */
  rules: { body: z.strictObject({}), reply: rulesReply },
  /**
   * Changes the member's rules: in force when it replies, for what is open too, and saved. Refused `bad-settings` (no pattern, or the file
   * of rules cannot be read), `overloaded`, `io-failed` (in force but not saved).
   */
  'change-rule': {
    body: z.strictObject({ rule: ruleChange, session: sessionName.nullable() }),
    reply: z.strictObject({}),
  },
  /** The last decisions, oldest first; of one session if named. */
  log: {
    body: z.strictObject({ count: z.int().min(1).max(limits.loggedDecisions), session: sessionName.nullable() }),
    reply: z.strictObject({ decisions: z.array(decision) }),
  },
} satisfies Protocol
