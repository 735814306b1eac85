/** What consent knows, and the few ways to change it. All values; nothing here is ever mutated. */
import type { Delegation, Fault, Outgoing } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import type { ApproveMode, GrantView } from './protocol.ts'

export type Mode = 'ro' | 'rw'

/** A capability derived for a session, kept so that it can be taken back. `slot` is consent's own. */
export type Held = { grant: number; slot: number }

export type Folder = {
  name: string
  /** As the member gave it. */
  path: string
  mode: Mode
  /** Real path; empty until the folder's actor told it. */
  root: string
  /** The fs-gate instance and the unlimited capability to it. */
  actor: { id: string; slot: number } | null
  /** Everything this folder is used for derives from this one grant. */
  held: Held | null
  by: string
  at: number
}

/** A standing permission that an answer made. */
export type Grant = Held & {
  kind: 'write' | 'exec' | 'mcp'
  folder: string | null
  tool: string | null
  scope: string
  by: string
  at: number
  reason: string
}

export type Session = {
  id: string
  folders: readonly Folder[]
  hosts: readonly string[]
  approve: ApproveMode
  model: string | null
  openedAt: number
  /** `folders`: names it was spawned with, and so knows again after a crash. */
  conversation: { id: string; slot: number; folders: readonly string[] } | null
  egress: Held | null
  /** Narrower ones it had before, which a running request may still use. */
  outgrown: readonly Held[]
  grants: readonly Grant[]
}

export type Target =
  | {
      kind: 'write'
      folder: string
      path: string
      act?: 'move' | 'delete' | undefined
      to?: string | undefined
      protected?: string | undefined
      mass?: number | undefined
    }
  | { kind: 'exec'; command: string }
  | { kind: 'mcp'; tool: string; input: Record<string, unknown> }

export type Ask = {
  request: number
  session: string
  tool: string
  title: string
  detail: string
  target: Target
  /** Whose words, other than the member's, came into the turn before it. */
  untrusted?: readonly string[] | undefined
  /** Set once decided, while the time is read and the capability derived. */
  decision: { scope: 'once' | 'session'; by: string; at: number | null } | null
}

/** Egress asks about a host nobody decided about; `to` as `host:port`. */
export type HostQuestion = { request: number; session: string; to: string }

export type Want = { path: string; mode: Mode }
/** Asked for before policy has told what is in force. */
export type Early = { request: number } & ({ kind: 'open'; body: OpenBody; from: string } | { kind: History['kind']; body: HistoryBody })
export type OpenBody = {
  session?: string | undefined
  folders: readonly Want[]
  hosts: readonly string[]
  approve?: ApproveMode | undefined
  model?: string | undefined
}

/** One thing to do while a session opens; one at a time, in order. */
export type Task =
  | { do: 'mint' }
  | { do: 'look-up' }
  | { do: 'probe' }
  | { do: 'spawn-folder'; folder: string }
  | { do: 'inform-folder'; folder: string }
  | { do: 'derive-folder'; folder: string }
  | { do: 'derive-egress' }
  | { do: 'endow-egress' }
  | { do: 'stop-conversation' }
  | { do: 'spawn-conversation' }
  | { do: 'tell-folders' }

export type Opening = {
  ref: string
  request: number
  body: OpenBody
  from: string
  /** Known once minted. */
  session: string | null
  resumed: boolean
  fresh: boolean
  /** How often the running task was put off. */
  tries: number
  /** Head is running. */
  tasks: readonly Task[]
  /** Folders this opening added. */
  added: readonly string[]
  /** The requester gave up; it is taken back when the running task ends. */
  abandoned: boolean
  /** What the requester gets at the end: the session, or (hosts were revoked) just that it is done. */
  answer: 'session' | 'plain'
}

/** A folder that has a store of changes. `key` begins the ids of its changes; `at`: when it was last connected, epoch ms. */
export type KnownFolder = { root: string; name: string; key: string; at: number }
export type HistoryBody = {
  folder?: string | undefined
  session?: string | undefined
  turn?: string | undefined
  what?: string | undefined
  to?: string | number | undefined
  limit?: number | undefined
  preview?: boolean | undefined
  force?: boolean | undefined
}
/** `changes`, `undo` or `redo` of the member, folder by folder. */
export type History = {
  ref: string
  request: number
  kind: 'changes' | 'undo' | 'redo' | 'recent'
  body: HistoryBody
  /** The folder whose turn it is. `own`: the gate that was started for it. */
  at: { root: string; name: string; slot: number | null; own: string | null } | null
  queue: readonly KnownFolder[]
  answers: readonly Record<string, unknown>[]
  refusals: readonly { root: string; error: Fault }[]
}

