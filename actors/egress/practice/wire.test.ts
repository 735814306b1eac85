/** The wire format, as the real SDK reads it. */
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { practiceSession, sales, tools } from './testing/session.ts'

const { session, put, folder } = practiceSession()

describe('wire format', () => {
  test('not streamed', async () => {
    const answer = await session.client.messages.create({ model: 'm', max_tokens: 1000, messages: [{ role: 'user', content: 'help' }] })
    expect(answer).toMatchObject({
      type: 'message',
      role: 'assistant',
      model: 'bulkhead-practice',
      stop_reason: 'end_turn',
      stop_sequence: null,
      content: [{ type: 'text' }],
    })
    expect(answer.usage.input_tokens).toBeGreaterThan(0)
    const { _request_id: requestId } = answer
    expect(requestId).toMatch(/^req_/)
  })

  test('streamed: events in the order and shape of the API, and the same message in the end', async () => {
    const events: Anthropic.MessageStreamEvent[] = []
    put('ünï "x".csv', sales)
    const request = {
      model: 'm',
      max_tokens: 1000,
      system: folder().system,
      tools,
      messages: [{ role: 'user' as const, content: 'replace "ä\n😀" with "\\"ö" in ünï.md' }],
    }
    const stream = session.client.messages.stream(request)
    stream.on('streamEvent', (event) => events.push(structuredClone(event)))
    const whole = await stream.finalMessage()
    expect(events.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1])).toEqual([
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(events[0]).toMatchObject({ message: { content: [], stop_reason: null } })
    const plain = await session.client.messages.create(request)
    expect(whole.content).toEqual(plain.content)
    expect(whole.stop_reason).toBe('tool_use')
  })

  test("errors have the API's shape", async () => {
    const bad = new Anthropic({ baseURL: session.practice.baseUrl, apiKey: 'wrong', maxRetries: 0 })
    await expect(bad.messages.create({ model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] })).rejects.toMatchObject({
      status: 401,
      error: { error: { type: 'authentication_error' } },
    })
    await expect(session.client.messages.create({ model: 'm', max_tokens: 1, messages: [] })).rejects.toMatchObject({
      status: 400,
      error: { error: { type: 'invalid_request_error' } },
    })
    const orphan: Anthropic.MessageParam[] = [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'Read', input: {} }] },
      { role: 'user', content: 'y' },
    ]
    await expect(session.client.messages.create({ model: 'm', max_tokens: 1, messages: orphan })).rejects.toThrow(
      /tool_use.*without.*tool_result/,
    )
    await expect(session.client.get('/v1/nothing')).rejects.toMatchObject({ status: 404 })
  })

  test('models and token counts', async () => {
    const [model] = (await session.client.models.list()).data
    expect(model?.id).toBe('bulkhead-practice')
    expect(
      (await session.client.messages.countTokens({ model: 'm', messages: [{ role: 'user', content: 'hello there' }] })).input_tokens,
    ).toBeGreaterThan(0)
  })

  test('max_tokens cuts the text and says so', async () => {
    const answer = await session.client.messages.create({ model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'help' }] })
    expect(answer.stop_reason).toBe('max_tokens')
  })
})

describe('web search', () => {
  const search = { type: 'web_search_20250305' as const, name: 'web_search' as const, max_uses: 2 }
  const request = { model: 'm', max_tokens: 500, messages: [{ role: 'user' as const, content: 'Search the web for: quinces' }] }

  test('is asked and answered in the shape of the API; this model has no web, and says so', async () => {
    const whole = await session.client.messages.create({ ...request, tools: [search] })
    expect(whole).toMatchObject({
      stop_reason: 'end_turn',
      content: [
        { type: 'server_tool_use', name: 'web_search', input: { query: 'quinces' } },
        { type: 'web_search_tool_result', content: { type: 'web_search_tool_result_error', error_code: 'unavailable' } },
        { type: 'text' },
      ],
    })
    const [use, found] = whole.content
    expect(use?.type === 'server_tool_use' && found?.type === 'web_search_tool_result' && found.tool_use_id === use.id).toBe(true)
    const streamed = await session.client.messages.stream({ ...request, tools: [search] }).finalMessage()
    expect(streamed.content).toEqual(whole.content)
  })

  test.each([
    ['both lists of domains', { allowed_domains: ['a.example'], blocked_domains: ['b.example'] }],
    ['no uses', { max_uses: 0 }],
  ])('%s: refused as by the API', async (_what, wrong) => {
    await expect(session.client.messages.create({ ...request, tools: [{ ...search, ...wrong }] })).rejects.toMatchObject({
      status: 400,
      error: { error: { type: 'invalid_request_error' } },
    })
  })
})
