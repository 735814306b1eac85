/**
 * The `_bulkhead/*` methods clients may call beside ACP's own: their parameters, and what comes back. Checked on every call.
 *
 *   client -> daemon  requests below
 *   daemon -> client  `_bulkhead/event` {session, seq, ts, type, …}     what happens in sessions it watches: a conversation's events,
 *                                                                     `session`, `prompt` {text}, `result`, `grants` (they changed)
 *                     `_bulkhead/vm` {status}                           while `_bulkhead/vm/watch` runs
 *                     `_bulkhead/shell` {shell, started? | data? (base64) | vm? | ended?}  while `_bulkhead/shell/open` runs
 *                     `_bulkhead/permission_resolved` {session, id, option, by}
 *                     `session/request_permission` (ACP) with the whole question in `_meta.bulkhead`
 */
import { z } from 'zod'
import { maxPromptChars } from './limits.ts'

const session = z.string().min(1).max(100)
const folder = z.string().min(1).max(4096)
const what = z.string().min(1).max(200)

/** The caller's own name for its terminal. */
const shell = z.string().regex(/^[a-z0-9]{1,32}$/)
const cells = z.int().min(1).max(0xffff)

const hostPattern = z.string().min(1).max(263)
const egressRule = z.discriminatedUnion('change', [
  z.strictObject({ change: z.literal('mode'), mode: z.enum(['none', 'packages', 'list', 'all']).nullable() }),
  z.strictObject({ change: z.enum(['allow', 'deny', 'forget']), pattern: hostPattern }),
  z.strictObject({
    change: z.literal('request'),
    rule: z.strictObject({ host: hostPattern, methods: z.array(z.string().max(20)).max(20), path: z.string().max(1024) }),
  }),
])

const addonSource = z.union([z.strictObject({ path: z.string().min(1).max(4096) }), z.strictObject({ name: z.string().min(1).max(100) })])

/** `_meta` as ACP and MCP have it; keys that mean nothing here are passed over. */
export const traceMeta = z.looseObject({ traceparent: z.string().max(100).optional() })

