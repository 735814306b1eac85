/**
 * What consent accepts. From the gateway: `open`, `close`, `grants`, `revoke`, `approve-mode`, `changes`, `undo`, `redo`, `recent`. From a conversation: `ask`.
 * All are legal while consent runs; once it is stopping every request is refused `not-now`.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import type { HostExplanation } from '../egress/protocol.ts'
import { maxDetail, maxFolders, maxHosts, openDeadlineMs } from './limits.ts'

const sessionName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'lower-case letters, digits and hyphens, at most 40')
export const approveMode = z.enum(['ask', 'edits', 'all', 'none'])
export type ApproveMode = z.infer<typeof approveMode>
const folderMode = z.enum(['ro', 'rw'])

const folderView = z.strictObject({ name: z.string(), root: z.string(), mode: folderMode })

/** A standing permission of a session, as members see it. Answers that were good for one action are used up and not listed. */
export const grantView = z.strictObject({
  id: z.string(),
  /** `folder`: may be read (and asked to be written); `write`: may be written without asking; `exec`; `fetch`: hosts; `mcp`: one tool of a tool server. */
  kind: z.enum(['folder', 'write', 'exec', 'fetch', 'mcp']),
  /** The exact scope, in words: `write in sales/`. */
  scope: z.string(),
  by: z.string(),
  /** Epoch milliseconds. */
  at: z.number(),
  reason: z.string(),
})
export type GrantView = z.infer<typeof grantView>

const historyReply = z.strictObject({
  /** One answer a folder, as its gate gave it, with `root` and `name`. */
  folders: z.array(z.looseObject({ root: z.string(), name: z.string() })),
  /** Folders that could not be asked. */
  failed: z.array(z.strictObject({ root: z.string(), error: z.unknown() })),
})
const folderPath = z.string().min(1).max(4096)
const what = z.string().min(1).max(200)

