/** Searching the web as a member has it: by the model API's own tool, by a tool the settings name, with the practice model, and not at all. */
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkout, type Home, openHome } from '../harness/product.ts'
import { openScriptedHome, type ScriptedHome } from '../harness/scripted-home.ts'
import { cite, type ScriptedServer, say, searched, toolResults, use } from '../harness/scripted-messages-server.ts'

const quince = ['Quinces', 'https://fruit.example/quince'] as const
const other = ['Elsewhere', 'https://denied.example/x'] as const

describe('with the model API', () => {
  let home: Home
  let server: ScriptedServer
  let close: ScriptedHome['close']
  beforeAll(async () => {
    ;({ home, server, close } = await openScriptedHome({ BULKHEAD_VM: 'off' }))
  })
  afterAll(() => close())

  test('pages are shown to member and model, marked as untrusted, kept in the history and on record', async () => {
    const call = use('WebSearch', { query: 'quinces', blocked_domains: ['spam.example'] })
    const answers = [...searched('quinces', [quince, other]), cite('They are yellow.', quince), cite('Or blue.', other)]
    expect((await home.call(['egress', 'deny', 'denied.example'])).code).toBe(0)
    let told = ''
    server.script([
      [call],
      answers,
      (request) => {
        told = [...toolResults(request).values()].map(({ text }) => text).join()
        return [say('Yellow.')]
      },
    ])
    const run = await home.prompt('are quinces yellow?', ['--session', 'fruit', '--approve', 'none', '--model', 'claude-made-up-9'])
    expect(run, run.story).toMatchObject({
      code: 0,
      calls: [{ name: 'WebSearch', title: 'Search the web for quinces' }],
      results: [{ ok: true, output: told }],
      result: { status: 'done', text: 'Yellow.' },
    })
    expect(told.split('\n')).toEqual([
      'Searched the web for "quinces" (1 search): 1 page',
      '(1 result left out: the egress rules do not allow those hosts)',
      '--- untrusted content ---',
      '[1] Quinces',
      '    https://fruit.example/quince',
      '',
      'They are yellow.[1]',
    ])
    // The second request is egress's own.
    expect(server.requests[1]?.body).toMatchObject({
      model: 'claude-made-up-9',
      tools: [{ type: 'web_search_20250305', name: 'web_search', blocked_domains: ['spam.example', 'denied.example'] }],
    })
    expect(server.requests[1]?.headers['x-api-key']).toBe('sk-ant-made-up')

    server.script([[say('Still.')]])
    await home.prompt('sure?', ['--session', 'fruit', '--approve', 'none'])
    expect(JSON.stringify(server.requests.at(-1)?.body.messages)).toContain('https://fruit.example/quince')
    const { stdout } = await home.call(['audit', 'export'])
    const line = stdout.split('\n').find((text) => text.includes('web search'))
    expect(line).toMatch(/egress\.allowed/)
    expect(line).toMatch(/quinces/)
  })

  test('mode none of the session refuses it, and nothing is asked of the API', async () => {
    expect((await home.call(['egress', 'mode', 'none', '--session', 'quiet'])).code).toBe(0)
    server.script([[use('WebSearch', { query: 'quinces' })], [say('No.')]])
    const before = server.requests.length
    const run = await home.prompt('search', ['--session', 'quiet', '--approve', 'all'])
    expect(run.results, run.story).toMatchObject([{ ok: false, error: { code: 'egress-denied', rule: 'mode none (session quiet)' } }])
    expect(server.requests.slice(before).map(({ body }) => body.tools?.some(({ type }) => type?.startsWith('web_search')))).toEqual([
      false,
      false,
    ])
  })

  test('what the API does not find is told, with its own code', async () => {
    server.script([[use('WebSearch', { query: 'quinces' })], searched('quinces', 'too_many_requests'), [say('No.')]])
    const run = await home.prompt('search', ['--approve', 'none'])
    expect(run.results, run.story).toMatchObject([{ ok: false, error: { code: 'fetch-failed', cause: 'too_many_requests' } }])
  })
})

test('the practice model says that it cannot search, and how one can', async () => {
  const home = openHome({ env: { BULKHEAD_VM: 'off' } })
  try {
    const run = await home.prompt('search the web for quinces', ['--approve', 'none'])
    expect(run.calls, run.story).toMatchObject([{ name: 'WebSearch', input: { query: 'quinces' } }])
    expect(run.results).toMatchObject([
      { ok: false, error: { code: 'fetch-failed', cause: 'unavailable', remedy: expect.stringContaining('settings.json') } },
    ])
  } finally {
    await home.close()
  }
})

test('a tool that settings.json names searches instead, with approval; what it says is marked as untrusted', async () => {
  const home = openHome({ env: { BULKHEAD_VM: 'off' } })
  try {
    const everything = join(checkout, 'node_modules', '@modelcontextprotocol', 'server-everything', 'dist', 'index.js')
    mkdirSync(home.state, { mode: 0o700, recursive: true })
    writeFileSync(join(home.state, 'settings.json'), JSON.stringify({ webSearch: 'mcp__everything__echo' }))
    const added = await home.call(['mcp', 'add', 'everything', '--', 'node', everything, 'stdio'])
    expect(added.code, added.story).toBe(0)
    expect(JSON.parse(readFileSync(join(home.state, 'settings.json'), 'utf8'))).toMatchObject({ webSearch: 'mcp__everything__echo' })
    const run = await home.prompt('search the web for quinces', ['--approve', 'all'])
    expect(run.calls, run.story).toMatchObject([
      { name: 'WebSearch', title: expect.stringMatching(/^Search the web for quinces \(.* of everything\)$/) },
    ])
    expect(run.results).toMatchObject([
      { ok: true, output: expect.stringMatching(/^Searched the web[^]*--- untrusted content ---\n[^]*quinces/) },
    ])
    const refused = await home.prompt('search the web for quinces', ['--approve', 'none'])
    expect(refused.results, refused.story).toMatchObject([{ ok: false, error: { code: 'denied' } }])
  } finally {
    await home.close()
  }
})