export const clientMethods = {
  /**
   * Opens or re-opens a session and watches it: -> {session, folders, hosts, approve, resumed}. The client that opened it sees its
   * events until it disconnects.
   */
  open: z.strictObject({
    session: session.optional(),
    folders: z
      .array(z.strictObject({ path: z.string().min(1).max(4096), mode: z.enum(['ro', 'rw']) }))
      .max(32)
      .default([]),
    hosts: z.array(z.string().min(1).max(260)).max(200).default([]),
    approve: z.enum(['ask', 'edits', 'all', 'none']).optional(),
    model: z.string().min(1).max(200).optional(),
  }),
  /**
   * One turn -> {status, text, toolCalls, error?} when it ends. `turn` is the caller's name for it and is in each of its events. Ends
   * as cancelled when the client that started it disconnects. Refused `session-busy` while another turn runs.
   */
  prompt: z.strictObject({
    session,
    text: z.string().min(1).max(maxPromptChars),
    turn: z.string().min(1).max(100).optional(),
    /** As in ACP: the trace the prompt is part of. */
    _meta: traceMeta.optional(),
    /** The turn goes on when the client that started it disconnects, and its questions wait for whoever comes; only `cancel` interrupts it. */
    stays: z.boolean().optional(),
  }),
  /**
   * What happened in an open session after the event numbered `after`, oldest first -> {events, seq, complete}. A text event is whole:
   * pieces that followed each other are one, numbered like the last of them and `since` like the first. `complete` is false when older
   * events are not kept any more. A number from before the daemon's restart means nothing after it: replay from 0.
   */
  replay: z.strictObject({ session, after: z.int().min(0).default(0) }),
  /** Interrupts the running turn -> {}. */
  cancel: z.strictObject({ session }),
  close: z.strictObject({ session }),
  grants: z.strictObject({ session }),
  revoke: z.strictObject({ session, grant: z.string().max(100) }),
  'approve-mode': z.strictObject({ session, approve: z.enum(['ask', 'edits', 'all', 'none']) }),
  /** What was changed in a folder, in a session's folders, or in those connected lately -> {folders: [{root, name, changes, …}], failed}. */
  changes: z.strictObject({
    folder: folder.optional(),
    session: session.optional(),
    turn: what.optional(),
    limit: z.int().min(1).max(10_000).optional(),
  }),
  /** Takes back a change, call or turn, or everything after a point; `preview`: says what it would do -> {folders: [{steps, kept, undone, …}], failed}. */
  undo: z.strictObject({
    folder: folder.optional(),
    session: session.optional(),
    what: what.optional(),
    to: z.union([what, z.number()]).optional(),
    preview: z.boolean().optional(),
    force: z.boolean().optional(),
  }),
  redo: z.strictObject({ folder: folder.optional(), preview: z.boolean().optional(), force: z.boolean().optional() }),
  /** Folders connected for writing lately -> {folders: [{root, name, at}]}. */
  'folders/recent': z.strictObject({}),
  /** -> {clients, sessions, running}: how many turns run, or are about to because their session is being opened. */
  status: z.strictObject({}),
  /** Sessions, newest first -> {sessions: [{session, title, entries, firstTs, lastTs, open, running, asks, folders}]}. */
  sessions: z.strictObject({}),
  /** The page's address with its token -> {url}. Only through the Unix socket; refused `no-capability` to a page, `not-found` without one. */
  page: z.strictObject({}),
  inspect: z.strictObject({}),
  /** Who answers -> {mode: 'api' | 'practice', baseUrl}. */
  model: z.strictObject({}),
  'vm/status': z.strictObject({}),
  'vm/start': z.strictObject({}),
  'vm/stop': z.strictObject({}),
  'vm/restart': z.strictObject({}),
  /** Runs until it is cancelled. */
  'vm/watch': z.strictObject({}),
  /**
   * A terminal in the workspace, as the session's user -> how it ended {exitCode, signal, …}. `command`: instead of the session's shell. Ends
   * when it is cancelled, or its client disconnects. Only through the Unix socket.
   */
  'shell/open': z.strictObject({
    shell,
    session,
    cols: cells,
    rows: cells,
    command: z.string().min(1).max(4096).optional(),
    term: z
      .string()
      .regex(/^[A-Za-z0-9._+-]{1,64}$/)
      .optional(),
  }),
  /** What was typed, base64 -> {} once it was taken. */
  'shell/input': z.strictObject({ shell, data: z.base64().max(1_000_000), end: z.boolean().optional() }),
  'shell/resize': z.strictObject({ shell, cols: cells, rows: cells }),
  /** -> every effective policy value with who decided it, problems, sources. */
  'policy/show': z.strictObject({}),
  /** What would be wrong with a settings file of this text -> {ok, problems}. */
  'policy/check': z.strictObject({ text: z.string().max(maxPromptChars) }),
  /** -> one key: value, who decided, type, default, effect, example. Refused `not-found`. */
  'policy/explain': z.strictObject({ key: z.string().min(1).max(200) }),
  /** -> where telemetry goes, what was sent and lost; the audit log's head. */
  'telemetry/status': z.strictObject({}),
  /** Sends a self test -> {endpoint, protocol, ok, results}. Refused `telemetry-off`. */
  'telemetry/test': z.strictObject({}),
  /** -> {servers}: every tool server with its state, its tools and what is decided about each. */
  'mcp/servers': z.strictObject({}),
  'mcp/add': z.strictObject({
    name: z.string().max(300),
    command: z.string().max(4096),
    args: z.array(z.string()).default([]),
    env: z.record(z.string(), z.string()).default({}),
    network: z.boolean().default(false),
    folders: z.array(z.strictObject({ path: z.string().max(4096), mode: z.enum(['ro', 'rw']) })).default([]),
  }),
  'mcp/remove': z.strictObject({ name: z.string().max(300) }),
  /** -> {} when it is ready again. */
  'mcp/restart': z.strictObject({ name: z.string().max(300) }),
  /** Accepts what a server's tools are now -> {approved}. */
  'mcp/approve': z.strictObject({ name: z.string().max(300) }),
  'mcp/tool-mode': z.strictObject({ tool: z.string().max(200), mode: z.enum(['allow', 'ask', 'blocked']) }),
  /** `path`: a bundle the client has put into the incoming folder -> {id, version, signature, missing}. */
  'mcp/install-extension': z.strictObject({
    path: z.string().max(4096),
    config: z.record(z.string(), z.union([z.string(), z.array(z.string())])).default({}),
    network: z.boolean().default(false),
  }),
  'mcp/remove-extension': z.strictObject({ id: z.string().max(300) }),
  /** -> {actors}: those from outside, what each asks for, who allowed it, and why one does not run. */
  'actors/list': z.strictObject({}),
  /** `path`: a folder the client has put into the incoming folder; `name`: one that is kept -> {name, hash, is, before}: what agreeing would be about. */
  'actors/examine': z.strictObject({ from: addonSource }),
  /** The member agreed to what has this hash -> {name} once it runs. */
  'actors/add': z.strictObject({ from: addonSource, hash: z.string().max(100) }),
  'actors/remove': z.strictObject({ name: z.string().min(1).max(100) }),
  /** -> {member, sessions, managed, registries, warnings, problem}: what decides about hosts. */
  'egress/rules': z.strictObject({}),
  /** Changes the member's rules, of the device or of one session -> {} once in force and saved. */
  'egress/change-rule': z.strictObject({ rule: egressRule, session: session.nullable() }),
  /** Has egress read the kept secrets anew, after a client changed them -> {names, problem}. No value travels. */
  'egress/reload-secrets': z.strictObject({}),
  /** -> {decisions}: the last ones, oldest first. */
  'egress/log': z.strictObject({ count: z.int().min(1).max(2_000).default(100), session: session.nullable() }),
  /** What a fetch of the address would be told, by the device's rules or as a session -> {verdict, allowed, rule, reason}. */
  'egress/explain': z.strictObject({ url: z.string().min(1).max(8192), session: session.nullable() }),
  /** Adds a host pattern to a session's grants, or takes one back -> {}. */
  'egress/allow-host': z.strictObject({ session, host: z.string().min(1).max(260) }),
  'egress/drop-host': z.strictObject({ session, host: z.string().min(1).max(260) }),
  /** Ends the daemon in order. */
  shutdown: z.strictObject({}),
} as const

type Methods = typeof clientMethods
export type ClientMethod = keyof Methods
/** A call as the machine sees it. ACP's own methods are turned into these at the door (connection.ts). */
export type ClientCall = { [M in ClientMethod]: { method: M; params: z.infer<Methods[M]> } }[ClientMethod]

export const prefix = '_bulkhead/'
