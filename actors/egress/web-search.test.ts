/** Searches by the model API's own tool, over HTTP on loopback, in the wire format of the Messages API. */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { asFault, type Fault } from '../../kernel/index.ts'
import { createPolicyHolder } from './access.ts'
import { createDecisionLog } from './decision-log.ts'
import type { PolicyInputs } from './egress-policy.ts'
import { limits } from './limits.ts'
import { inputsWith } from './testing/access.ts'
import { openUpstream, type Upstream } from './upstream.ts'
import { type SearchRequest, searchWeb } from './web-search.ts'

const closing: (() => unknown)[] = []
afterEach(() => Promise.all(closing.splice(0).map((close) => close())))

type Asked = { key: string | undefined; model: string; tools: Record<string, unknown>[]; messages: { role: string; content: unknown }[] }
type Said = { status?: number; body: object }

/** An API that says one after the other. */
async function api(...answers: (Said | ((asked: Asked) => Said | Promise<Said>))[]): Promise<{ upstream: Upstream; asked: Asked[] }> {
  const asked: Asked[] = []
  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Asked
    const one = { ...body, key: request.headers['x-api-key'] as string | undefined }
    asked.push(one)
    const next = answers.shift() ?? { status: 500, body: {} }
    const said = typeof next === 'function' ? await next(one) : next
    response.writeHead(said.status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(said.body))
  }
  const server = http.createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { upstream: await openUpstream({ baseUrl, readKey: () => 'sk-ant-made-up-key' }), asked }
}

const page = (url: string, title = `Title of ${url}`, page_age: string | null = null) => ({
  type: 'web_search_result',
  url,
  title,
  page_age,
  encrypted_content: 'enc',
})
const use = (query: string, id = 'srvtoolu_1') => ({ type: 'server_tool_use', id, name: 'web_search', input: { query } })
const found = (content: unknown, id = 'srvtoolu_1') => ({ type: 'web_search_tool_result', tool_use_id: id, content })
const failed = (error_code: string) => found({ type: 'web_search_tool_result_error', error_code })
const text = (said: string, ...urls: string[]) => ({
  type: 'text',
  text: said,
  ...(urls.length > 0 ? { citations: urls.map((url) => ({ type: 'web_search_result_location', url, cited_text: 'x' })) } : {}),
})
const says = (content: unknown[], stop_reason = 'end_turn'): Said => ({
  body: { type: 'message', role: 'assistant', content, stop_reason },
})
const policyOf = (inputs: Partial<PolicyInputs>) => {
  const holder = createPolicyHolder(() => Promise.reject(new Error('nobody is asked')), createDecisionLog())
  holder.apply(inputsWith(inputs))
  return holder
}

async function search(
  upstream: Upstream,
  hosts: readonly string[],
  inputs: Partial<PolicyInputs> = {},
  wish: Partial<SearchRequest> = {},
): Promise<Awaited<ReturnType<typeof searchWeb>>> {
  const access = await policyOf(inputs).access({ session: 's-1', hosts }, 'fetch')
  return searchWeb({ query: 'quinces', model: 'claude-x', ...wish }, upstream, access, new AbortController().signal)
}
const refusal = async (work: Promise<unknown>): Promise<Fault> => {
  const thrown = await work.then(
    () => null,
    (error: unknown) => error,
  )
  return asFault(thrown)
}

