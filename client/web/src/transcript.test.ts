import { expect, test } from 'vitest'
import { createTranscript, type Item } from './transcript.ts'
import type { SessionEvent } from './types.ts'

const common = { session: 's-1', seq: 1, ts: '' }

function shown(events: readonly object[]): Item[] {
  const transcript = createTranscript()
  for (const event of events) transcript.apply({ ...common, ...event } as SessionEvent)
  transcript.flush()
  return transcript.$items.get().map((store) => store.get())
}

test('pieces of text are one block until something else happens', () => {
  expect(
    shown([
      { type: 'prompt', text: 'q' },
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
      { type: 'tool_call', id: 't', name: 'Read', title: 'Read x', input: {} },
      { type: 'text', text: 'c' },
    ]),
  ).toMatchObject([
    { kind: 'prompt' },
    { kind: 'text', text: 'ab', live: false },
    { kind: 'tool', state: 'running' },
    { kind: 'text', text: 'c', live: true },
  ])
})

test('a call gathers its output, its decision and its result; the result is what counts', () => {
  expect(
    shown([
      { type: 'tool_call', id: 't', name: 'Bash', title: 'Run ls', input: { command: 'ls' } },
      { type: 'permission', id: 't', decision: 'allow', scope: 'session', by: 'member (page)' },
      { type: 'tool_output', id: 't', text: 'half' },
      { type: 'tool_result', id: 't', ok: true, output: 'whole', durationMs: 5 },
      { type: 'tool_result', id: 'unknown', ok: true, output: '', durationMs: 5 },
    ]),
  ).toMatchObject([{ state: 'done', output: 'whole', decision: 'allowed for this session by member (page)', durationMs: 5 }])
})

test('what still ran at the end of a turn was stopped', () => {
  expect(
    shown([
      { type: 'prompt', text: 'q' },
      { type: 'tool_call', id: 't', name: 'Bash', title: 'Run ls', input: {} },
      { type: 'result', status: 'cancelled', text: '', toolCalls: 1 },
    ]),
  ).toMatchObject([{ kind: 'prompt' }, { state: 'stopped' }, { kind: 'note', text: 'Interrupted.' }])
})

test('a day of ten thousand events is drawn once: the list, and no item before it is in the list', () => {
  const transcript = createTranscript()
  let lists = 0
  let first: unknown = null
  transcript.$items.listen((items) => {
    lists++
    first = items[0]?.get()
  })
  for (let n = 0; n < 10_000; n++) {
    const event =
      n % 2 === 0 ? { type: 'text', text: `${n}` } : { type: 'tool_call', id: `t${n}`, name: 'Read', title: `Read ${n}`, input: {} }
    transcript.apply({ ...common, ...event } as SessionEvent)
  }
  expect(lists).toBe(0)
  transcript.flush()
  expect([lists, transcript.$items.get().length]).toEqual([1, 10_000])
  // As it stays, not as it first came.
  expect(first).toMatchObject({ text: '0', live: false })
})