export type Context = {
  /** Where folders keep what their changes replaced; null: nowhere. */
  changes: string | null
  histories: Readonly<Record<string, History>>
  next: number
  sessions: Readonly<Record<string, Session>>
  openings: Readonly<Record<string, Opening>>
  /** Opens that wait for another one of the same session. */
  waiting: readonly { request: number; body: OpenBody; from: string }[]
  asks: Readonly<Record<string, Ask>>
  hostQuestions: Readonly<Record<string, HostQuestion>>
  /** Requests that wait for egress's explanation. */
  explains: Readonly<Record<string, number>>
  /** What is in force; null until policy has told, and until then nothing is opened. */
  policy: Policy | null
  /** What waits for that. */
  early: readonly Early[]
  /** Replies that wait until the audit log has what they allow, by the ref of the entry. */
  held: Readonly<Record<string, Extract<Outgoing, { type: 'reply' }>>>
}

export const empty: Context = {
  changes: null,
  histories: {},
  next: 1,
  sessions: {},
  openings: {},
  waiting: [],
  asks: {},
  hostQuestions: {},
  explains: {},
  policy: null,
  early: [],
  held: {},
}

/** A message to send, or an effect to run. */
export type Out = Outgoing | { type: 'effect'; name: 'mint' | 'stamp' | 'pause' | 'recall'; ref: string }
export type Step = { context: Context; out: readonly Out[] }

export const stay = (context: Context, ...out: Out[]): Step => ({ context, out })

/** `next` runs on what `step` led to; both their messages leave, in order. */
export function andThen(step: Step, next: (context: Context) => Step): Step {
  const after = next(step.context)
  return { context: after.context, out: [...step.out, ...after.out] }
}

export function withSession(context: Context, id: string, change: (session: Session) => Session): Context {
  const session = context.sessions[id]
  return session ? { ...context, sessions: { ...context.sessions, [id]: change(session) } } : context
}

export function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  const { [key]: _, ...rest } = record
  return rest
}

export function changeFolder(session: Session, name: string, change: (folder: Folder) => Folder): Session {
  return { ...session, folders: session.folders.map((folder) => (folder.name === name ? change(folder) : folder)) }
}

export function refuse(request: number, error: Fault): Out {
  return { type: 'refuse', request, error }
}

/** A message whose outcome changes nothing here: it is sent as a request only so that its receiver may answer. */
export function tell(context: Context, to: string | number, kind: string, body: unknown, caps: readonly Delegation[] = []): Step {
  return stay(
    { ...context, next: context.next + 1 },
    { type: 'send', to, kind, body, ref: `told:${context.next}`, ...(caps.length > 0 ? { caps } : {}) },
  )
}

export const folderScope = (name: string): string => `${name}/`

/** A session's standing permissions as the member sees them. Hosts are one grant: the egress capability carries them all. */
export function grantsOf(session: Session): GrantView[] {
  const folders = session.folders.flatMap((folder): GrantView[] => {
    if (!folder.held) return []
    const scope = `${folderScope(folder.name)} (${folder.mode === 'rw' ? 'read, and write with approval' : 'read only'})`
    return [{ id: String(folder.held.grant), kind: 'folder', scope, by: folder.by, at: folder.at, reason: `connected: ${folder.root}` }]
  })
  const hosts: GrantView[] =
    session.egress && session.hosts.length > 0
      ? [
          {
            id: String(session.egress.grant),
            kind: 'fetch',
            scope: session.hosts.join(', '),
            by: 'member',
            at: session.openedAt,
            reason: 'hosts allowed by the member',
          },
        ]
      : []
  const answers = session.grants.map(
    ({ grant, kind, scope, by, at, reason }): GrantView => ({ id: String(grant), kind, scope, by, at, reason }),
  )
  return [...folders, ...hosts, ...answers]
}
