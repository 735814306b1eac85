/** Tests only: a practice model, the real SDK in front of it, an empty folder, and the loop that carries out its tool calls. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { startPracticeModel } from '../server.ts'
import { type FakeTools, fakeTools, type ToolAnswer } from './fake-tools.ts'

export const tools = ['Read', 'Write', 'Edit', 'Glob', 'Grep', 'Bash', 'WebFetch'].map((name) => ({
  name,
  description: name,
  input_schema: { type: 'object' as const },
}))

type Ran = { text: string; calls: { name: string; input: Record<string, unknown> }[]; messages: Anthropic.MessageParam[] }

/** `session`'s fields are there once the hooks ran. */
export function practiceSession() {
  const session = {} as { practice: Awaited<ReturnType<typeof startPracticeModel>>; client: Anthropic; root: string }
  beforeAll(async () => {
    session.practice = await startPracticeModel()
    session.client = new Anthropic({ baseURL: session.practice.baseUrl, apiKey: session.practice.key, maxRetries: 0 })
  })
  afterAll(() => session.practice.close())
  beforeEach(() => {
    session.root = fs.mkdtempSync(path.join(os.tmpdir(), 'practice-'))
  })
  afterEach(() => fs.rmSync(session.root, { recursive: true }))

  async function converse(prompt: string, fake: FakeTools, before: Anthropic.MessageParam[] = [], only = tools): Promise<Ran> {
    const messages: Anthropic.MessageParam[] = [...before, { role: 'user', content: prompt }]
    const calls: Ran['calls'] = []
    for (let round = 0; round < 20; round += 1) {
      const answer = await session.client.messages
        .stream({ model: 'any', max_tokens: 32_000, system: [{ type: 'text', text: fake.system }], tools: only, messages })
        .finalMessage()
      messages.push({ role: 'assistant', content: answer.content })
      const uses = answer.content.filter((block) => block.type === 'tool_use')
      expect(answer.stop_reason).toBe(uses.length > 0 ? 'tool_use' : 'end_turn')
      if (uses.length === 0)
        return { text: answer.content.map((block) => (block.type === 'text' ? block.text : '')).join(''), calls, messages }
      messages.push({
        role: 'user',
        content: uses.map(({ id, name, input }) => {
          calls.push({ name, input: input as Record<string, unknown> })
          const { text, isError } = fake.run(name, input as Record<string, unknown>)
          return { type: 'tool_result', tool_use_id: id, content: text, is_error: isError }
        }),
      })
    }
    throw new Error('it does not come to an end')
  }

  return {
    session,
    converse,
    put(name: string, content: string | Buffer) {
      fs.mkdirSync(path.dirname(path.join(session.root, name)), { recursive: true })
      fs.writeFileSync(path.join(session.root, name), content)
    },
    get: (name: string) => fs.readFileSync(path.join(session.root, name), 'utf8'),
    folder: (mode: 'rw' | 'ro' = 'rw', override?: (name: string, input: Record<string, unknown>) => ToolAnswer | undefined) =>
      fakeTools([{ name: 'sales', root: session.root, mode }], override),
  }
}

/** Rows of the first table of a report: first cell -> the others. */
export function rowsOf(markdown: string): Record<string, string[]> {
  const lines = markdown.split('\n').filter((line) => line.startsWith('| '))
  const rows = lines.slice(1).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('*', '')),
  )
  return Object.fromEntries(rows.map(([key = '', ...values]) => [key, values]))
}

export const sales =
  'date,region,product,amount\n2026-01-02,North,Tea,10.50\n2026-01-03,South,Tea,20\n2026-02-01,North,Coffee,5.25\n2026-02-02,East,Tea,1\n'
