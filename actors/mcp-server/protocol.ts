/** What the actor of one tool server accepts. The MCP host spawns it and is the only one that holds a capability to it. */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'

const fault = z.strictObject({
  code: z.string(),
  message: z.string(),
  cause: z.string().optional(),
  remedy: z.string(),
  rule: z.string().optional(),
  retryAfterMs: z.number().optional(),
})

export const toolDefinition = z.strictObject({
  /** As the server calls it. */
  name: z.string(),
  title: z.string().nullable(),
  description: z.string(),
  inputSchema: z.record(z.string(), z.unknown()),
  /** SHA-256 over everything a model could be told about it: name, title, description, schemas, annotations. */
  hash: z.string(),
  /** What the server claims; shown to the member, never a reason to ask less. */
  readOnly: z.boolean(),
})
export type ToolDefinition = z.infer<typeof toolDefinition>

const serverState = z.enum(['starting', 'ready', 'backoff'])

export const serverStatus = z.strictObject({
  state: serverState,
  /** Of the process that was started: the jail, or the server itself. */
  pid: z.int().nullable(),
  /** `reduced`: it runs without its jail; the reason says why. Null until it was started once. */
  isolation: z.enum(['full', 'reduced']).nullable(),
  isolationReason: z.string().nullable(),
  /** Times it had to be started again after it had been ready. */
  restarts: z.int(),
  error: fault.nullable(),
  /** As the server introduces itself. */
  info: z.strictObject({ name: z.string(), version: z.string(), protocol: z.string(), instructions: z.string() }).nullable(),
  /** Of the last time it was ready; null before. */
  tools: z.array(toolDefinition).nullable(),
})
export type ServerStatus = z.infer<typeof serverStatus>

export const protocol = {
  /** Streams the status, now and at every change, until cancelled. Legal in every state; refused `overloaded`. */
  watch: { body: z.strictObject({}), part: z.strictObject({ status: serverStatus }), reply: z.strictObject({}), deadlineMs: null },
  /**
   * Calls a tool by the server's own name for it. Waits while the server starts; refused `server-unavailable` at once in backoff and
   * when the server ends under it, `tool-failed` when the server answers with an error of the protocol, `overloaded`. Cancelling it
   * tells the server.
   */
  call: {
    body: z.strictObject({ tool: z.string(), input: z.record(z.string(), z.unknown()) }),
    part: z.strictObject({ text: z.string() }),
    reply: z.strictObject({
      /** Everything as text: what is no text is named in brackets. */
      content: z.array(z.strictObject({ type: z.literal('text'), text: z.string() })),
      /** The tool says that it failed. */
      isError: z.boolean(),
      truncated: z.boolean(),
    }),
    deadlineMs: null,
  },
  /** Ends the server and starts it again at once; replies when it is ready, refused `server-unavailable` when this start fails. */
  restart: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: null },
} satisfies Protocol

/** Params an instance is spawned with: what to start, and what it may reach. Paths absolute. */
export const launchSpec = z.strictObject({
  /** For messages. */
  name: z.string(),
  command: z.string().min(1),
  args: z.array(z.string()),
  /** Besides PATH, HOME, TMPDIR and LANG, which are set here. Nothing of the daemon's environment reaches a server. */
  env: z.record(z.string(), z.string()),
  network: z.boolean(),
  folders: z.array(z.strictObject({ path: z.string(), mode: z.enum(['ro', 'rw']) })),
  /** Where its program lies; readable inside the jail. */
  code: z.array(z.string()),
  /** Its own folder, writable and kept: its HOME and working folder. */
  data: z.string(),
  /** The pinned Node; what `node` means as a command. */
  nodeBinary: z.string(),
})
export type LaunchSpec = z.infer<typeof launchSpec>
