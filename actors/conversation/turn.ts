/** One turn's tool calls as plain data: which may start, what they came to. Pure; the machine owns the order of messages. */
import type { ContentBlockParam, DocumentBlockParam, ImageBlockParam, ToolResultBlockParam } from '@anthropic-ai/sdk/resources/messages'
import { fault } from '../../kernel/index.ts'
import type { Fault } from '../../kernel/index.ts'
import { MAX_MEDIA_CHARS, MAX_PARALLEL_READS } from './limits.ts'
import type { Workspace } from './paths.ts'
import type { ConversationEvent } from './protocol.ts'
import { planCall, presentFault } from './tools/catalog.ts'
import type { ConsentTarget, Media, Plan, Presented } from './tools/tool.ts'

export type CallResult = Presented & { durationMs: number }

/** `phase`: waiting -> running -> done for reads; waiting -> previewing -> asking -> running -> done for changes. */
export type ToolCall = {
  id: string
  name: string
  input: unknown
  title: string
  /** null: cannot be carried out; `result` says why. */
  plan: Plan | null
  phase: 'waiting' | 'previewing' | 'asking' | 'running' | 'done'
  /** Set by the preview: the file is not there yet. */
  creates: boolean
  diff: string
  /** It runs on an approval given for the session earlier, so that may turn out to be over. */
  reusing: boolean
  result: CallResult | null
}

/** The calls of an assistant message. `cut`: the answer ended at its length limit, so the last call's input may be half there. */
export function toolCalls(content: readonly ContentBlockParam[], workspace: Workspace, cut: boolean): ToolCall[] {
  return content.flatMap((block, index): ToolCall[] => {
    if (block.type !== 'tool_use') return []
    const { id, name, input } = block
    const planned = cut && index === content.length - 1 ? { error: cutShort(name) } : planCall(name, input, workspace)
    const base = { id, name, input, creates: false, diff: '', reusing: false }
    if ('plan' in planned) return [{ ...base, title: clip(planned.plan.title), plan: planned.plan, phase: 'waiting', result: null }]
    return [{ ...base, title: clip(name), plan: null, phase: 'done', result: { ...presentFault(planned.error), durationMs: 0 } }]
  })
}

function cutShort(name: string): Fault {
  return fault('bad-input', `The input of ${name} was cut off: the answer reached its length limit.`, {
    remedy: 'Send it in smaller pieces.',
  })
}

/** Indexes of the calls that may start now: reads together, a change alone and after everything before it. */
export function startable(calls: readonly ToolCall[]): number[] {
  const starting: number[] = []
  let running = calls.filter(({ phase }) => phase === 'running').length
  let earlierDone = true
  for (const [index, { plan, phase }] of calls.entries()) {
    if (phase === 'done') continue
    if (plan?.access === 'change') {
      if (phase === 'waiting' && earlierDone && starting.length === 0) starting.push(index)
      break
    }
    if (phase === 'waiting' && running < MAX_PARALLEL_READS) {
      starting.push(index)
      running++
    }
    earlierDone = false
  }
  return starting
}

export function replaceCall(calls: readonly ToolCall[], index: number, change: Partial<ToolCall>): ToolCall[] {
  return calls.map((call, at) => (at === index ? { ...call, ...change } : call))
}

/** The user message that answers them all. What is too much at once for one message is left out, and said to be. */
export function resultBlocks(calls: readonly ToolCall[]): ToolResultBlockParam[] {
  let room = MAX_MEDIA_CHARS
  return calls.map(({ id, result }) => {
    const text = result?.text || '(no output)'
    const media = (result?.media ?? []).filter(({ data }) => {
      const fits = data.length <= room
      if (fits) room -= data.length
      return fits
    })
    const missing = (result?.media?.length ?? 0) - media.length
    const said = missing === 0 ? text : `${text}\n(${missing} not shown: too much at once; read it in an answer of its own)`
    return {
      type: 'tool_result',
      tool_use_id: id,
      content: media.length === 0 ? said : [{ type: 'text', text: said }, ...media.map(mediaBlock)],
      ...(result?.ok === false ? { is_error: true } : {}),
    }
  })
}

function mediaBlock({ media_type, data }: Media): ImageBlockParam | DocumentBlockParam {
  return media_type === 'application/pdf'
    ? { type: 'document', source: { type: 'base64', media_type, data } }
    : { type: 'image', source: { type: 'base64', media_type, data } }
}

/** Calls that had not ended when the turn was interrupted. */
export function interrupted(calls: readonly ToolCall[]): ToolCall[] {
  return calls.map((call) => {
    if (call.phase === 'done') return call
    const begun = call.plan?.access === 'change' && call.phase === 'running'
    const error = fault(
      'cancelled',
      'The member interrupted before this call ended.',
      begun ? { cause: 'It may or may not have taken effect.' } : {},
    )
    return { ...call, phase: 'done', result: { ...presentFault(error), durationMs: 0 } }
  })
}

export function resultEvent({ id, name, result }: ToolCall): ConversationEvent {
  const { ok = false, text = '', error, durationMs = 0 } = result ?? {}
  return { type: 'tool_result', id, name, ok, output: text, ...(error ? { error } : {}), durationMs }
}

/** Which lasting approval covers a target. */
export function approvalKey(target: ConsentTarget): string {
  // These are asked for one by one.
  if (target.kind === 'write' && (target.act === 'delete' || target.protected !== undefined || target.mass !== undefined))
    return `once:${target.folder}/${target.path}`
  if (target.kind === 'write') return `write:${target.folder}`
  return target.kind === 'exec' ? 'exec' : `mcp:${target.tool}`
}

/** Names one thing that was approved or denied, to tell whether a denial was made good later in the turn. */
export function targetKey(target: ConsentTarget): string {
  if (target.kind === 'write') return `write:${target.folder}/${target.path}`
  return target.kind === 'exec' ? 'exec' : `mcp:${target.tool}`
}

function clip(title: string): string {
  return title.length > 200 ? `${title.slice(0, 199)}…` : title
}