describe('a search', () => {
  test('is one request with the tool of the API, the key and the model; pages and what rests on them come back', async () => {
    const { upstream, asked } = await api(
      says([
        text('I will search.'),
        use('quinces'),
        found([page('https://a.example/1', 'One', '2 days ago'), page('https://b.example/2', 'Two')]),
        text('Quinces are yellow.', 'https://b.example/2'),
        text(' They are hard.'),
      ]),
    )
    expect(await search(upstream, ['?'])).toEqual({
      results: [
        { url: 'https://a.example/1', title: 'One', age: '2 days ago' },
        { url: 'https://b.example/2', title: 'Two', age: null },
      ],
      summary: 'I will search.Quinces are yellow.[2] They are hard.',
      searches: 1,
      withheld: 0,
    })
    expect(asked).toMatchObject([
      {
        key: 'sk-ant-made-up-key',
        model: 'claude-x',
        tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: limits.searchUses }],
        messages: [{ role: 'user', content: 'Search the web for: quinces' }],
      },
    ])
    expect(asked[0]?.tools[0]).not.toHaveProperty('allowed_domains')
    expect(asked[0]?.tools[0]).not.toHaveProperty('blocked_domains')
  })

  test('that the API pauses is gone on with, with what it said', async () => {
    const first = [use('quinces'), found([page('https://a.example/1')])]
    const { upstream, asked } = await api(
      says(first, 'pause_turn'),
      says([use('more', 'srvtoolu_2'), found([page('https://a.example/2'), page('https://a.example/1')], 'srvtoolu_2')]),
    )
    const { results, searches } = await search(upstream, ['?'])
    expect([results.map(({ url }) => url), searches]).toEqual([['https://a.example/1', 'https://a.example/2'], 2])
    expect(asked[1]?.messages).toEqual([
      { role: 'user', content: 'Search the web for: quinces' },
      { role: 'assistant', content: first },
    ])
  })

  test('that never stops pausing ends', async () => {
    const { upstream, asked } = await api(...Array.from({ length: 50 }, () => says([use('again')], 'pause_turn')))
    await search(upstream, ['?'])
    expect(asked).toHaveLength(limits.searchContinuations + 1)
  })

  test.each([
    ['unavailable', 'fetch-failed'],
    ['too_many_requests', 'fetch-failed'],
    ['max_uses_exceeded', 'fetch-failed'],
    ['query_too_long', 'bad-input'],
    ['invalid_tool_input', 'bad-input'],
  ])('that the API answers with %s is refused as %s, with the code', async (code, refused) => {
    const { upstream } = await api(says([use('quinces'), failed(code), text('Sorry.')]))
    expect(await refusal(search(upstream, ['?']))).toMatchObject({ code: refused, cause: code })
  })

  test('of which a later part fails has what the first part found', async () => {
    const { upstream } = await api(says([use('q'), found([page('https://a.example/1')]), use('r'), failed('max_uses_exceeded')]))
    expect(await search(upstream, ['?'])).toMatchObject({ results: [{ url: 'https://a.example/1' }], searches: 2 })
  })

  test.each([
    [429, 'model-unreachable'],
    [529, 'model-unreachable'],
    [400, 'model-refused'],
    [401, 'model-refused'],
  ])('whose request the API refuses with %i is refused as %s', async (status, code) => {
    const { upstream } = await api({ status, body: { type: 'error', error: { type: 'x', message: 'its words' } } })
    expect(await refusal(search(upstream, ['?']))).toMatchObject({ code, cause: `${status}: its words` })
  })

  test('whose answer is none is refused, and one that is too large is not kept', async () => {
    const { upstream } = await api({ body: { no: 'message' } }, { body: { content: 'x'.repeat(limits.searchBytes) } })
    expect(await refusal(search(upstream, ['?']))).toMatchObject({ code: 'model-refused' })
    expect(await refusal(search(upstream, ['?']))).toMatchObject({ code: 'too-large' })
  })

  test('that is given up ends at the API too', async () => {
    const gone = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const server = http.createServer((request) => {
      request.resume()
      request.socket.on('close', () => gone.resolve())
      begun.resolve()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    closing.push(() => server.close())
    const upstream = await openUpstream({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, readKey: () => null })
    const access = await policyOf({}).access({ session: 's-1', hosts: ['?'] }, 'fetch')
    const abort = new AbortController()
    const ended = refusal(searchWeb({ query: 'quinces', model: 'm' }, upstream, access, abort.signal))
    await begun.promise
    abort.abort()
    await gone.promise
    expect(await ended).toHaveProperty('code')
  })
})