export const protocol = {
  /**
   * Opens a session, or re-opens one: folders and hosts add to what is there, `approve` and `model` replace it when given.
   * The reply carries the conversation (kinds prompt, history). Refusals: `overloaded`, or what the folder's own actor refuses
   * (`not-found`, `not-a-folder`, `io-failed`); a session that was being made is then taken down again.
   */
  open: {
    body: z.strictObject({
      /** Absent: a new name is made. A name only the journal knows is brought back. */
      session: sessionName.optional(),
      folders: z.array(z.strictObject({ path: z.string().min(1).max(4096), mode: folderMode })).max(maxFolders),
      hosts: z.array(z.string().min(1).max(260)).max(maxHosts),
      approve: approveMode.optional(),
      model: z.string().min(1).max(200).optional(),
    }),
    reply: z.strictObject({
      session: z.string(),
      folders: z.array(folderView),
      hosts: z.array(z.string()),
      approve: approveMode,
      /** The session existed before, alive or in the journal. */
      resumed: z.boolean(),
    }),
    deadlineMs: openDeadlineMs,
  },
  /** Ends a session's actors and all its grants; its journal stays. Refused `no-such-session`. */
  close: { body: z.strictObject({ session: sessionName }), reply: z.strictObject({}) },
  grants: { body: z.strictObject({ session: sessionName }), reply: z.strictObject({ grants: z.array(grantView) }) },
  /**
   * Takes a grant back, effective before the next message is delivered. Refused `no-such-session`, `not-found`, `not-now` (its hosts,
   * while the session is being opened).
   */
  revoke: { body: z.strictObject({ session: sessionName, grant: z.string() }), reply: z.strictObject({}) },
  'approve-mode': { body: z.strictObject({ session: sessionName, approve: approveMode }), reply: z.strictObject({}) },
  /**
   * Changes of one folder, of a session's, or of those connected lately, as `changes` of their gates tells them. Folders whose session is
   * gone are served while this lasts. Refused `nothing-to-undo`, `policy-denied`, or what the gate says.
   */
  changes: {
    body: z.strictObject({
      folder: folderPath.optional(),
      session: sessionName.optional(),
      turn: what.optional(),
      limit: z.int().min(1).max(10_000).optional(),
    }),
    reply: historyReply,
    deadlineMs: null,
  },
  /** Takes back a change, call or turn (`what`), or everything after a point (`to`: a change's id, or epoch ms, then with `folder` if there are several). */
  undo: {
    body: z.strictObject({
      folder: folderPath.optional(),
      session: sessionName.optional(),
      what: what.optional(),
      to: z.union([what, z.number()]).optional(),
      preview: z.boolean().optional(),
      force: z.boolean().optional(),
    }),
    reply: historyReply,
    deadlineMs: null,
  },
  redo: {
    body: z.strictObject({ folder: folderPath.optional(), preview: z.boolean().optional(), force: z.boolean().optional() }),
    reply: historyReply,
    deadlineMs: null,
  },
  /** Folders connected for writing lately, the last first. */
  recent: {
    body: z.strictObject({}),
    reply: z.strictObject({ folders: z.array(z.strictObject({ root: z.string(), name: z.string(), at: z.number() })) }),
  },
  /**
   * A conversation wants to change something. The session is the badge's. The reply carries one capability for exactly that
   * action. Refusals: `read-only`, `outside-folder`, `bad-path`, `denied`, `no-one-to-ask`, and for a tool of a server what the MCP host
   * refuses (`unknown-tool`, `disabled-by-policy`, `not-approved`, `server-unavailable`).
   */
  ask: {
    body: z.strictObject({
      tool: z.string().max(200),
      title: z.string().max(4096),
      /** Shown whole: the diff, or the command. */
      detail: z.string().max(maxDetail),
      target: z.discriminatedUnion('kind', [
        /**
         * `act` delete, `protected` paths (the gate's rule), and a move of so many entries at once (`mass`): asked for each time, and good for
         * that path once. `to`: where a move goes.
         */
        z.strictObject({
          kind: z.literal('write'),
          folder: z.string(),
          path: z.string().max(4096),
          act: z.enum(['move', 'delete']).optional(),
          to: z.string().max(4096).optional(),
          protected: z.string().max(300).optional(),
          mass: z.int().optional(),
        }),
        z.strictObject({ kind: z.literal('exec'), command: z.string() }),
        /** `tool` as `mcp__server__tool`. */
        z.strictObject({ kind: z.literal('mcp'), tool: z.string().min(1).max(200), input: z.record(z.string(), z.unknown()) }),
      ]),
      /** Whose words, other than the member's, came into the turn before this: nothing allowed for the session or for good covers it then. */
      untrusted: z.array(z.string().max(300)).max(20).optional(),
    }),
    reply: z.strictObject({ decision: z.literal('allow'), scope: z.enum(['once', 'session']), by: z.string() }),
    deadlineMs: null,
  },
  /**
   * From egress: a session wants to reach a host nobody decided about. Takes as long as the member takes; cancelling it takes the question
   * off their screens. Refusals: `no-such-session`, `denied` (the member, or the approve mode), `no-one-to-ask`, `overloaded`.
   */
  'ask-host': {
    body: z.strictObject({ session: z.string().max(64), host: z.string().min(1).max(260), port: z.int().min(1).max(65_535) }),
    reply: z.strictObject({ decision: z.literal('allow'), scope: z.enum(['once', 'session', 'always']), by: z.string() }),
    deadlineMs: null,
  },
  /** A pattern, `*` or `@packages` for one session. Refused `no-such-session`, `bad-settings`, `overloaded`. */
  'allow-host': { body: z.strictObject({ session: sessionName, host: z.string().min(1).max(260) }), reply: z.strictObject({}) },
  /** Takes one back, effective before the next message is delivered. Refused `no-such-session`, `not-found`. */
  'drop-host': { body: z.strictObject({ session: sessionName, host: z.string().min(1).max(260) }), reply: z.strictObject({}) },
  /** What a fetch of this session would be told of the address: egress's answer. */
  'explain-host': { body: z.strictObject({ session: sessionName, url: z.string().max(8192) }), reply: z.custom<HostExplanation>() },
} satisfies Protocol
