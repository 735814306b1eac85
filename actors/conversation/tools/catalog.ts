/** The tools, and what is the same for all of them: finding, checking, planning and presenting without ever throwing. */
import type { Tool as ToolParam } from '@anthropic-ai/sdk/resources/messages'
import { z } from 'zod'
import { asFault, fault } from '../../../kernel/index.ts'
import type { Fault } from '../../../kernel/index.ts'
import { MAX_RESULT_CHARS } from '../limits.ts'
import type { Workspace } from '../paths.ts'
import { bashOutput, killShell } from './background.ts'
import { bash } from './bash.ts'
import { deleteTool } from './delete.ts'
import { edit, multiEdit } from './edit.ts'
import { glob } from './glob.ts'
import { grep } from './grep.ts'
import { list } from './list.ts'
import { move } from './move.ts'
import { present } from './present.ts'
import { read } from './read.ts'
import { isServerTool, planServerCall, presentServerCall } from './server-tool.ts'
import type { Answer, Plan, Presented, Tool } from './tool.ts'
import { webFetch } from './web-fetch.ts'
import { webSearch } from './web-search.ts'
import { write } from './write.ts'

const tools: ReadonlyMap<string, Tool> = new Map(
  [read, write, edit, multiEdit, glob, grep, list, move, deleteTool, present, bash, bashOutput, killShell, webFetch, webSearch].map(
    (item) => [item.name, item],
  ),
)

/** The tools as the Messages API wants them, always in the same order: they are part of the cached prefix. */
const allParams: readonly ToolParam[] = [...tools.values()].map(({ name, description, input }) => {
  const { $schema: _, ...schema } = z.toJSONSchema(input, { io: 'input' })
  return { name, description, input_schema: schema as ToolParam['input_schema'] }
})

/** Without those that policy blocks. */
export function toolParams(blocked: Readonly<Record<string, string>> = {}): ToolParam[] {
  return allParams.filter(({ name }) => !Object.hasOwn(blocked, name))
}

/** What a tool call comes to, or why it cannot be carried out. Never throws. */
export function planCall(name: string, input: unknown, workspace: Workspace): { plan: Plan } | { error: Fault } {
  const { blocked = {} } = workspace
  if (Object.hasOwn(blocked, name))
    return { error: fault('policy-denied', `Policy does not allow ${name}.`, { rule: blocked[name] ?? name }) }
  if (isServerTool(name)) return attempt(() => planServerCall(name, input, workspace.serverTools ?? []))
  const found = tools.get(name)
  if (!found) return { error: fault('unknown-tool', `There is no tool "${name}".`, { rule: `tools: ${[...tools.keys()].join(', ')}` }) }
  const checked = found.input.safeParse(input)
  if (!checked.success)
    return { error: fault('bad-input', `The input of ${name} is not right.`, { cause: z.prettifyError(checked.error) }) }
  return attempt(() => found.plan(checked.data, workspace))
}

function attempt(plan: () => Plan): { plan: Plan } | { error: Fault } {
  try {
    return { plan: plan() }
  } catch (error) {
    return { error: asFault(error) }
  }
}

/** The answers of a planned call as text for the model. Never throws. */
export function presentAnswers(name: string, input: unknown, answers: readonly Answer[], workspace: Workspace): Presented {
  try {
    const found = tools.get(name)
    const [first, ...more] = answers
    if (first && isServerTool(name)) return cappedText(presentServerCall(first))
    if (!found || !first) throw new Error(`no answer to ${name}`)
    return cappedText(found.present(found.input.parse(input), [first, ...more], workspace))
  } catch (error) {
    return presentFault(asFault(error))
  }
}

/** A failure as the model reads it: what, why, which rule, what to do. `output`: what a command printed before it failed. */
export function presentFault(error: Fault, output = ''): Presented {
  const { code, message, cause, rule, remedy, retryAfterMs } = error
  const lines = [
    message,
    `Code: ${code}`,
    ...(cause ? [`Cause: ${cause}`] : []),
    ...(rule ? [`Rule: ${rule}`] : []),
    `Remedy: ${remedy}`,
    ...(retryAfterMs === undefined ? [] : [`Retry after: ${retryAfterMs} ms`]),
    ...(output === '' ? [] : ['Output until then:', output]),
  ]
  return { ok: false, error, text: capped(lines.join('\n')) }
}

function cappedText(presented: Presented): Presented {
  return { ...presented, text: capped(presented.text) }
}

function capped(text: string): string {
  return text.length <= MAX_RESULT_CHARS
    ? text
    : `${text.slice(0, MAX_RESULT_CHARS)}\n(cut here: ${text.length} characters in all; ask for less at once)`
}
