/** What telemetry hears of a turn, through a real kernel and a scripted telemetry actor. */
import { afterEach, describe, expect, test } from 'vitest'
import type { BodyOf } from '../../kernel/index.ts'
import { fault } from '../../kernel/index.ts'
import { type Harness, type Peers, startConversation } from '../../test/harness/conversation.ts'
import { say, use } from '../../test/harness/scripted-model.ts'
import type { protocol as telemetry } from '../telemetry/protocol.ts'

let running: Harness | null = null
afterEach(async () => {
  await running?.stop()
  running = null
})
async function start(peers: Peers): Promise<Harness> {
  running = await startConversation(peers, { telemetry: true })
  return running
}
const told = (): BodyOf<typeof telemetry, 'event'>[] =>
  (running?.heard ?? []).filter(({ kind }) => kind === 'event').map(({ body }) => body as BodyOf<typeof telemetry, 'event'>)
const brief = () =>
  told().map(({ name, attributes: { decision, source, success, error } }) =>
    [name, decision ?? success, source ?? error].filter((part) => part !== undefined).join(' '),
  )
const audited = () =>
  (running?.heard ?? []).filter(({ kind }) => kind === 'audit').map(({ body }) => (body as { data: { tool: string } }).data.tool)
const ran = { exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 5, cwd: '/sessions/s-1', outputFile: null }
const exec = { model: (_: unknown, n: number) => (n === 0 ? use(['c1', 'Bash', { command: 'ls' }]) : say('done')), exec: () => ran }

describe('decisions', () => {
  test('of the member', async () => {
    const { prompt } = await start({ ...exec, consent: () => 'once' })
    await prompt('run ls')
    expect(brief()).toEqual([
      'user_prompt',
      'api_request',
      'tool_decision accept config',
      'tool_result true',
      'api_request',
      'assistant_response',
    ])
  })

  test('a refusal, by whom', async () => {
    const denied = (rule: string) => () => {
      throw fault('denied', 'no', { rule })
    }
    const first = await start({ ...exec, consent: denied('answer of member (terminal)') })
    await first.prompt('run ls')
    expect(brief()).toContain('tool_decision reject user_reject')
    expect(brief()).toContain('tool_result false denied')
    await first.stop()
    const second = await start({ ...exec, consent: denied('approve mode none') })
    await second.prompt('run ls')
    expect(brief()).toContain('tool_decision reject config')
  })

  test('interrupted while it was asked, and while it ran', async () => {
    const stop = new AbortController()
    const asked = await start({ ...exec, consent: () => new Promise(() => stop.abort()) })
    await asked.prompt('run ls', { signal: stop.signal }).catch(() => {})
    await expect.poll(brief).toContain('tool_decision reject user_abort')
  })
})

test('one prompt id, numbers that rise, also after a restart', async () => {
  const { prompt, restart } = await start({ model: () => say('hello') })
  await prompt('one')
  await restart()
  await prompt('two')
  const [first, second] = ['one', 'two'].map((_, index) =>
    told().filter(({ prompt: id }) => id === [...new Set(told().map((event) => event.prompt))][index]),
  )
  expect([first?.length, second?.length]).toEqual([3, 3])
  const numbers = told().map(({ sequence }) => sequence)
  expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
  expect(told()[0]?.content).toEqual({ prompt: 'one' })
  expect(told()[0]?.folders).toEqual(['/home/ada/sales'])
})

test('a change that cannot be recorded does not happen; a read does', async () => {
  const ranAt: string[] = []
  const { prompt } = await start({
    model: (_, n) =>
      [use(['c1', 'Bash', { command: 'ls' }]), use(['c2', 'Read', { file_path: 'sales/q.csv' }]), say('done')][n] ?? say('done'),
    exec: () => {
      ranAt.push('exec')
      return ran
    },
    gate: () => {
      ranAt.push('read')
      return { text: 'x', sha256: 'a'.repeat(64), lines: 1, truncated: false, size: 1 }
    },
    audit: () => {
      throw fault('audit-failed', 'The audit log cannot be written.')
    },
  })
  await prompt('go')
  expect(audited()).toEqual(['Bash', 'Read'])
  expect(ranAt).toEqual(['read'])
  expect(brief()).toContain('tool_result false audit-failed')
})

test('bodies of model requests are told of once policy wants them, in the middle of a turn too, and no longer when it does not', async () => {
  const restrict = (rawApiBodies: boolean) => running?.restrict({ blocked: {}, rawApiBodies })
  const bodies = () =>
    told().flatMap(({ name, attributes, content }) =>
      name.endsWith('_body') ? [{ name, attributes, body: JSON.parse(content?.body ?? '') }] : [],
    )
  const { prompt } = await start({
    model: (_: unknown, n: number) => (n === 0 ? use(['c1', 'Bash', { command: 'ls' }]) : say('done')),
    exec: async () => {
      await restrict(true)
      return ran
    },
  })
  await prompt('run ls')
  const [request, response, ...none] = bodies()
  expect(none).toEqual([])
  expect(request).toMatchObject({
    name: 'api_request_body',
    body: { messages: [{ role: 'user' }, { role: 'assistant' }, { role: 'user' }] },
  })
  expect(response).toMatchObject({
    name: 'api_response_body',
    body: { content: [{ type: 'text', text: 'done' }], stop_reason: 'end_turn' },
  })
  expect(response?.attributes).toMatchObject({ body_truncated: false, body_length: JSON.stringify(response?.body).length })
  await restrict(false)
  await prompt('again')
  expect(bodies()).toHaveLength(2)
})
