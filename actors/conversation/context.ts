/** What a conversation remembers between messages. Plain data; every change makes a new object. */
import { z } from 'zod'
import type { Fault } from '../../kernel/index.ts'
import type { Message } from './history.ts'
import type { EndedJob } from './job-news.ts'
import { DEFAULT_MODEL } from './limits.ts'
import type { Workspace } from './paths.ts'
import { conversationParams, type Folder, folderSchema } from './protocol.ts'
import type { ServerTool } from './tools/server-tool.ts'
import type { ToolCall } from './turn.ts'

const slot = z.union([z.int(), z.string()])
const faultLike = z.custom<Fault>()

const turnSchema = z.object({
  /** The `prompt` request being worked on. */
  request: z.int(),
  text: z.string(),
  /** Names the prompt in telemetry, a UUID; '' until known. */
  promptId: z.string(),
  /** How telemetry was told of each call's permission, by call id. */
  decisions: z.record(z.string(), z.unknown()),
  /** Day of the prompt, `2026-11-24`; '' until known. */
  date: z.string(),
  /** Length of the history before this turn. */
  startsAt: z.int(),
  modelCalls: z.int(),
  /** Answers in a row cut by the length limit and continued. */
  continuations: z.int(),
  toolCalls: z.int(),
  /** The model's last words so far. */
  answer: z.string(),
  /** Tool calls of the last assistant message, until their results are in the history. */
  calls: z.array(z.custom<ToolCall>()),
  /** Commands in the background that ended meanwhile, until the model is told with the results. */
  endedJobs: z.array(z.custom<EndedJob>()),
  /** Whose words, other than the member's, are in this turn. */
  untrusted: z.array(z.string()),
  /** What was denied and not allowed later in the turn, by what it was about. */
  denials: z.record(z.string(), faultLike),
  ending: z.object({ status: z.enum(['done', 'refused', 'failed']), error: faultLike.optional() }).nullable(),
})
export type Turn = z.infer<typeof turnSchema>

const contextSchema = z.object({
  session: z.string(),
  model: z.string(),
  hosts: z.array(z.string()),
  folders: z.array(folderSchema),
  blocked: z.record(z.string(), z.string()),
  rawApiBodies: z.boolean(),
  /** Read capability of each connected folder, by folder name. */
  folderSlots: z.record(z.string(), slot),
  messages: z.array(z.custom<Message>()),
  /** Last journal entry read at start. */
  loadedSeq: z.int(),
  /** A prompt that came while the conversation could not begin it. */
  waiting: z.object({ request: z.int(), text: z.string() }).nullable(),
  turn: turnSchema.nullable(),
  /** Written to the journal now; becomes `messages` when all `left` entries are durable. */
  staged: z.object({ messages: z.array(z.custom<Message>()), entries: z.array(z.unknown()), left: z.int() }).nullable(),
  /** Capabilities consent gave for the session, by what they cover. */
  approvals: z.record(z.string(), z.int()),
  /** SHA-256 of each file as this conversation last saw it, by `folder/path`. */
  seen: z.record(z.string(), z.string()),
  /** Tools of tool servers, as the MCP host listed them for this turn, and what it said is missing. */
  serverTools: z.array(z.custom<ServerTool>()),
  serverNotes: z.array(z.string()),
  /** Of the connected folders that have some, as of this turn. */
  instructions: z.array(z.object({ folder: z.string(), text: z.string() })),
  /** Makes refs unique, so that a late answer to an older question is not taken for a newer one's. */
  serial: z.int(),
  /** There is someone to report to. */
  reports: z.boolean(),
  /** Number of the last event reported. */
  eventSeq: z.int(),
})
export type Context = Readonly<z.infer<typeof contextSchema>>

/** Folders without a slot of their own name among `slots` are kept: the router refuses for them. */
export function initialContext(input: { params: Record<string, unknown>; slots?: readonly string[] }): Context {
  const { session, folders, hosts, model, blocked, rawApiBodies } = conversationParams.parse(input.params)
  return {
    session,
    model: model ?? DEFAULT_MODEL,
    hosts,
    folders,
    blocked,
    rawApiBodies,
    folderSlots: Object.fromEntries(folders.map(({ name }) => [name, `folder:${name}`])),
    messages: [],
    loadedSeq: 0,
    waiting: null,
    turn: null,
    staged: null,
    approvals: {},
    seen: {},
    serverTools: [],
    serverNotes: [],
    instructions: [],
    serial: 0,
    reports: input.slots?.includes('telemetry') ?? false,
    eventSeq: 0,
  }
}

export function workspaceOf({ session, folders, hosts, blocked, model, serverTools }: Context): Workspace {
  return { session, folders, hosts, blocked, model, serverTools }
}

export function newTurn(context: Context, { request, text }: { request: number; text: string }): Turn {
  return {
    request,
    text,
    promptId: '',
    decisions: {},
    date: '',
    startsAt: context.messages.length,
    modelCalls: 0,
    continuations: 0,
    toolCalls: 0,
    answer: '',
    calls: [],
    endedJobs: [],
    untrusted: [],
    denials: {},
    ending: null,
  }
}

/** Approvals end with the folder they were for: one connected later under the same name is another folder. */
export function withFolders(
  context: Context,
  { folders, hosts = context.hosts }: { folders: Folder[]; hosts?: string[] | undefined },
  caps: readonly number[],
): Context {
  const added = folders.filter(({ name }) => !Object.hasOwn(context.folderSlots, name))
  const slotOf = (name: string): number | string =>
    context.folderSlots[name] ?? caps[added.findIndex((folder) => folder.name === name)] ?? `folder:${name}`
  const kept = (key: string): boolean => !key.startsWith('write:') || folders.some(({ name }) => key === `write:${name}`)
  return {
    ...context,
    folders,
    hosts,
    folderSlots: Object.fromEntries(folders.map(({ name }) => [name, slotOf(name)])),
    approvals: Object.fromEntries(Object.entries(context.approvals).filter(([key]) => kept(key))),
  }
}
