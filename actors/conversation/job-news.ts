/** Commands in the background that ended since the model was last told, as it is told of them. Pure. */
import type { TextBlockParam } from '@anthropic-ai/sdk/resources/messages'
import type { ReplyOf } from '../../kernel/index.ts'
import type { protocol as vmSupervisor } from '../vm-supervisor/protocol.ts'
import type { Message } from './history.ts'
import type { ConversationEvent } from './protocol.ts'
import { stateOf } from './tools/background.ts'

export type EndedJob = ReplyOf<typeof vmSupervisor, 'job-news'>['jobs'][number]

/** Whether the model ever started one: only then is there anybody to ask about. */
export function startedJobs(messages: readonly Message[]): boolean {
  return messages.some(({ content }) =>
    content.some(
      (block) => block.type === 'tool_use' && (block.input as { run_in_background?: unknown } | null)?.run_in_background === true,
    ),
  )
}

export function jobEvents(jobs: readonly EndedJob[]): ConversationEvent[] {
  return jobs.map((one) => ({ type: 'job_ended', job: one.job, command: one.command, how: stateOf(one) }))
}

/** A block of its own after the member's words. The command is data: quoted, so that it neither ends the block nor begins a line. */
export function jobBlocks(jobs: readonly EndedJob[]): TextBlockParam[] {
  if (jobs.length === 0) return []
  const text = [
    '<background-commands-ended>',
    'A note by Bulkhead, not by the member: since you last heard of them these ended. BashOutput has what they wrote.',
    ...jobs.map((one) => `- ${one.job}: ${quoted(stateOf(one))}: ${quoted(one.command.slice(0, 200))}`),
    '</background-commands-ended>',
  ].join('\n')
  return [{ type: 'text', text }]
}

const quoted = (text: string): string => JSON.stringify(text).replaceAll('<', '\\u003c')
