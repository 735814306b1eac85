/** What a request tells about the world and about what was done so far. Everything the practice model knows comes from here. Pure. */
import { blocksOf, type ContentBlock, type MessagesRequest } from './request.ts'

/** As the system prompt lists it. File tools take paths under `path`, commands see the same files under `workspace`. */
export type Folder = { name: string; path: string; mode: string; workspace: string }

export type Call = { name: string; input: Record<string, unknown> }
export type Result = { ok: boolean; text: string }

/** One prompt of the member and what followed: batches of calls with their results, in order. */
export type Turn = { prompt: string; batches: readonly (readonly (Call & Result)[])[] }

export type World = { folders: readonly Folder[]; tools: ReadonlySet<string> }
export type Transcript = { world: World; turns: readonly Turn[] }

export function readTranscript(request: MessagesRequest): Transcript {
  const system = typeof request.system === 'string' ? request.system : (request.system ?? []).map(({ text }) => text).join('\n')
  const offered = request.tool_choice?.type === 'none' ? [] : (request.tools ?? [])
  return { world: { folders: foldersIn(system), tools: new Set(offered.map(({ name }) => name)) }, turns: turnsIn(request) }
}

/** The block the conversation writes; see its system prompt. */
function foldersIn(system: string): Folder[] {
  const [, block = ''] = /<connected-folders>\n([\s\S]*?)\n?<\/connected-folders>/.exec(system) ?? []
  return block.split('\n').flatMap((line) => {
    const match = /^- name: (.*?) \| path: (.*) \| mode: (\w+) \| workspace: (.*?)\s*$/.exec(line)
    if (!match) return []
    const [, name = '', path = '', mode = '', workspace = ''] = match
    return [{ name, path, mode, workspace }]
  })
}

function turnsIn({ messages }: MessagesRequest): Turn[] {
  const turns: { prompt: string; batches: (Call & Result)[][] }[] = []
  for (const [index, { role, content }] of messages.entries()) {
    const blocks = blocksOf(content)
    if (role !== 'user') continue
    const results = blocks.filter((block) => block.type === 'tool_result')
    if (results.length === 0) {
      turns.push({ prompt: textOf(blocks), batches: [] })
      continue
    }
    const uses = blocksOf(messages[index - 1]?.content ?? []).filter((block) => block.type === 'tool_use')
    turns.at(-1)?.batches.push(
      uses.map((use) => {
        const result = results.find((one) => one['tool_use_id'] === use['id'])
        const call = { name: use['name'], input: use['input'] as Record<string, unknown> }
        return { ...call, ok: result?.['is_error'] !== true, text: resultText(result) }
      }),
    )
  }
  return turns
}

/** Without notes that are not the member's words. */
function textOf(blocks: readonly ContentBlock[]): string {
  const texts = blocks.flatMap((block) => (block.type === 'text' ? [block['text']] : []))
  return texts.filter((text) => !text.startsWith('<changed-by-others>')).join('\n')
}

function resultText(result: ContentBlock | undefined): string {
  const content = result?.['content'] ?? ''
  if (typeof content === 'string') return content
  return (content as { text?: string }[]).map(({ text = '' }) => text).join('\n')
}
