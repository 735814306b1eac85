import { beforeEach, expect, test } from 'vitest'
import { maxLogEvents } from './limits.ts'
import { eventsOf, titleFrom } from './recall.ts'
import { forgetLog, keep, replayOf } from './session-log.ts'

const session = 's-log'
const ts = new Date(0).toISOString()
beforeEach(() => forgetLog(session))

test('pieces of text are kept as one, numbered like the last of them', () => {
  keep({ session, seq: 1, ts, type: 'prompt', text: 'q', turn: 't' })
  keep({ session, seq: 2, ts, type: 'text', text: 'a', turn: 't' })
  keep({ session, seq: 3, ts, type: 'text', text: 'b', turn: 't' })
  keep({ session, seq: 4, ts, type: 'text', text: 'c', turn: 'other' })
  expect(replayOf(session, 0).events).toMatchObject([{ seq: 1 }, { seq: 3, since: 2, text: 'ab' }, { seq: 4, text: 'c' }])
  expect(replayOf(session, 2).events).toMatchObject([{ seq: 3, since: 2 }, { seq: 4 }])
  expect(replayOf(session, 0)).toMatchObject({ seq: 4, complete: true })
})

test('what only matters while it is new is not kept', () => {
  keep({ session, seq: 1, ts, type: 'usage', passing: true })
  expect(replayOf(session, 0)).toEqual({ events: [], seq: 0, complete: true })
})

test('the oldest go when there are too many, and that is said to whom it matters', () => {
  for (let seq = 1; seq <= maxLogEvents + 10; seq++) keep({ session, seq, ts, type: 'tool_call', id: `${seq}` })
  const { events, complete } = replayOf(session, 0)
  expect(events).toHaveLength(maxLogEvents)
  expect(complete).toBe(false)
  expect(replayOf(session, 100).complete).toBe(true)
})

test('one long day of long results stays within its size', () => {
  for (let seq = 1; seq <= 100; seq++) keep({ session, seq, ts, type: 'tool_result', output: 'x'.repeat(100_000) })
  expect(replayOf(session, 0).events.length).toBeLessThanOrEqual(40)
})

test('the journal is told again as events; what was withdrawn is not', () => {
  const message = (role: string, ...content: object[]) => ({ type: 'message', entry: { role, content } })
  const entries = [
    message('user', { type: 'text', text: 'List\nthe files' }),
    message('assistant', { type: 'text', text: 'Looking.' }, { type: 'tool_use', id: 't1', name: 'Read', input: { file_path: '/a/b.md' } }),
    message('user', { type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: 'content' }] }),
    message('assistant', { type: 'text', text: 'Done.' }),
    message('user', { type: 'text', text: 'declined' }),
    { type: 'withdrawn', entry: { messages: 4 } },
    { type: 'something-else', entry: null },
  ].map((entry, at) => ({ seq: at + 1, ts: 0, ...entry }))
  expect(eventsOf(session, entries)).toEqual([
    { session, seq: 1, ts, type: 'prompt', text: 'List\nthe files' },
    { session, seq: 2, ts, type: 'text', text: 'Looking.' },
    { session, seq: 3, ts, type: 'tool_call', id: 't1', name: 'Read', title: 'Read /a/b.md', input: { file_path: '/a/b.md' } },
    { session, seq: 4, ts, type: 'tool_result', id: 't1', name: 'Read', ok: true, output: 'content', durationMs: 0 },
    { session, seq: 5, ts, type: 'text', text: 'Done.' },
  ])
  expect(titleFrom(entries[0])).toBe('List the files')
  expect(titleFrom(entries[5])).toBe(null)
})
