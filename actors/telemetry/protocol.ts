/**
 * What telemetry accepts. `event`, `hops`, `workspace` and `audit` are legal in every state until it stops; what cannot be exported is counted, what
 * cannot be written to the audit log is refused.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'

const scalar = z.union([z.string(), z.number(), z.boolean()])
const traceContext = z.string().regex(/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/)
const attributes = z.record(z.string().max(100), scalar)

const eventName = z.enum([
  'user_prompt',
  'assistant_response',
  'tool_result',
  'tool_decision',
  'api_request',
  'api_error',
  'api_request_body',
  'api_response_body',
])

const event = z.strictObject({
  name: eventName,
  /** Joins all events of one prompt: a UUID. */
  prompt: z.uuid(),
  /** Rises within the session. */
  sequence: z.int().nonnegative(),
  /** When it ended, epoch ms. Default: on arrival. */
  at: z.number().optional(),
  /** Facts about it, which are always sent. */
  attributes,
  /** Text of members, models and tools, each sent only if policy opts in to it. */
  content: z
    .strictObject({
      prompt: z.string().optional(),
      response: z.string().optional(),
      error: z.string().optional(),
      toolParameters: z.string().optional(),
      toolInput: z.unknown().optional(),
      toolOutput: z.string().optional(),
      body: z.string().optional(),
    })
    .optional(),
  /** Real paths of the connected folders. */
  folders: z.array(z.string()).max(64),
  /** Context of what it is part of, or, for events that have a duration, of the span that covers it. */
  trace: traceContext.optional(),
  /** Span id of that span's parent; present: the event is a span too. Null: the first of its trace. */
  parent: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .nullable()
    .optional(),
})
export type TelemetryEvent = z.infer<typeof event>

const hop = z.strictObject({
  traceId: z.string(),
  spanId: z.string(),
  parentId: z.string().nullable(),
  kind: z.string(),
  from: z.string(),
  to: z.string(),
  startMs: z.number(),
  endMs: z.number(),
  error: z.string().nullable(),
})
export type HopView = z.infer<typeof hop>

const signalStatus = z.strictObject({
  /** Records handed to the exporter since the daemon started. */
  accepted: z.int(),
  sent: z.int(),
  waiting: z.int(),
  /** Dropped because too much waited, because the collector refused, because settings changed or it closed. */
  lost: z.strictObject({ full: z.int(), refused: z.int(), dropped: z.int() }),
  /** Exports that failed; what they carried was tried again. */
  failures: z.int(),
  lastError: z.string().nullable(),
  lastSentAt: z.string().nullable(),
})
export type SignalStatus = z.infer<typeof signalStatus>

const status = z.strictObject({
  /** `off`: no endpoint. `unknown`: policy has not told yet. */
  state: z.enum(['unknown', 'off', 'on']),
  /** Without credentials and query. */
  endpoint: z.string().nullable(),
  /** Who decided the endpoint. */
  decidedBy: z.string(),
  protocol: z.enum(['http/protobuf', 'http/json']),
  traces: z.boolean(),
  /** Content that is sent beside metadata. */
  capture: z.array(z.string()),
  /** Names of the headers that are sent; never their values. */
  headers: z.array(z.string()),
  signals: z.strictObject({ logs: signalStatus, traces: signalStatus, metrics: signalStatus }),
  audit: z.strictObject({ entries: z.int(), head: z.string(), trouble: z.string().nullable() }),
})
export type TelemetryStatus = z.infer<typeof status>

const testResult = z.strictObject({
  signal: z.enum(['logs', 'traces', 'metrics']),
  ok: z.boolean(),
  ms: z.number(),
  /** What the collector or the network said. */
  error: z.string().optional(),
})
const testReply = z.strictObject({ endpoint: z.string(), protocol: z.string(), ok: z.boolean(), results: z.array(testResult) })
export type TelemetryTest = z.infer<typeof testReply>

const workspaceBody = z.strictObject({
  session: z.string().max(64),
  events: z
    .array(
      z.strictObject({
        name: z.enum([
          'process_start',
          'process_exit',
          'syscall_denied',
          'out_of_memory',
          'name_lookup',
          'connection_refused',
          'datagrams_refused',
        ]),
        attributes: z.record(z.string().max(100), scalar),
      }),
    )
    .max(64),
  /** So many more are not told: too many came. */
  missed: z.int().nonnegative(),
})
export type WorkspaceEvents = z.infer<typeof workspaceBody>

const auditBody = z.strictObject({
  /** `permission.allowed`, `tool.called`, `egress.denied`, … */
  action: z
    .string()
    .regex(/^[a-z][a-z-]*\.[a-z-]+$/)
    .max(60),
  data: z.record(z.string().max(60), z.unknown()),
})
export type AuditBody = z.infer<typeof auditBody>

export const protocol = {
  /** One-way: something happened in a session. The session is the badge's. */
  event: { body: event },
  /** One-way, from the daemon: requests that were part of a trace. */
  hops: { body: z.strictObject({ hops: z.array(hop).max(1024), dropped: z.int().nonnegative() }) },
  /** Whether traces are wanted, now and at every change, until cancelled. Refused `overloaded`. */
  tracing: { body: z.strictObject({}), part: z.strictObject({ on: z.boolean() }), reply: z.strictObject({}), deadlineMs: null },
  /**
   * Adds to the audit log; who and which session are the badge's. Replies when the entry is on the disk. Refused `audit-failed`, `overloaded`.
   * One-way: it is written all the same, and nobody hears if not.
   */
  audit: { body: auditBody, reply: z.strictObject({ n: z.int() }) },
  /** One-way, from the workspace: what a session did in there, by what the guest says. It goes into the audit log as well. */
  workspace: { body: workspaceBody },
  /** Where telemetry goes, and how that is going. */
  status: { body: z.strictObject({}), reply: status },
  /** Sends a log record, a metric and, when wanted, a span, and says what came back. Refused `telemetry-off`. */
  test: { body: z.strictObject({}), reply: testReply, deadlineMs: 60_000 },
} satisfies Protocol
