/** What may leave the device, by what policy opted in to. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { maxContent, maxInputTotal } from './limits.ts'
import type { TelemetryEvent } from './protocol.ts'
import { eventSpan, hopSpan, logRecord, measuresOf, shortInput } from './records.ts'
import { noRules, type Prices, type Rules, shownEndpoint, signalUrl } from './settings.ts'

const names = [
  'user_prompt',
  'assistant_response',
  'tool_result',
  'tool_decision',
  'api_request',
  'api_error',
  'api_request_body',
  'api_response_body',
] as const
const kinds = ['userPrompts', 'assistantResponses', 'toolDetails', 'toolContent', 'rawApiBodies']
const secret = 'the-secret-text'
const event = (name: TelemetryEvent['name'], more: Partial<TelemetryEvent> = {}): TelemetryEvent => ({
  name,
  prompt: '3f0f2f7a-9d38-4f0e-9a5c-1f6f3c8f7b11',
  sequence: 4,
  attributes: { tool_name: 'Bash', duration_ms: 250 },
  content: {
    prompt: secret,
    response: secret,
    error: secret,
    toolParameters: secret,
    toolInput: { command: secret },
    toolOutput: secret,
    body: secret,
  },
  folders: ['/home/ada/work'],
  trace: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  parent: 'aaaaaaaaaaaaaaaa',
  ...more,
})
const letting = (...capture: string[]): Rules => ({ ...noRules, capture })
const sent = (name: TelemetryEvent['name'], capture: readonly string[]): string => {
  const rules = letting(...capture)
  return JSON.stringify([logRecord(event(name), 's-1', 0, rules), eventSpan(event(name), 's-1', 0, rules), measuresOf(event(name), rules)])
}

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
    expect(JSON.stringify(logRecord(event('tool_result'), null, 0, letting('toolContent')))).not.toContain(secret)
    expect(JSON.stringify(logRecord(event('tool_result'), null, 0, letting('toolDetails')).attributes['tool_input'])).toContain(secret)
    expect(out(['rawApiBodies'])).toEqual(['api_request_body', 'api_response_body'])
  })

  test('is cut to its limit whatever it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ maxLength: 50 }), fc.integer({ min: 0, max: 5_000 }), (anything, text, times) => {
        expect(shortInput({ anything, text: text.repeat(times) }).length).toBeLessThanOrEqual(maxInputTotal + 1)
      }),
    )
    const long = logRecord(event('user_prompt', { content: { prompt: 'x'.repeat(100_000) } }), null, 0, letting(...kinds))
    expect(String(long.attributes['prompt']).length).toBe(maxContent + 1)
  })
})

test('a log line has the standard attributes, and what it was told cannot be mistaken for them', () => {
  const resource = { 'organization.id': 'acme', 'session.id': 'made up', tool_name: 'made up' }
  expect(logRecord(event('tool_decision'), 's-1', 1_700_000_000_000, { ...noRules, resource })).toEqual({
    name: 'tool_decision',
    at: 1_700_000_000_000,
    error: false,
    trace: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    attributes: {
      'organization.id': 'acme',
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
    noRules,
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
  expect(eventSpan(untraced, 's-1', 0, noRules)).toBeNull()
  expect(eventSpan(event('tool_decision'), 's-1', 0, noRules)).toBeNull()
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

describe('cost', () => {
  const request = event('api_request', {
    attributes: { model: 'claude-x-1', input_tokens: 1_000, output_tokens: 200, cache_read_tokens: 10_000, cache_creation_tokens: 400 },
  })
  const costs = (prices: Prices) => [
    logRecord(request, null, 0, { ...noRules, prices }).attributes['cost_usd'],
    measuresOf(request, { ...noRules, prices }).find(({ instrument }) => instrument === 'bulkhead.cost.usage')?.value,
  ]

  test('is not said while no price of the model is known', () => {
    expect(costs({})).toEqual([undefined, undefined])
    expect(costs({ 'claude-x': { input: 1, output: 1 }, 'gpt*': { input: 1, output: 1 }, '*-2': { input: 1, output: 1 } })).toEqual([
      undefined,
      undefined,
    ])
  })

  test('counts each kind of token; cached ones as input when they have no price of their own', () => {
    const full = (1_000 * 3 + 200 * 15 + 10_000 * 0.3 + 400 * 3.75) / 1e6
    expect(costs({ 'claude-x-1': { input: 3, output: 15, cacheRead: 0.3, cacheCreation: 3.75 } })).toEqual([full, full])
    expect(costs({ 'claude-x-1': { input: 3, output: 15 } })[0]).toBe((11_400 * 3 + 200 * 15) / 1e6)
  })

  test('an exact name beats a pattern, a longer pattern a shorter one', () => {
    const flat = (input: number) => ({ input, output: 0 })
    expect(costs({ 'claude-x-1': flat(1), 'claude-*': flat(2), '*': flat(3) })[0]).toBe(0.0114)
    expect(costs({ '*': flat(3), 'claude-*': flat(2) })[0]).toBe(0.0228)
    expect(costs({ '*': flat(3), 'claude-*-1': flat(1), 'claude-*': flat(2) })[0]).toBe(0.0114)
    expect(costs({ 'claude-x-1*x-1': flat(1) })[0]).toBeUndefined()
  })

  test('is of answered requests only', () => {
    expect(measuresOf({ ...request, name: 'api_error' }, { ...noRules, prices: { '*': { input: 1, output: 1 } } })).toHaveLength(1)
  })
})

test('addresses: one path a signal below the endpoint; shown without what could be a secret', () => {
  expect(signalUrl('https://c.example:4318', 'logs')).toBe('https://c.example:4318/v1/logs')
  expect(signalUrl('https://c.example/otlp/?key=1', 'traces')).toBe('https://c.example/otlp/v1/traces?key=1')
  expect(shownEndpoint('https://user:pass@c.example:4318/otlp?key=1')).toBe('https://c.example:4318/otlp')
})
