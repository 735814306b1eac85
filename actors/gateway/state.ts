/** What the gateway knows, as values. */
import type { Outgoing } from '../../kernel/index.ts'
import type { Option } from './protocol.ts'

/** How a client wants to hear of a session: in our own events, or as ACP updates. */
export type Style = 'bulkhead' | 'acp'

export type Turn = {
  /** Ref of the prompt request to the conversation. */
  ref: string
  /** The caller's name for it. */
  turn: string
  conn: number
  call: number
  /** It outlives its client. */
  stays: boolean
  /** Since the last tool call: what the summary of an interrupted turn says. */
  text: string
  toolCalls: number
  /** Code of the last error event. */
  error: string | null
  /** Tool calls under way: id to title. */
  running: Readonly<Record<string, string>>
}

export type Session = {
  id: string
  /** The gateway's slot for it. */
  conversation: number
  /** Real paths of its folders, as far as known. */
  folders: readonly string[]
  /** Sequence number of the last event. */
  seq: number
  watchers: Readonly<Record<number, Style>>
  turn: Turn | null
}

export type Question = {
  id: string
  /** Consent's request. */
  request: number
  session: string
  tool: string
  title: string
  detail: string
  toolCall: string
  options: readonly Option[]
  /** Clients that have not answered yet. */
  asked: readonly number[]
}

/** A client's call whose answer is another actor's reply. */
export type Pending =
  | { conn: number; call: number; kind: 'relay' | 'watch' }
  /** Afterwards the session's watchers are told that its grants changed. */
  | { conn: number; call: number; kind: 'change'; session: string }
  | { conn: number; call: number; kind: 'open'; style: Style }
  /** Opened; what was said in it before is being read. */
  | { conn: number; call: number; kind: 'load'; style: Style; opened: Opened; conversation: number }

/** Consent's answer to `open`, as far as it matters here; it reaches the client whole. */
export type Opened = { session: string; resumed: boolean; folders: readonly { root: string }[] }

export type DoorKind = 'local' | 'page'
export type LiveSession = { running: boolean; asks: boolean; folders: readonly string[] }

export type Shell = { conn: number; call: number; shell: string; session: string }

export type Context = {
  next: number
  clients: readonly number[]
  sessions: Readonly<Record<string, Session>>
  /** Sessions nobody watches, longest unwatched first. */
  idle: readonly string[]
  questions: Readonly<Record<string, Question>>
  pending: Readonly<Record<string, Pending>>
  /** Terminals in the workspace, by the ref of the effect that carries each. */
  shells: Readonly<Record<string, Shell>>
}

export const empty: Context = { next: 1, clients: [], sessions: {}, idle: [], questions: {}, pending: {}, shells: {} }

export type EffectCall =
  /** `full`: too many clients, this one is only told so. */
  | { name: 'serve'; params: { conn: number; full: boolean; door: DoorKind } }
  | { name: 'answer'; params: { conn: number; call: number; result?: unknown; error?: unknown } }
  /** `stamp`: put the time into `params.ts`. */
  | { name: 'notify'; params: { conns: readonly number[]; method: string; params: Readonly<Record<string, unknown>> } }
  /** Stamps a session's event with the time, keeps it for later and sends it. */
  | { name: 'publish'; params: { conns: readonly number[]; event: Readonly<Record<string, unknown>> & { session: string; seq: number } } }
  /** Reads what was said in a session before the gateway knew it. */
  | { name: 'recall'; params: { ref: string; session: string } }
  | { name: 'replay'; params: { conn: number; call: number; session: string; after: number } }
  | { name: 'forget'; params: { session: string } }
  /** `live`: what the gateway knows of each that is open. */
  | { name: 'listSessions'; params: { conn: number; call: number; live: Readonly<Record<string, LiveSession>> } }
  | { name: 'tellPage'; params: { conn: number; call: number } }
  /** Carries a terminal: what it shows to the client, until it ends. */
  | { name: 'shell'; params: Shell & { ref: string; cols: number; rows: number; command?: string | undefined; term?: string | undefined } }
  | { name: 'question'; params: { ref: string; conn: number; question: string; params: unknown } }

export type Out = Outgoing | { type: 'effect'; call: EffectCall }
export type Step = { context: Context; out: readonly Out[] }

export const stay = (context: Context, ...out: Out[]): Step => ({ context, out })

/** `next` runs on what `step` led to; both their messages leave, in order. */
export function andThen(step: Step, next: (context: Context) => Step): Step {
  const after = next(step.context)
  return { context: after.context, out: [...step.out, ...after.out] }
}

export function effect(call: EffectCall): Out {
  return { type: 'effect', call }
}

export const answer = (conn: number, call: number, result: unknown): Out => effect({ name: 'answer', params: { conn, call, result } })
export const fail = (conn: number, call: number, error: unknown): Out => effect({ name: 'answer', params: { conn, call, error } })

export function withSession(context: Context, id: string, change: (session: Session) => Session): Context {
  const session = context.sessions[id]
  return session ? { ...context, sessions: { ...context.sessions, [id]: change(session) } } : context
}

export function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  const { [key]: _, ...rest } = record
  return rest
}

export function watchersOf(session: Session, style: Style): number[] {
  return Object.entries(session.watchers).flatMap(([conn, as]) => (as === style ? [Number(conn)] : []))
}
