/**
 * What happened in each open session, for clients that come later. Lives as long as the gateway's process; what was said before that is
 * read from the journal (recall.ts).
 *
 *   text text tool_call text      one entry per tool call, prompt, result …, and one per run of text pieces
 *     3    4      5      6   -->  [3-4 text] [5 tool_call] [6 text]
 */
import { maxLogChars, maxLogEvents } from './limits.ts'

/** A session event as clients see it. */
export type LoggedEvent = { session: string; seq: number; ts: string; type: string; [field: string]: unknown }
export type Replay = { events: readonly LoggedEvent[]; seq: number; complete: boolean }

type Log = { entries: { event: LoggedEvent; chars: number }[]; chars: number; complete: boolean }

const logs = new Map<string, Log>()

export function isLogged(session: string): boolean {
  return logs.has(session)
}

export function forgetLog(session: string): void {
  logs.delete(session)
}

/** Keeps an event. Pieces of text that follow each other become one, so that a long answer is not thousands of entries. */
export function keep(event: LoggedEvent): void {
  if (event['passing'] === true) return
  // A first event means that whatever is here belongs to an earlier session of that name.
  const known = event.seq === 1 ? undefined : logs.get(event.session)
  const log = known ?? { entries: [], chars: 0, complete: true }
  logs.set(event.session, log)
  const last = log.entries.at(-1)
  if (event.type === 'text' && last?.event.type === 'text' && last.event['turn'] === event['turn']) {
    const text = String(event['text'])
    const { since = last.event.seq } = last.event
    last.event = { ...last.event, seq: event.seq, since, text: `${String(last.event['text'])}${text}` }
    last.chars += text.length
    log.chars += text.length
  } else {
    const chars = sizeOf(event)
    log.entries.push({ event, chars })
    log.chars += chars
  }
  let drop = Math.max(0, log.entries.length - maxLogEvents)
  let over = log.chars - maxLogChars
  for (const { chars } of log.entries.slice(0, drop)) over -= chars
  while (over > 0 && drop < log.entries.length - 1) over -= log.entries[drop++]?.chars ?? 0
  if (drop === 0) return
  for (const { chars } of log.entries.splice(0, drop)) log.chars -= chars
  log.complete = false
}

export function replayOf(session: string, after: number): Replay {
  const log = logs.get(session)
  if (!log) return { events: [], seq: 0, complete: true }
  const events = log.entries.map(({ event }) => event)
  return {
    events: events.filter(({ seq }) => seq > after),
    seq: events.at(-1)?.seq ?? 0,
    complete: log.complete || (events[0]?.seq ?? 0) <= after + 1,
  }
}

function sizeOf(event: LoggedEvent): number {
  return Object.values(event).reduce((sum: number, value) => sum + (typeof value === 'string' ? value.length : sizeOfValue(value)), 0)
}

function sizeOfValue(value: unknown): number {
  return typeof value === 'object' && value !== null ? JSON.stringify(value).length : 8
}
