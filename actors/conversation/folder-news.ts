/** What others changed in the connected folders since the turn before, as the model is told of it. Pure. */
import type { TextBlockParam } from '@anthropic-ai/sdk/resources/messages'
import type { ReplyOf } from '../../kernel/index.ts'
import type { protocol as fsGate } from '../fs-gate/protocol.ts'
import { devicePath, type Workspace } from './paths.ts'
import type { ConversationEvent } from './protocol.ts'

export type FolderNews = { folder: string } & Pick<ReplyOf<typeof fsGate, 'others'>, 'changes' | 'more'>

export function newsEvents(news: readonly FolderNews[]): ConversationEvent[] {
  return news.map(({ folder, changes, more }) => ({ type: 'files_changed', folder, changes: [...changes], more }))
}

/** A block of its own after the member's words. Names are data: quoted, so that none ends the block or begins a line. */
export function newsBlocks(news: readonly FolderNews[], workspace: Pick<Workspace, 'folders'>): TextBlockParam[] {
  if (news.length === 0) return []
  const lines = news.flatMap(({ folder, changes, more }) => [
    ...changes.map(({ path, what }) => `- ${quoted(devicePath({ folder, path }, workspace as Workspace))} was ${what}`),
    ...(more > 0 ? [`- and ${more} more in ${quoted(folder)}`] : []),
  ])
  const text = [
    '<changed-by-others>',
    'A note by Bulkhead, not by the member: since your last turn someone else changed these. Read them again before you rely on what you saw.',
    ...lines,
    '</changed-by-others>',
  ].join('\n')
  return [{ type: 'text', text }]
}

function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('<', '\\u003c')
}
