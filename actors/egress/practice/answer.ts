/**
 * One answer of the practice model, from the transcript alone. Each turn is a generator that yields batches of tool calls and is
 * given their results; it is run anew for every request and fed what the transcript holds, up to the first batch without results:
 * that batch is the answer. So nothing is remembered between requests, and the same transcript always gets the same answer.
 */
import type { Batch } from './skill.ts'
import type { Call, Result, Transcript, Turn, World } from './transcript.ts'
import { carryOut, type Done } from './turn.ts'
import { type Block, type StopReason, tokensOf } from './wire.ts'

export type Answer = { content: Block[]; stop: StopReason }

/** `stem`: begins the ids of the calls; must differ between requests of a conversation. */
export function answer({ world, turns }: Transcript, options: { maxTokens: number; stem: string }): Answer {
  let earlier: Done | null = null
  for (const turn of turns.slice(0, -1)) earlier = replay(turn, world, earlier).done ?? earlier
  const current = turns.at(-1) ?? { prompt: '', batches: [] }
  const { done, pending } = replay(current, world, earlier)
  if (!pending) return final(done?.text ?? '', options.maxTokens)
  const uses = pending.calls.map(({ name, input }, index): Block => ({ type: 'tool_use', id: `${options.stem}_${index}`, name, input }))
  return { content: [...(pending.say ? [{ type: 'text' as const, text: pending.say }] : []), ...uses], stop: 'tool_use' }
}

function replay({ prompt, batches }: Turn, world: World, earlier: Done | null): { done?: Done; pending?: Batch } {
  const run = carryOut(prompt, world, earlier)
  let used = 0
  let step = run.next()
  while (!step.done) {
    const { calls } = step.value
    const offered = calls.filter(({ name }) => world.tools.has(name))
    const results = batches[used]
    if (offered.length > 0) {
      if (results === undefined) return { pending: { ...step.value, calls: offered } }
      used += 1
    }
    step = run.next(calls.map((call) => resultOf(call, world, offered.indexOf(call), results ?? [])))
  }
  return { done: step.value }
}

function resultOf({ name }: Call, world: World, position: number, results: readonly Result[]): Result {
  if (!world.tools.has(name)) return { ok: false, text: `The tool ${name} is not available in this conversation.` }
  return results[position] ?? { ok: false, text: 'The call was not carried out.' }
}

function final(text: string, maxTokens: number): Answer {
  if (tokensOf(text) <= maxTokens) return { content: [{ type: 'text', text }], stop: 'end_turn' }
  return { content: [{ type: 'text', text: text.slice(0, maxTokens * 3) }], stop: 'max_tokens' }
}
