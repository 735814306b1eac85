import { describe, expect, test } from 'vitest'
import { fault } from '../kernel/index.ts'
import type { SessionEvent } from './events.ts'
import { exitCode } from './exit-codes.ts'
import { createJsonOutput } from './json.ts'
import { oneLine, printable } from './printable.ts'
import { createRenderer } from './render.ts'
import { styleFor } from './style.ts'

const base = { session: 's-1', ts: '2026-01-01T00:00:00.000Z', turn: 't' }
const turn: SessionEvent[] = [
  {
    ...base,
    seq: 1,
    type: 'session',
    folders: [{ name: 'sales', root: '/x/sales', mode: 'ro' }],
    hosts: ['a.com'],
    approve: 'ask',
    resumed: false,
  },
  { ...base, seq: 2, type: 'session', model: { name: 'p', practice: true } },
  { ...base, seq: 2, type: 'thinking', text: 'hm', passing: true },
  { ...base, seq: 3, type: 'text', text: 'I look.' },
  { ...base, seq: 4, type: 'tool_call', id: '1', name: 'Bash', title: 'Run ls', input: { command: 'ls' } },
  { ...base, seq: 5, type: 'vm', state: 'booting', detail: 'kernel' },
  {
    ...base,
    seq: 6,
    type: 'permission',
    id: '1',
    tool: 'Bash',
    title: 'Run ls',
    decision: 'allow',
    scope: 'once',
    by: 'member (terminal)',
  },
  { ...base, seq: 6, type: 'tool_output', id: '1', stream: 'stdout', text: 'a', passing: true },
  { ...base, seq: 7, type: 'tool_result', id: '1', name: 'Bash', ok: true, output: 'a', durationMs: 1234 },
  { ...base, seq: 8, type: 'tool_call', id: '2', name: 'Read', title: 'Read ../x', input: {} },
  {
    ...base,
    seq: 9,
    type: 'tool_result',
    id: '2',
    name: 'Read',
    ok: false,
    output: '',
    durationMs: 2,
    error: fault('outside-folder', 'No.'),
  },
  { ...base, seq: 10, type: 'text', text: 'Done.\n' },
  { ...base, seq: 11, type: 'result', status: 'done', text: 'Done.', toolCalls: 2 },
]

function captured(env: NodeJS.ProcessEnv, isTTY: boolean) {
  let out = ''
  let err = ''
  let both = ''
  const renderer = createRenderer({
    out: { write: (text) => ((out += text), (both += text)) },
    err: { write: (text) => ((err += text), (both += text)) },
    style: styleFor({ isTTY }, env),
    now: () => 0,
  })
  return { renderer, text: () => ({ out, err, both }) }
}

