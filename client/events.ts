/** What the daemon tells about a session, as far as the terminal reads it. Text in it is not to be trusted: see printable.ts. */
import type { Fault } from '../kernel/index.ts'

export type FolderView = { name: string; root: string; mode: 'ro' | 'rw' }
export type Opened = { session: string; folders: FolderView[]; hosts: string[]; approve: string; resumed: boolean }
export type TurnResult = { status: 'done' | 'refused' | 'failed' | 'cancelled'; text: string; toolCalls: number; error?: Fault }

type Common = { session: string; seq: number; ts: string; turn?: string; passing?: boolean }
export type SessionEvent = Common &
  (
    | ({ type: 'session' } & Partial<Opened> & { model?: { name: string; practice: boolean } })
    | { type: 'text'; text: string }
    | { type: 'thinking'; text: string }
    | { type: 'tool_call'; id: string; name: string; title: string; input: unknown }
    | { type: 'tool_output'; id: string; stream: string; text: string }
    | { type: 'tool_result'; id: string; name: string; ok: boolean; output: string; durationMs: number; error?: Fault }
    | { type: 'permission'; id: string; tool: string; title: string; decision: 'allow' | 'deny'; scope: string; by: string }
    | { type: 'files_changed'; folder: string; changes: { path: string; what: 'changed' | 'deleted' }[]; more: number }
    | { type: 'job_ended'; job: string; command: string; how: string }
    | { type: 'vm'; state: string; detail: string }
    | { type: 'error'; error: Fault }
    | { type: 'usage'; input: number; output: number }
    | ({ type: 'result' } & TurnResult)
  )

export type Question = {
  id: string
  tool: string
  title: string
  detail: string
  options: { id: string; label: string; scope: string | null }[]
}
export type Resolution = { session: string; id: string; option: string | null; by: string | null }
