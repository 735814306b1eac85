/** What may leave the device, by what policy opted in to. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { maxContent, maxInputTotal } from './limits.ts'
import type { TelemetryEvent } from './protocol.ts'
import { eventSpan, hopSpan, logRecord, measuresOf, shortInput } from './records.ts'
import { shownEndpoint, signalUrl } from './settings.ts'

const names = ['user_prompt', 'assistant_response', 'tool_result', 'tool_decision', 'api_request', 'api_error'] as const
const kinds = ['userPrompts', 'assistantResponses', 'toolDetails', 'toolContent', 'rawApiBodies']
const secret = 'the-secret-text'
const event = (name: TelemetryEvent['name'], more: Partial<TelemetryEvent> = {}): TelemetryEvent => ({
  name,
  prompt: '3f0f2f7a-9d38-4f0e-9a5c-1f6f3c8f7b11',
  sequence: 4,
  attributes: { tool_name: 'Bash', duration_ms: 250 },
  content: { prompt: secret, response: secret, error: secret, toolParameters: secret, toolInput: { command: secret }, toolOutput: secret },
  folders: ['/home/ada/work'],
  trace: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  parent: 'aaaaaaaaaaaaaaaa',
  ...more,
})
const sent = (name: TelemetryEvent['name'], capture: readonly string[]): string =>
  JSON.stringify([logRecord(event(name), 's-1', 0, capture), eventSpan(event(name), 's-1', 0, capture), measuresOf(event(name))])

describe('content', () => {
  test.each(names)('%s carries none by default', (name) => {
    expect(sent(name, [])).not.toContain(secret)
  })

  test('each opt-in lets out its own and nothing else', () => {
    const out = (capture: string[]) => names.filter((name) => sent(name, capture).includes(secret))
    expect(out(['userPrompts'])).toEqual(['user_prompt', 'assistant_response'])
    expect(out(['assistantResponses'])).toEqual(['assistant_response'])
    expect(out(['toolContent'])).toEqual(['tool_result'])
    // What a log line carries only if asked for, a span does not carry either.
    expect(JSON.stringify(logRecord(event('tool_result'), null, 0, ['toolContent']))).not.toContain(secret)
    expect(JSON.stringify(logRecord(event('tool_result'), null, 0, ['toolDetails']).attributes['tool_input'])).toContain(secret)
    expect(out(['rawApiBodies'])).toEqual([])
  })

  test('is cut to its limit whatever it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ maxLength: 50 }), fc.integer({ min: 0, max: 5_000 }), (anything, text, times) => {
        expect(shortInput({ anything, text: text.repeat(times) }).length).toBeLessThanOrEqual(maxInputTotal + 1)
      }),
    )
    const long = logRecord(event('user_prompt', { content: { prompt: 'x'.repeat(100_000) } }), null, 0, kinds)
    expect(String(long.attributes['prompt']).length).toBe(maxContent + 1)
  })
})

test('a log line has the standard attributes, and what it was told cannot be mistaken for them', () => {
  expect(logRecord(event('tool_decision'), 's-1', 1_700_000_000_000, [])).toEqual({
    name: 'tool_decision',
    at: 1_700_000_000_000,
    error: false,
    trace: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    attributes: {
      'event.name': 'tool_decision',
      'event.timestamp': '2023-11-14T22:13:20.000Z',
      'event.sequence': 4,
      'prompt.id': '3f0f2f7a-9d38-4f0e-9a5c-1f6f3c8f7b11',
      'session.id': 's-1',
      'terminal.type': 'non-interactive',
      'workspace.host_paths': ['/home/ada/work'],
      tool_name: 'Bash',
      duration_ms: 250,
    },
  })
})

test('events that have a span of their own', () => {
  const span = eventSpan(
    event('tool_result', { attributes: { tool_name: 'Bash', duration_ms: 250, success: 'false', error: 'exec-failed' } }),
    's-1',
    1_000,
    [],
  )
  expect(span).toMatchObject({
    name: 'execute_tool Bash',
    startMs: 750,
    endMs: 1_000,
    parentId: 'aaaaaaaaaaaaaaaa',
    spanId: '00f067aa0ba902b7',
    error: 'exec-failed',
  })
  const { trace: _, ...untraced } = event('tool_result')
  expect(eventSpan(untraced, 's-1', 0, [])).toBeNull()
  expect(eventSpan(event('tool_decision'), 's-1', 0, [])).toBeNull()
  const hop = {
    traceId: 'a',
    spanId: 'b',
    parentId: null,
    kind: 'read',
    from: 'conversation:s-1',
    to: 'fs-gate:s-1.work',
    startMs: 1,
    endMs: 2,
    error: null,
  }
  expect(hopSpan(hop)).toMatchObject({ name: 'read fs-gate', attributes: { 'bulkhead.actor.to': 'fs-gate:s-1.work' } })
})

test('addresses: one path a signal below the endpoint; shown without what could be a secret', () => {
  expect(signalUrl('https://c.example:4318', 'logs')).toBe('https://c.example:4318/v1/logs')
  expect(signalUrl('https://c.example/otlp/?key=1', 'traces')).toBe('https://c.example/otlp/v1/traces?key=1')
  expect(shownEndpoint('https://user:pass@c.example:4318/otlp?key=1')).toBe('https://c.example:4318/otlp')
})
