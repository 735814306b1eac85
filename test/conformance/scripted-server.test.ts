/** The scripted Messages server of the tests speaks the real wire format: the real SDK understands it. */
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  cite,
  credentialOf,
  type ScriptedServer,
  say,
  searched,
  startScriptedServer,
  toolResults,
  use,
} from '../harness/scripted-messages-server.ts'

let server: ScriptedServer
let sdk: Anthropic
beforeAll(async () => {
  server = await startScriptedServer()
  sdk = new Anthropic({ apiKey: 'sk-ant-made-up', baseURL: server.baseUrl, maxRetries: 0 })
})
afterAll(() => server.close())

const question = { model: 'any', max_tokens: 100, messages: [{ role: 'user' as const, content: 'hello' }] }

test('a streamed turn of text and several tool calls arrives whole', async () => {
  const input = { command: 'printf "%s\\n" "ä € 😀"', nested: { list: [1, 2, { three: null }] } }
  server.script([[say('Two calls, with ä € 😀 in between.'), use('Bash', input, 'toolu_a'), use('Read', { file_path: 'x' }, 'toolu_b')]])
  const message = await sdk.messages.stream(question).finalMessage()
  expect(message.stop_reason).toBe('tool_use')
  expect(message.content).toMatchObject([
    { type: 'text', text: 'Two calls, with ä € 😀 in between.' },
    { type: 'tool_use', id: 'toolu_a', name: 'Bash', input },
    { type: 'tool_use', id: 'toolu_b', name: 'Read', input: { file_path: 'x' } },
  ])
  expect(credentialOf(server.requests.at(-1))).toBe('sk-ant-made-up')
})

test('a turn can depend on the tool results it is sent', async () => {
  server.script([(request) => [say(`got ${toolResults(request).get('toolu_a')?.text}`)]])
  const content = [
    { type: 'tool_result' as const, tool_use_id: 'toolu_a', is_error: true, content: [{ type: 'text' as const, text: 'no' }] },
  ]
  const message = await sdk.messages.create({ ...question, messages: [{ role: 'user', content }] })
  expect(message.content).toMatchObject([{ type: 'text', text: 'got no' }])
})

test('a scripted failure is the API error it names', async () => {
  server.script([{ status: 529, error: 'overloaded_error', message: 'Overloaded' }])
  await expect(sdk.messages.create(question)).rejects.toMatchObject({ status: 529 })
})

test("a search of the API's own tool arrives whole, streamed or not", async () => {
  const page = ['Quinces', 'https://fruit.example/quince'] as const
  const blocks = [...searched('quinces', [page]), cite('They are yellow.', page), ...searched('more', 'max_uses_exceeded')]
  server.script([blocks, blocks])
  const streamed = await sdk.messages.stream(question).finalMessage()
  const whole = await sdk.messages.create(question)
  expect(streamed.content).toEqual(whole.content)
  expect(whole.stop_reason).toBe('end_turn')
  expect(whole.content).toMatchObject([
    { type: 'server_tool_use', name: 'web_search', input: { query: 'quinces' } },
    { type: 'web_search_tool_result', content: [{ type: 'web_search_result', url: page[1], title: page[0] }] },
    { type: 'text', text: 'They are yellow.', citations: [{ type: 'web_search_result_location', url: page[1] }] },
    { type: 'server_tool_use', input: { query: 'more' } },
    { type: 'web_search_tool_result', content: { type: 'web_search_tool_result_error', error_code: 'max_uses_exceeded' } },
  ])
})