describe('for people', () => {
  test('a pipe: the answer on stdout, everything else on stderr, no control characters', () => {
    const { renderer, text } = captured({}, false)
    for (const event of turn) renderer.event(event)
    expect(text().out).toBe('I look.\nDone.\n')
    expect(text().err).toBe(`Session s-1 · sales/ (read only) · hosts: a.com · approve: ask
Model: the practice model, a built-in stand-in for plain requests only. No ANTHROPIC_API_KEY is set.
Workspace: booting, kernel
✓ Run ls  1.2 s, allowed once by member (terminal)
✗ Read ../x  0.0 s
  No. (outside-folder)
Done · 2 tool calls · 0.0 s · session s-1
`)
  })

  test('a terminal: colours and a live line; NO_COLOR and TERM=dumb take them away', () => {
    const shown = (env: NodeJS.ProcessEnv) => {
      const { renderer, text } = captured(env, true)
      for (const event of turn) renderer.event(event)
      return text().err
    }
    expect(shown({ TERM: 'xterm' })).toMatch(/\u001b\[32m✓/)
    expect(shown({ TERM: 'xterm', NO_COLOR: '1' })).not.toMatch(/\u001b\[\d/)
    expect(shown({ TERM: 'xterm', NO_COLOR: '1' })).toContain('\r\u001b[K… Run ls')
    expect(shown({ TERM: 'dumb' })).not.toContain('\u001b')
  })

  test('a start that goes well is a passing line in a terminal; what is worth knowing afterwards stays', () => {
    const { renderer, text } = captured({ TERM: 'xterm', NO_COLOR: '1' }, true)
    for (const [at, state] of ['probing', 'restoring', 'ready', 'recovering', 'booting', 'degraded'].entries())
      renderer.event({ ...base, seq: at, type: 'vm', state, detail: `${state}.` })
    const left = text()
      .err.replaceAll(/\r\u001b\[K[^\n\r]*(?=\r)/g, '')
      .replaceAll('\r\u001b[K', '')
    expect(left).toBe('Workspace: ready, ready.\nWorkspace: recovering, recovering.\nWorkspace: degraded, degraded.\n')
    expect(text().err).toContain('… Workspace: restoring')
  })

  test('while a question has the terminal nothing else is written; it comes after', () => {
    const { renderer, text } = captured({ TERM: 'xterm', NO_COLOR: '1' }, true)
    renderer.event({ ...base, seq: 1, type: 'text', text: 'I ask.' })
    renderer.hold()
    const before = text().both
    expect(before).toBe('I ask.\n')
    for (const event of turn) renderer.event(event)
    renderer.status('booting')
    renderer.note('noted')
    expect(text().both).toBe(before)
    renderer.release()
    expect(text().both).toMatch(/^I ask\.\n[\s\S]*✓ Run ls[\s\S]*Done · 2 tool calls[\s\S]*noted\n$/)
  })

  test('control sequences and direction overrides cannot reach the terminal', () => {
    const { renderer, text } = captured({ TERM: 'xterm', NO_COLOR: '1' }, false)
    for (const type of ['text', 'error'] as const)
      renderer.event(
        type === 'text'
          ? { ...base, seq: 1, type, text: 'a\u001b[2Jb\u202ec\r\nd' }
          : { ...base, seq: 2, type, error: fault('io-failed', 'x\u001b]0;y\u0007') },
      )
    expect(text().both).toContain('a\\u{1b}[2Jb\\u{202e}c\nd')
    expect(text().both).not.toMatch(/[\u001b\u0007\u202e\r]/)
    expect(printable('tab\tand\nline')).toBe('tab\tand\nline')
    expect(oneLine('a\n  b   c', 5)).toBe('a b c')
    expect(oneLine('abcdefgh', 5)).toBe('abcd…')
  })
})

describe('for scripts', () => {
  const lines = (use: (json: ReturnType<typeof createJsonOutput>) => void) => {
    let text = ''
    use(createJsonOutput({ write: (more) => (text += more) }, () => new Date(0)))
    return text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  test('only the stable types, numbered upwards, the result last', () => {
    const events = lines((json) => turn.forEach((event) => json.event(event)))
    expect(events.map(({ type }) => type)).toEqual([
      'session',
      'session',
      'text',
      'tool_call',
      'vm',
      'permission',
      'tool_result',
      'tool_call',
      'tool_result',
      'text',
      'result',
    ])
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect(events.at(-1)).toEqual({ seq: 11, ts: base.ts, type: 'result', status: 'done', text: 'Done.', toolCalls: 2 })
    expect(events[2]).toEqual({ seq: 3, ts: base.ts, type: 'text', session: 's-1', text: 'I look.' })
  })

  test('what the daemon did not tell is told anyway, and an error only once', () => {
    const error = fault('daemon-down', 'Gone.')
    const failed = { status: 'failed' as const, text: '', toolCalls: 0, error }
    expect(lines((json) => json.ended(failed)).map(({ seq, type }) => [seq, type])).toEqual([
      [1, 'error'],
      [2, 'result'],
    ])
    const after = lines((json) => {
      json.event({ ...base, seq: 40, type: 'error', error })
      json.ended(failed)
    })
    expect(after.map(({ seq, type }) => [seq, type])).toEqual([
      [40, 'error'],
      [41, 'result'],
    ])
  })
})

test.each([
  ['done', undefined, 0],
  ['refused', 'denied', 3],
  ['failed', 'internal', 3],
  ['failed', 'model-unreachable', 4],
  ['failed', 'model-refused', 3],
  ['cancelled', undefined, 130],
] as const)('%s with %s exits %i', (status, code, expected) => {
  expect(exitCode({ status, error: code ? { code } : undefined })).toBe(expected)
})