describe('the egress rules', () => {
  const all = [page('https://a.example/1'), page('https://x.b.example/2'), page('http://c.example:8080/3'), page('javascript:alert(1)')]
  const answer = says([use('q'), found(all), text('From a.', 'https://a.example/1'), text('From b.', 'https://x.b.example/2')])
  const member = (mode: 'none' | 'packages' | 'list' | 'all', allow: string[] = [], deny: string[] = []) => ({
    member: { mode, allow, deny },
  })
  const managed = (hosts: string[]) => ({ managed: { hosts, decidedBy: 'the file', failedClosed: false } })
  const registry = { manager: 'npm' as const, pattern: 'registry.example', source: '~/.npmrc' }

  const rows: [what: string, hosts: string[], inputs: Partial<PolicyInputs>, domains: object, shown: string[]][] = [
    ['any host after a question', ['?'], {}, {}, ['https://a.example/1', 'https://x.b.example/2', 'http://c.example:8080/3']],
    [
      'denied by the member',
      ['?', '@member'],
      member('list', [], ['a.example']),
      { blocked_domains: ['a.example'] },
      ['https://x.b.example/2', 'http://c.example:8080/3'],
    ],
    [
      'a denied wildcard',
      ['*'],
      member('list', [], ['*.b.example']),
      { blocked_domains: ['b.example'] },
      ['https://a.example/1', 'http://c.example:8080/3'],
    ],
    [
      'denied for the session',
      ['?'],
      { sessions: { 's-1': { mode: null, deny: ['a.example'] } } },
      { blocked_domains: ['a.example'] },
      ['https://x.b.example/2', 'http://c.example:8080/3'],
    ],
    [
      'denied for another session',
      ['?'],
      { sessions: { 's-2': { mode: null, deny: ['a.example'] } } },
      {},
      ['https://a.example/1', 'https://x.b.example/2', 'http://c.example:8080/3'],
    ],
    [
      'no one to ask: listed hosts only',
      ['a.example', '@member'],
      member('list', ['*.b.example']),
      { allowed_domains: ['a.example', 'b.example'] },
      ['https://a.example/1', 'https://x.b.example/2'],
    ],
    ['a port that is not the one listed', ['c.example:443'], {}, { allowed_domains: ['c.example'] }, []],
    ["the organization's list", ['?'], managed(['a.example']), { allowed_domains: ['a.example'] }, ['https://a.example/1']],
    [
      "the organization's list and a narrower capability",
      ['*.b.example'],
      managed(['a.example', '*.b.example']),
      { allowed_domains: ['b.example'] },
      ['https://x.b.example/2'],
    ],
    ['mode packages', ['?', '@member'], { ...member('packages'), registries: [registry] }, { allowed_domains: ['registry.example'] }, []],
    ['mode all', ['@member'], member('all'), {}, ['https://a.example/1', 'https://x.b.example/2', 'http://c.example:8080/3']],
  ]
  test.each(rows)('%s', async (_what, hosts, inputs, domains, shown) => {
    const { upstream, asked } = await api(answer)
    const { results, withheld, summary } = await search(upstream, hosts, inputs)
    const { type: _type, name: _name, max_uses: _uses, ...sent } = asked[0]?.tools[0] ?? {}
    expect(sent).toEqual(domains)
    expect(results.map(({ url }) => url)).toEqual(shown)
    expect(withheld).toBe(all.length - shown.length)
    // What rests on a page that is kept back is kept back with it.
    expect(summary.includes('From a.')).toBe(shown.includes('https://a.example/1'))
    expect(summary.includes('From b.')).toBe(shown.includes('https://x.b.example/2'))
  })

  const refusedRows: [what: string, hosts: string[], inputs: Partial<PolicyInputs>, rule: string][] = [
    ['mode none', ['*', '?', '@member'], member('none'), 'mode none'],
    ['mode none of the session', ['*'], { sessions: { 's-1': { mode: 'none', deny: [] } } }, 'mode none (session s-1)'],
    ['a capability that reaches nothing', [], {}, 'hosts: none'],
    ['a list of the organization with nothing on it', ['*', '?'], managed([]), 'policy coworkEgressAllowedHosts (the file)'],
    ['mode packages without a registry', ['?'], member('packages'), 'hosts: none'],
    ['nothing but addresses', ['192.0.2.1', '[2001:db8::1]'], {}, 'hosts: none'],
  ]
  test.each(refusedRows)('refused, and nothing is asked: %s', async (_what, hosts, inputs, rule) => {
    const { upstream, asked } = await api(answer)
    expect(await refusal(search(upstream, hosts, inputs))).toMatchObject({ code: 'egress-denied', rule })
    expect(asked).toHaveLength(0)
  })

  test('what the caller asks for is asked for, and the rules have the last word', async () => {
    const { upstream, asked } = await api(answer, answer)
    const inputs = member('list', [], ['a.example'])
    const only = await search(upstream, ['?'], inputs, { only: ['a.example', 'c.example'] })
    expect(asked[0]?.tools[0]).toMatchObject({ allowed_domains: ['a.example', 'c.example'] })
    expect(only.results.map(({ url }) => url)).not.toContain('https://a.example/1')
    await search(upstream, ['?'], inputs, { without: ['b.example'] })
    expect(asked[1]?.tools[0]).toMatchObject({ blocked_domains: ['b.example', 'a.example'] })
  })

  test('that change while the API searches hold for what it found', async () => {
    const holder = policyOf({})
    const access = await holder.access({ session: 's-1', hosts: ['?'] }, 'fetch')
    const { upstream } = await api(
      () => {
        holder.apply(inputsWith(member('list', [], ['a.example'])))
        return answer
      },
      () => {
        holder.apply(inputsWith(member('none')))
        return answer
      },
    )
    const wanted = { query: 'quinces', model: 'm' }
    const { signal } = new AbortController()
    expect((await searchWeb(wanted, upstream, access, signal)).results.map(({ url }) => url)).not.toContain('https://a.example/1')
    expect(await refusal(searchWeb(wanted, upstream, access, signal))).toMatchObject({ code: 'egress-denied', rule: 'mode none' })
  })
})
