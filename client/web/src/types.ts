/** What the gateway tells, as far as the page shows it. Text in it is not to be trusted: it is only ever drawn as text. */
import type { VmStatus } from '../../../actors/vm-supervisor/protocol.ts'
import type { Fault } from '../../../kernel/index.ts'
import type { FolderView, Opened, Question, Resolution, SessionEvent as DaemonEvent } from '../../events.ts'

export type { Fault, FolderView, Opened, Question, Resolution }

type Common = { session: string; seq: number; ts: string; turn?: string; passing?: boolean; since?: number }
export type SessionEvent = DaemonEvent | (Common & { type: 'prompt'; text: string }) | (Common & { type: 'grants' })

export type Grant = {
  id: string
  kind: 'folder' | 'write' | 'exec' | 'fetch' | 'mcp'
  scope: string
  by: string
  at: number
  reason: string
}
export type ListedSession = {
  session: string
  title: string | null
  entries: number
  firstTs: number
  lastTs: number
  open: boolean
  running: boolean
  asks: boolean
}
/** A tool server, as far as it is shown. */
export type ToolServer = { name: string; state: string; network: boolean; error: Fault | null; tools: readonly { name: string }[] }
export type Approve = 'ask' | 'edits' | 'all' | 'none'
export type Vm = Pick<VmStatus, 'state' | 'isolation' | 'lastError' | 'timings' | 'progress'>
/** A question with the tool call it is about. */
export type Asked = Question & { session: string; toolCall: string; answer(option: string): void }
