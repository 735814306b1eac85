/** Tools of tool servers in a turn: offered, asked for, called on the capability the approval brought. */
import { afterEach, expect, test } from 'vitest'
import { fault } from '../../kernel/index.ts'
import { type Harness, type ModelBody, resultsIn, startConversation } from '../../test/harness/conversation.ts'
import { say, use } from '../../test/harness/scripted-model.ts'

let running: Harness | null = null
afterEach(() => running?.stop())

const add = {
  name: 'mcp__sums__add',
  server: 'sums',
  title: 'Add',
  description: 'Adds.',
  inputSchema: { properties: { a: { type: 'number' } } },
}
const listed = { tools: [add], notes: ['files is not running.'] }
const answer = { content: [{ type: 'text', text: '3' }], isError: false, truncated: false }
const lastResult = (bodies: ModelBody[]) => resultsIn(bodies.at(-1) as ModelBody)['c1']

test('the model is offered them, the member is asked with the whole input, progress and result arrive', async () => {
  const bodies: ModelBody[] = []
  running = await startConversation({
    model: (body, n) => {
      bodies.push(body)
      return n === 0 ? use(['c1', 'mcp__sums__add', { a: 1, b: 2 }]) : say('it is 3')
    },
    mcp: (kind, body, from) => {
      if (kind === 'tools') return listed
      expect([from.badge.limits.tools, body]).toEqual([['mcp__sums__add'], { tool: 'mcp__sums__add', input: { a: 1, b: 2 } }])
      from.part({ type: 'progress', text: 'half\n' })
      return answer
    },
  })
  const { events, reply } = await running.prompt('add')
  expect(reply).toMatchObject({ status: 'done', text: 'it is 3', toolCalls: 1 })
  expect((bodies[0] as ModelBody & { tools: object[] }).tools.at(-1)).toEqual({
    name: 'mcp__sums__add',
    description: 'Adds.',
    input_schema: { type: 'object', properties: { a: { type: 'number' } } },
  })
  expect(bodies[0]?.system[0]?.text).toContain('Tool servers: files is not running.')
  expect(running.heard.find(({ kind }) => kind === 'ask')?.body).toEqual({
    tool: 'mcp__sums__add',
    title: 'Call Add of sums',
    detail: '{\n  "a": 1,\n  "b": 2\n}',
    target: { kind: 'mcp', tool: 'mcp__sums__add', input: { a: 1, b: 2 } },
  })
  expect(events).toContainEqual({ type: 'tool_output', id: 'c1', stream: 'stdout', text: 'half\n' })
  expect(lastResult(bodies)).toEqual({ text: '3', error: false })
})

test('a refusal in the middle of a session reaches the model with code and rule', async () => {
  const bodies: ModelBody[] = []
  let off = false
  running = await startConversation({
    model: (body, n) => {
      bodies.push(body)
      return n % 2 === 0 ? use(['c1', 'mcp__sums__add', {}]) : say('done')
    },
    consent: () => 'session',
    mcp: (kind) => {
      if (kind === 'tools') return listed
      if (off) throw fault('disabled-by-policy', 'sums is switched off.', { rule: 'isLocalDevMcpEnabled = false (managed)' })
      return answer
    },
  })
  await running.prompt('add')
  expect(lastResult(bodies)).toEqual({ text: '3', error: false })
  off = true
  await running.prompt('add again')
  expect(lastResult(bodies)).toMatchObject({
    error: true,
    text: expect.stringMatching(/disabled-by-policy[\s\S]*Rule: isLocalDevMcpEnabled = false \(managed\)/),
  })
  // The approval was for the session: the member was asked once.
  expect(running.heard.filter(({ kind }) => kind === 'ask')).toHaveLength(1)
})

test('a tool nobody offers now, and a tool that says it failed', async () => {
  const bodies: ModelBody[] = []
  running = await startConversation({
    model: (body, n) => {
      bodies.push(body)
      return n === 0 ? use(['c1', 'mcp__sums__gone', {}]) : n === 1 ? use(['c1', 'mcp__sums__add', {}]) : say('done')
    },
    mcp: (kind) => (kind === 'tools' ? listed : { ...answer, isError: true }),
  })
  const { events } = await running.prompt('try')
  expect(events).toContainEqual(
    expect.objectContaining({
      type: 'tool_result',
      name: 'mcp__sums__gone',
      ok: false,
      error: expect.objectContaining({ code: 'unknown-tool' }),
    }),
  )
  expect(lastResult(bodies)).toEqual({ text: '3', error: true })
})
