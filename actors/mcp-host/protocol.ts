/**
 * What the MCP host accepts. From conversations: `tools`; `call` on a capability that consent minted for named tools. From consent:
 * `tool-rule`. From the gateway: the rest. Legal in every state; what needs the settings or the policy waits for them.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { installDeadlineMs, maxServers, settleMs } from './limits.ts'

const fault = z.strictObject({
  code: z.string(),
  message: z.string(),
  cause: z.string().optional(),
  remedy: z.string(),
  rule: z.string().optional(),
  retryAfterMs: z.number().optional(),
})
const mode = z.enum(['allow', 'ask', 'blocked'])
/** Letters, digits and single hyphens or underscores: it becomes the middle of tool names, whose parts two underscores separate. */
const serverName = z
  .string()
  .regex(/^[a-zA-Z0-9]+(?:[-_][a-zA-Z0-9]+)*$/, 'letters, digits, and single hyphens or underscores between them')
  .max(40)
const anyName = z.string().min(1).max(300)
const toolName = z.string().min(1).max(200)
const folder = z.strictObject({ path: z.string().startsWith('/').max(4096), mode: z.enum(['ro', 'rw']) })

const offeredTool = z.strictObject({
  /** `mcp__server__tool`. */
  name: z.string(),
  server: z.string(),
  title: z.string(),
  description: z.string(),
  inputSchema: z.record(z.string(), z.unknown()),
  /** The member's settings name it as the tool that searches the web. */
  search: z.literal(true).optional(),
})

const toolView = z.strictObject({
  name: z.string(),
  title: z.string().nullable(),
  description: z.string(),
  decision: mode,
  /** Who decided: the administrator's key, or the member; null: nobody, so it asks. */
  rule: z.string().nullable(),
  /** The server's own claim. */
  readOnly: z.boolean(),
  /** Not offered until approved; `diff` says what is new, in unified form. */
  change: z.enum(['new', 'changed']).nullable(),
  diff: z.string(),
})

const serverView = z.strictObject({
  name: z.string(),
  source: z.enum(['managed', 'settings', 'plugin', 'extension', 'actor']),
  origin: z.string(),
  /** As it is started. */
  command: z.string(),
  /** `waiting`: for the policy or its own actor. `disabled`: by policy. `unusable`: its entry says nothing that can be started. */
  state: z.enum(['waiting', 'starting', 'ready', 'backoff', 'disabled', 'unusable']),
  /** Why it is not ready. */
  error: fault.nullable(),
  isolation: z.enum(['full', 'reduced']).nullable(),
  isolationReason: z.string().nullable(),
  network: z.boolean(),
  folders: z.array(folder),
  pid: z.int().nullable(),
  restarts: z.int(),
  info: z.strictObject({ name: z.string(), version: z.string(), protocol: z.string(), instructions: z.string() }).nullable(),
  signature: z.strictObject({ state: z.string(), publisher: z.string().nullable(), detail: z.string() }).nullable(),
  tools: z.array(toolView),
})
export type ServerView = z.infer<typeof serverView>

export const protocol = {
  /** Tools a session may be offered: known, approved, not blocked. Waits a moment for servers that are starting. */
  tools: {
    body: z.strictObject({}),
    reply: z.strictObject({ tools: z.array(offeredTool), /** What is missing, and why. */ notes: z.array(z.string()) }),
    deadlineMs: settleMs + 10_000,
  },
  /**
   * Calls a tool. The badge's `tools` must name it. Refusals: `attenuated`, `unknown-tool`, `disabled-by-policy`, `not-approved`, `denied`
   * (blocked), `server-unavailable`, `tool-failed`. A tool that says it failed replies with `isError`.
   */
  call: {
    body: z.strictObject({ tool: toolName, input: z.record(z.string(), z.unknown()) }),
    part: z.strictObject({ type: z.literal('progress'), text: z.string() }),
    reply: z.strictObject({
      content: z.array(z.strictObject({ type: z.literal('text'), text: z.string() })),
      isError: z.boolean(),
      truncated: z.boolean(),
    }),
    deadlineMs: null,
  },
  /** Whether a call of the tool may be made without asking. Refused like `call` where no answer could allow it. */
  'tool-rule': {
    body: z.strictObject({ tool: toolName }),
    reply: z.strictObject({ decision: z.enum(['allow', 'ask']), rule: z.string().nullable(), server: z.string(), title: z.string() }),
  },
  servers: { body: z.strictObject({}), reply: z.strictObject({ servers: z.array(serverView) }) },
  /** A server into the member's settings; it starts at once. Refused `already-exists`, `disabled-by-policy`, `overloaded`. */
  add: {
    body: z.strictObject({
      name: serverName,
      command: z.string().min(1).max(4096),
      args: z.array(z.string().max(32_768)).max(256),
      env: z.record(z.string().regex(/^[A-Za-z_]\w*$/), z.string().max(32_768)),
      network: z.boolean(),
      folders: z.array(folder).max(maxServers),
    }),
    reply: z.strictObject({}),
  },
  /** Out of the settings, with what was pinned of it. Refused `not-found`. */
  remove: { body: z.strictObject({ name: anyName }), reply: z.strictObject({}) },
  /** Replies when it is ready again, refused `not-found`, `disabled-by-policy`, `server-unavailable`. */
  restart: { body: z.strictObject({ name: anyName }), reply: z.strictObject({}), deadlineMs: null },
  /** Accepts the definitions a server offers now. Refused `not-found`. */
  approve: { body: z.strictObject({ name: anyName }), reply: z.strictObject({ approved: z.array(z.string()) }) },
  /** What the member wants of one tool. Policy stands above it. */
  'tool-mode': { body: z.strictObject({ tool: toolName, mode }), reply: z.strictObject({}) },
  /**
   * Installs a bundle that the client has put into the incoming folder (it is removed from there), in place of an earlier version. Refused
   * `bad-extension`, `bad-settings`, `disabled-by-policy`.
   */
  'install-extension': {
    body: z.strictObject({
      path: z.string().startsWith('/').max(4096),
      config: z.record(z.string().max(200), z.union([z.string().max(32_768), z.array(z.string().max(32_768)).max(100)])),
      network: z.boolean(),
    }),
    reply: z.strictObject({ id: z.string(), version: z.string(), signature: z.string(), missing: z.array(z.string()) }),
    deadlineMs: installDeadlineMs,
  },
  'remove-extension': { body: z.strictObject({ id: anyName }), reply: z.strictObject({}) },
} satisfies Protocol

/** Params the host is started with. */
export const hostParams = z.looseObject({
  home: z.string().min(1),
  nodeBinary: z.string().min(1),
  /** Certificates of extension publishers the administrator trusts, `*.pem`. */
  publishersDir: z.string().default('/etc/bulkhead/publishers'),
})
