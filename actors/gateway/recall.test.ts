import { expect, it } from 'vitest'
import { maxTitle } from './limits.ts'
import { eventsOf, type JournalEntry, titleFrom } from './recall.ts'

const said = (role: 'user' | 'assistant', content: unknown[], seq = 1): JournalEntry => ({
  seq,
  ts: 0,
  type: 'message',
  entry: { role, content },
})
const call = (name: string, input: unknown): string | undefined => {
  const [event] = eventsOf('s', [said('assistant', [{ type: 'tool_use', id: 'c1', name, input }])])
  return event?.['title'] as string | undefined
}

it('a call that is recalled has a title for people, as when it ran: one short line', () => {
  expect(call('Bash', { command: "python3 - <<'PYTHON'\nimport csv\nprint(1)\nPYTHON" })).toBe("Run python3 - <<'PYTHON'")
  expect(call('Bash', { command: 'x'.repeat(10_000) })).toHaveLength('Run '.length + maxTitle)
  expect(call('Read', { file_path: '/home/ann/work/sales/2025-q1.csv' })).toBe('Read …/sales/2025-q1.csv')
  expect(call('Read', { file_path: 'C:\\Users\\ann\\sales\\q1.csv' })).toBe('Read …/sales/q1.csv')
  expect(call('Write', { file_path: '/sales/q1.csv' })).toBe('Write /sales/q1.csv')
  expect(call('Glob', { pattern: '**/*.csv', path: '/home/ann/work/sales' })).toBe('Find **/*.csv')
  expect(call('WebFetch', { url: 'https://example.com/a' })).toBe('Fetch https://example.com/a')
})

it('a call with no argument that means something is its name', () => {
  expect(call('Present', {})).toBe('Present')
  expect(call('Odd', null)).toBe('Odd')
  expect(call('Odd', { command: 7 })).toBe('Odd')
})

it('a session is called by its first prompt, on one line and cut', () => {
  expect(titleFrom(said('user', [{ type: 'text', text: 'Total\n the  sales' }]))).toBe('Total the sales')
  expect(titleFrom(said('user', [{ type: 'text', text: 'x'.repeat(1000) }]))).toHaveLength(maxTitle)
  expect(titleFrom(said('user', [{ type: 'text', text: ' \n ' }]))).toBeNull()
  expect(titleFrom(undefined)).toBeNull()
})
