import type { MessageCreateParamsBase } from '@anthropic-ai/sdk/resources/messages'
import type { Context } from './context.ts'
import { type Message, validHistory, withCacheMark, withoutOldMedia } from './history.ts'
import { MAX_OUTPUT_TOKENS } from './limits.ts'
import type { Workspace } from './paths.ts'
import { type SystemPromptInput, systemPrompt } from './system-prompt.ts'
import { toolParams } from './tools/catalog.ts'
import { serverToolParam } from './tools/server-tool.ts'

/** What the conversation would ask the model now. */
export function requestOf(context: Context): MessageCreateParamsBase {
  const { session, folders, hosts, turn, serverNotes, instructions } = context
  return modelRequest(
    context.model,
    context.messages,
    { session, folders, hosts, date: turn?.date ?? '', serverNotes, instructions },
    context,
  )
}

/** Everything one model call sends. Pure. Order of the cached prefix: tools, system prompt, messages. */
function modelRequest(
  model: string,
  messages: readonly Message[],
  prompt: SystemPromptInput,
  { blocked, serverTools = [] }: Pick<Workspace, 'blocked' | 'serverTools'> = {},
): MessageCreateParamsBase {
  return {
    model,
    max_tokens: MAX_OUTPUT_TOKENS,
    system: [{ type: 'text', text: systemPrompt(prompt), cache_control: { type: 'ephemeral' } }],
    tools: [...toolParams(blocked), ...serverTools.map(serverToolParam)],
    messages: withCacheMark(withoutOldMedia(validHistory(messages))) as MessageCreateParamsBase['messages'],
    ...(thinksAdaptively(model) ? { thinking: { type: 'adaptive', display: 'summarized' } } : {}),
  }
}

/** Models known to take `thinking: adaptive`. Others get no setting: a wrong one is refused by the API, none never is. */
function thinksAdaptively(model: string): boolean {
  return /^claude-(?:opus|sonnet)-(?:4-[6-9]|5)/.test(model)
}
