/**
 * What a conversation accepts. One instance per session; the session's consent actor spawns it and hands `prompt` and
 * `history` on to the gateway.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'

const faultSchema = z.strictObject({
  code: z.string(),
  message: z.string(),
  cause: z.string().optional(),
  remedy: z.string(),
  rule: z.string().optional(),
  retryAfterMs: z.number().optional(),
})

export const folderSchema = z.strictObject({
  /** Unique in the session; also the last part of its path in the workspace. */
  name: z.string().min(1),
  /** Absolute real path on the device. */
  root: z.string().min(1),
  mode: z.enum(['ro', 'rw']),
})
export type Folder = z.infer<typeof folderSchema>

/** What a prompt streams back while it works. The last word is the reply itself. */
const conversationEvent = z.discriminatedUnion('type', [
  /** First of every prompt. `practice`: the built-in practice model answers, not the API. */
  z.strictObject({ type: z.literal('model'), name: z.string(), practice: z.boolean() }),
  /** A piece of the answer; pieces of one answer follow each other and are to be joined as they are. */
  z.strictObject({ type: z.literal('text'), text: z.string() }),
  z.strictObject({ type: z.literal('thinking'), text: z.string() }),
  /** `title` is for people: `Read sales/q1.csv`. `input` is what the model sent, unchecked. */
  z.strictObject({ type: z.literal('tool_call'), id: z.string(), name: z.string(), input: z.unknown(), title: z.string() }),
  z.strictObject({ type: z.literal('tool_output'), id: z.string(), stream: z.enum(['stdout', 'stderr']), text: z.string() }),
  /** `output` is the text the model gets. `durationMs` does not include the wait for the member's approval. */
  z.strictObject({
    type: z.literal('tool_result'),
    id: z.string(),
    name: z.string(),
    ok: z.boolean(),
    output: z.string(),
    error: faultSchema.optional(),
    durationMs: z.number(),
  }),
  /** How an approval ended. `id` is the tool call's. */
  z.strictObject({
    type: z.literal('permission'),
    id: z.string(),
    tool: z.string(),
    title: z.string(),
    decision: z.enum(['allow', 'deny']),
    scope: z.enum(['once', 'session']),
    by: z.string(),
  }),
  /** What others changed in a connected folder since the turn before; `more`: beyond those named. Before the model is asked. */
  z.strictObject({
    type: z.literal('files_changed'),
    folder: z.string(),
    changes: z.array(z.strictObject({ path: z.string(), what: z.enum(['changed', 'deleted']) })),
    more: z.int(),
  }),
  /** A command in the background ended since the turn before, and how. Before the model is asked. */
  z.strictObject({ type: z.literal('job_ended'), job: z.string(), command: z.string(), how: z.string() }),
  /** The workspace comes up, or why it does not, while a command waits for it. */
  z.strictObject({ type: z.literal('vm'), state: z.string(), detail: z.string() }),
  /** Something failed that the conversation could go on after, or the reason a turn ends in. */
  z.strictObject({ type: z.literal('error'), error: faultSchema }),
  /** Tokens of one model call. `input` includes what came from or went to the prompt cache. */
  z.strictObject({ type: z.literal('usage'), input: z.number(), output: z.number() }),
])
export type ConversationEvent = z.infer<typeof conversationEvent>

export const protocol = {
  /**
   * One turn. Legal while no other turn runs (`session-busy`); during start it waits until the history is loaded.
   * Cancel the request to interrupt: a running command and the model's answer end, the history stays valid.
   * Status: `done`; `refused` (the model declined, or an approval this turn needed was not given); `failed`. `text` is
   * the model's last answer, `error` is there when status is not `done`.
   */
  prompt: {
    body: z.strictObject({ text: z.string().min(1) }),
    part: conversationEvent,
    reply: z.strictObject({
      status: z.enum(['done', 'refused', 'failed', 'cancelled']),
      text: z.string(),
      toolCalls: z.number().int(),
      error: faultSchema.optional(),
    }),
    deadlineMs: null,
  },
  /**
   * The connected folders, all of them, from now on, and the allowed hosts when they changed. Legal in every state. For each
   * folder whose name was not connected before, its read capability travels along, in the order of the list, or stands in
   * the slot `folder:<name>`.
   */
  folders: { body: z.strictObject({ folders: z.array(folderSchema), hosts: z.array(z.string()).optional() }), reply: z.strictObject({}) },
  /**
   * What policy says from now on, all of it: the tools it blocks, with the rule that says so, and whether telemetry may carry what goes to
   * the model and comes back. From consent. Legal in every state.
   */
  restrict: { body: z.strictObject({ blocked: z.record(z.string(), z.string()), rawApiBodies: z.boolean() }), reply: z.strictObject({}) },
  /** How much history there is; 0 until it is loaded. Legal in every state. */
  history: { body: z.strictObject({}), reply: z.strictObject({ messages: z.number().int() }) },
} satisfies Protocol

/** Params an instance is spawned with. */
export const conversationParams = z.looseObject({
  session: z.string().min(1),
  folders: z.array(folderSchema).default([]),
  /** Host patterns the member allowed; shown to the model, enforced by the egress actor. */
  hosts: z.array(z.string()).default([]),
  model: z.string().min(1).nullish(),
  /** Tools that policy blocks, with the rule that says so: not offered, and refused if called all the same. */
  blocked: z.record(z.string(), z.string()).default({}),
  /** Whether telemetry may carry what goes to the model and comes back. */
  rawApiBodies: z.boolean().default(false),
})

/**
 * What a conversation keeps in the session's journal. `message`: appended to the history. `withdrawn`: the history is
 * cut back to its first `messages` messages (a prompt the model declined is not sent again with every later one).
 */
export type JournalEntry =
  | { type: 'message'; entry: { role: 'user' | 'assistant'; content: unknown[] } }
  | { type: 'withdrawn'; entry: { messages: number } }
