/**
 * What was said in a session before the gateway knew it: the conversation's journal entries, turned into the events a client would
 * have seen. Times of single tool calls and answers to questions are not in the journal and so not in the events.
 */
import { z } from 'zod'
import { maxTitle } from './limits.ts'
import type { LoggedEvent } from './session-log.ts'

export type JournalEntry = { seq: number; ts: number; type: string; entry: unknown }

const block = z.looseObject({ type: z.string() })
const message = z.object({ role: z.enum(['user', 'assistant']), content: z.array(block) })
const withdrawn = z.object({ messages: z.int().min(0) })
type Message = z.infer<typeof message> & { ts: number }
type Block = z.infer<typeof block>

/** @param entries of one session, oldest first. */
export function eventsOf(session: string, entries: readonly JournalEntry[]): LoggedEvent[] {
  let messages: Message[] = []
  for (const { type, entry, ts } of entries) {
    const said = type === 'message' ? message.safeParse(entry) : null
    if (said?.success) messages.push({ ...said.data, ts })
    const back = type === 'withdrawn' ? withdrawn.safeParse(entry) : null
    if (back?.success) messages = messages.slice(0, back.data.messages)
  }
  const names = new Map<string, string>()
  const events = messages.flatMap(({ role, content, ts }) =>
    content.flatMap((item): { ts: number; type: string; [field: string]: unknown }[] => {
      if (item.type === 'text') return [{ ts, type: role === 'user' ? 'prompt' : 'text', text: textOf(item['text']) }]
      const id = textOf(item['id'] ?? item['tool_use_id'])
      if (item.type === 'tool_use') {
        const name = textOf(item['name'])
        names.set(id, name)
        return [{ ts, type: 'tool_call', id, name, title: titleOf(name, item['input']), input: item['input'] }]
      }
      if (item.type !== 'tool_result') return []
      const output = resultText(item['content'])
      return [{ ts, type: 'tool_result', id, name: names.get(id) ?? '', ok: item['is_error'] !== true, output, durationMs: 0 }]
    }),
  )
  return events.map(({ ts, ...event }, at) => ({ session, seq: at + 1, ts: new Date(ts).toISOString(), ...event }))
}

/** A session's title: its first prompt on one line, cut. Null when the entry is none. */
export function titleFrom(entry: JournalEntry | undefined): string | null {
  const said = message.safeParse(entry?.entry)
  if (entry?.type !== 'message' || !said.success) return null
  const text = said.data.content.flatMap((item) => (item.type === 'text' ? [textOf(item['text'])] : [])).join(' ')
  return cutLine(text.replace(/\s+/g, ' ')) || null
}

const verbs: Readonly<Record<string, string>> = {
  Bash: 'Run',
  Grep: 'Search',
  Glob: 'Find',
  WebFetch: 'Fetch',
  WebSearch: 'Search the web for',
}

/** The call in a few words: its name and the first argument a person would recognise, as short as it was shown when it ran. */
function titleOf(name: string, input: unknown): string {
  if (typeof input !== 'object' || input === null) return name
  const { file_path: file, path, command, pattern, url, query } = input as Record<string, unknown>
  const object = typeof file === 'string' ? endOf(file) : [command, pattern, url, query, path].find((value) => typeof value === 'string')
  const verb = verbs[name] ?? name
  return typeof object === 'string' ? `${verb} ${cutLine(object)}` : verb
}

/** Which folders were connected then is not known here: the file with the folder it is in. */
function endOf(path: string): string {
  const parts = path.split(/[/\\]+/)
  return parts.length > 3 ? `…/${parts.slice(-2).join('/')}` : path
}

/** Its first line. */
function cutLine(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? ''
  return line.length > maxTitle ? `${line.slice(0, maxTitle - 1)}…` : line
}

function resultText(content: unknown): string {
  if (typeof content === 'string') return content
  return Array.isArray(content) ? (content as Block[]).map((item) => textOf(item['text'])).join('\n') : ''
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
