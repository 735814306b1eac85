/** Fetching, against a server on loopback that stands for `example.test`; only these tests hand in another resolver and guard. */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import zlib from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Access, createPolicyHolder } from './access.ts'
import { classify } from './addresses.ts'
import { createDecisionLog } from './decision-log.ts'
import { realWeb, type Web } from './dial.ts'
import { explainFetch, type FetchReply, type FetchRequest, fetchPage, type Reader } from './fetch-page.ts'
import { createPageCache } from './page-cache.ts'
import { accessTo, inputsWith } from './testing/access.ts'
import { standInReader } from './testing/stand-in-reader.ts'

let server: http.Server
let port: number
let base: string
const seen: { host: string | undefined; path: string; headers: http.IncomingHttpHeaders }[] = []
const lookups: string[] = []

const loopbackIsFine: Web = {
  resolve: async (host) => {
    lookups.push(host)
    if (host === 'private.test') return [{ address: '10.1.2.3', family: 4 }]
    if (host === 'mixed.test')
      return [
        { address: '10.1.2.3', family: 4 },
        { address: '127.0.0.1', family: 4 },
      ]
    if (host === 'nowhere.test') throw Object.assign(new Error('getaddrinfo ENOTFOUND nowhere.test'), { code: 'ENOTFOUND' })
    return [{ address: '127.0.0.1', family: 4 }]
  },
  addressPolicy: () => (address) => (address === '127.0.0.1' ? 'public' : classify(address)),
}

beforeAll(async () => {
  server = http.createServer((request, response) => {
    seen.push({ host: request.headers.host, path: request.url ?? '', headers: request.headers })
    const redirect = (status: number, location: string) => response.writeHead(status, { location }).end('moved')
    const path = new URL(request.url ?? '/', 'http://x').pathname
    if (path === '/page') return response.setHeader('content-type', 'text/html').end('<title>T</title><h1>Hello</h1>')
    if (path === '/gzip')
      return response.setHeader('content-type', 'text/plain').setHeader('content-encoding', 'gzip').end(zlib.gzipSync('packed text'))
    if (path === '/bomb')
      return response
        .setHeader('content-type', 'text/plain')
        .setHeader('content-encoding', 'gzip')
        .end(zlib.gzipSync(Buffer.alloc(50_000_000, 65)))
    if (path === '/odd') return response.setHeader('content-encoding', 'compress').end('x')
    if (path === '/binary') return response.setHeader('content-type', 'image/png').end('\x89PNG')
    if (path === '/pdf') return response.setHeader('content-type', 'text/plain').end(`%PDF-1.7${'x'.repeat(3_000_000)}`)
    if (path === '/large-pdf') return response.end(`%PDF-1.7${'x'.repeat(13_000_000)}`)
    if (path === '/missing') return response.writeHead(404, { 'content-type': 'text/plain' }).end('no such page')
    if (path === '/same') return redirect(302, '/page')
    if (path === '/loop') return redirect(307, '/loop')
    const to = new URL(request.url ?? '/', 'http://x').searchParams
    if (path === '/redirect') return redirect(Number(to.get('status')), to.get('to') ?? '')
    if (path === '/other') return redirect(301, 'https://other.test/target?q=1')
    if (path === '/metadata') return redirect(302, 'http://169.254.169.254/latest/')
    if (path === '/userinfo') return redirect(302, `http://user@example.test:${port}/page`)
    if (path === '/scheme') return redirect(302, 'file:///etc/passwd')
    if (path === '/port') return redirect(302, `http://example.test:${port + 1}/`)
    if (path === '/broken') {
      response.writeHead(200, { 'content-type': 'text/plain', 'content-length': '100' })
      return response.write('half', () => response.destroy())
    }
    if (path === '/unkept') return response.setHeader('cache-control', 'max-age=60, no-store').end('x')
    if (path === '/hang') return undefined
    return response.end('plain')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
  base = `http://example.test:${port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  seen.length = 0
  lookups.length = 0
})

const hosts = ['example.test', '*.example.test', 'private.test', 'mixed.test', 'nowhere.test', '127.0.0.1']
const run = async (
  url: string,
  more: {
    hosts?: string[]
    maxBytes?: number
    whole?: boolean
    pages?: FetchRequest['pages']
    web?: Web
    access?: Access
    signal?: AbortSignal
  } = {},
) =>
  fetchPage(
    { url, maxBytes: more.maxBytes, whole: more.whole, pages: more.pages },
    more.web ?? loopbackIsFine,
    more.access ?? (await accessTo(more.hosts ?? hosts)),
    standInReader,
    more.signal ?? new AbortController().signal,
  )

test('HTML as the reader reads it', async () => {
  expect(await run(`${base}/page`)).toEqual({
    status: 200,
    url: `${base}/page`,
    contentType: 'text/html',
    title: 'T',
    text: 'Hello',
    part: 'article',
    truncated: false,
    untrusted: true,
    cached: false,
  })
  expect(seen[0]?.host).toBe(`example.test:${port}`)
  expect(lookups).toEqual(['example.test'])
})

test('all of a page, if that is asked for', async () => {
  expect(await run(`${base}/page`, { whole: true })).toMatchObject({ part: 'whole' })
})

test('a PDF file goes to the reader whole, whatever it is called, with the pages asked for; one that is too large does not', async () => {
  expect(await run(`${base}/pdf`, { maxBytes: 10 })).toMatchObject({
    contentType: 'application/pdf',
    text: '3000008 bytes',
    pages: { first: 1, last: 3, of: 3 },
    truncated: false,
  })
  expect(await run(`${base}/pdf`, { pages: { first: 2, last: 2 } })).toMatchObject({ pages: { first: 2, last: 2, of: 3 } })
  await expect(run(`${base}/large-pdf`)).rejects.toMatchObject({ code: 'unsupported-content', rule: 'pdf-size' })
})

test('the time a host has is not the reader’s, which is ended by its own: else one that hangs would never be', async () => {
  const hostsTime = new AbortController()
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(hostsTime.signal)
  try {
    const slow: Reader = {
      ...standInReader,
      async page(body, signal) {
        hostsTime.abort(new DOMException('late', 'TimeoutError'))
        signal.throwIfAborted()
        return standInReader.page(body, signal)
      },
    }
    const page = await fetchPage({ url: `${base}/page` }, loopbackIsFine, await accessTo(hosts), slow, new AbortController().signal)
    expect(page.text).toBe('Hello')
  } finally {
    timeout.mockRestore()
  }
})

test('an answer that is not 200 is an answer', async () => {
  expect(await run(`${base}/missing`)).toMatchObject({ status: 404, text: 'no such page' })
})

test('compressed bodies are decoded, and capped after decoding', async () => {
  expect(await run(`${base}/gzip`)).toMatchObject({ text: 'packed text', truncated: false })
  const bomb = await run(`${base}/bomb`, { maxBytes: 10_000 })
  expect(bomb.truncated).toBe(true)
  expect(bomb.text).toHaveLength(10_000)
})

test('a redirect on the same host is followed, with a new resolution', async () => {
  expect(await run(`${base}/same`)).toMatchObject({ url: `${base}/page`, text: 'Hello' })
  expect(lookups).toHaveLength(2)
})

test.each([
  ['/other', 'cross-host-redirect', 'redirect-same-host'],
  ['/metadata', 'cross-host-redirect', 'redirect-same-host'],
  ['/userinfo', 'bad-url', 'url-credentials'],
  ['/scheme', 'bad-url', 'scheme'],
  ['/loop', 'fetch-failed', 'redirect-limit'],
  ['/binary', 'unsupported-content', 'content-type'],
])('%s is refused: %s by %s', async (path, code, rule) => {
  await expect(run(base + path)).rejects.toMatchObject({ code, rule })
})

describe.each([301, 302, 303, 307, 308])('a redirect with %i is a new decision', (status) => {
  const redirected = (to: string, more = {}) => run(`${base}/redirect?status=${status}&to=${encodeURIComponent(to)}`, more)
  test.each([
    ['to another host', () => 'http://other.test/', 'cross-host-redirect'],
    ['to a private address', () => 'http://10.0.0.1/', 'cross-host-redirect'],
    ['to a name that leads inside', () => `http://private.test:${port}/`, 'cross-host-redirect'],
    ['without a scheme of its own', () => '//other.test/', 'cross-host-redirect'],
    ['to another port, which is not listed', () => `http://example.test:${port + 1}/`, 'egress-denied'],
    ['with a user', () => `http://user@example.test:${port}/`, 'bad-url'],
    ['to nowhere', () => 'http://', 'fetch-failed'],
  ])('%s', async (_what, to, code) => {
    await expect(redirected(to(), { hosts: [`example.test:${port}`] })).rejects.toMatchObject({ code })
    expect(seen).toHaveLength(1)
    expect(lookups).toEqual(['example.test'])
  })
  test('followed on the same host, with nothing of the page it comes from', async () => {
    expect(await redirected('/page')).toMatchObject({ text: 'Hello' })
    for (const name of ['referer', 'cookie', 'authorization']) expect(seen[1]?.headers).not.toHaveProperty(name)
  })
})

test('it says what it is, and does not pass for a browser', async () => {
  await run(`${base}/page`)
  expect(seen[0]?.headers['user-agent']).toMatch(/^Bulkhead\/[\d.]+ \(web fetch\)$/)
})

test('a name is resolved once for a connection, and judged anew for the next, a redirect on the same host included', async () => {
  const answers: string[] = []
  const rebinding: Web = {
    ...loopbackIsFine,
    resolve: async () => {
      answers.push(answers.length === 0 ? '127.0.0.1' : '10.1.2.3')
      return [{ address: answers.at(-1) as string, family: 4 }]
    },
  }
  expect(await run(`${base}/page`, { web: rebinding })).toMatchObject({ text: 'Hello' })
  expect(answers).toEqual(['127.0.0.1'])
  await expect(run(`${base}/page`, { web: rebinding })).rejects.toMatchObject({ code: 'private-address' })
  answers.length = 0
  await expect(run(`${base}/same`, { web: rebinding })).rejects.toMatchObject({ code: 'private-address' })
  expect(seen.map(({ path }) => path)).toEqual(['/page', '/same'])
})

test('of several vetted addresses the next is tried where one does not answer, and no other', async () => {
  const several = (...addresses: string[]): Web => ({
    resolve: async () => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    addressPolicy: () => (address) => (address === '127.0.0.1' || address === '::1' ? 'public' : 'private'),
  })
  // Nothing of this server listens on the first.
  expect(await run(`${base}/page`, { web: several('::1', '127.0.0.1') })).toMatchObject({ text: 'Hello' })
  expect(await run(`${base}/page`, { web: several('fd00::1', '10.0.0.1', '127.0.0.1') })).toMatchObject({ text: 'Hello' })
  await expect(run(`${base}/page`, { web: several('fd00::1') })).rejects.toMatchObject({ code: 'private-address' })
  await expect(run(`${base}/page`, { web: several('::1', '10.0.0.1') })).rejects.toMatchObject({ code: 'fetch-failed' })
})

test('a cross-host redirect names the address', async () => {
  await expect(run(`${base}/other`)).rejects.toMatchObject({ cause: 'https://other.test/target?q=1' })
})

test('a redirect to a port the pattern does not cover is a new decision', async () => {
  await expect(run(`${base}/port`, { hosts: [`example.test:${port}`] })).rejects.toMatchObject({ code: 'egress-denied' })
})

test.each(['/broken', '/odd'])('%s: the connection breaks off', async (path) => {
  await expect(run(base + path)).rejects.toMatchObject({ code: 'fetch-failed' })
})

test('denied addresses of a mixed answer are not dialled', async () => {
  expect(await run(`http://mixed.test:${port}/`)).toMatchObject({ text: 'plain' })
  await expect(run(`http://private.test:${port}/`)).rejects.toMatchObject({ code: 'private-address', rule: 'address: private' })
})

test('not on the list: nothing is looked up, nothing is dialled', async () => {
  await expect(run(`http://evil.test:${port}/`)).rejects.toMatchObject({ code: 'egress-denied' })
  await expect(run(`${base}/`, { hosts: [] })).rejects.toMatchObject({ code: 'egress-denied', rule: 'hosts: none' })
  expect(lookups).toEqual([])
  expect(seen).toEqual([])
})

test.each([
  'http://127.0.0.1',
  'http://localhost',
  'http://2130706433',
  'http://0x7f.1',
  'http://[::1]',
  'http://[::ffff:7f00:1]',
  'http://169.254.169.254',
  'http://0.0.0.0',
])('in production %s is refused even when listed', async (url) => {
  const host = new URL(url).hostname
  await expect(run(`${url}:${port}/`, { hosts: [host], web: realWeb })).rejects.toMatchObject({ code: 'private-address' })
  expect(seen).toEqual([])
})

const own = Object.values(os.networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address.replace(/%.*$/, '')))
test.each(own)("in production this machine's own address %s is refused even when listed", async (address) => {
  const host = address.includes(':') ? `[${address}]` : address
  await expect(run(`http://${host}:${port}/`, { hosts: [host, '*'], web: realWeb })).rejects.toMatchObject({ code: 'private-address' })
})

test('abort ends a fetch that hangs', async () => {
  const abort = new AbortController()
  const fetching = run(`${base}/hang`, { signal: abort.signal })
  const ended = expect(fetching).rejects.toMatchObject({ code: 'fetch-failed' })
  await expect.poll(() => seen.length).toBe(1)
  abort.abort()
  await ended
})

test('a policy that no longer allows the host ends a fetch that is under way', async () => {
  const holder = createPolicyHolder(() => Promise.reject(new Error('not asked')), createDecisionLog())
  holder.apply(inputsWith({}))
  const access = await holder.access({ session: 's-1', hosts }, 'fetch')
  const fetching = run(`${base}/hang`, { access })
  await expect.poll(() => seen.length).toBe(1)
  holder.apply(inputsWith({ member: { mode: 'list', allow: [], deny: ['unrelated.test'] } }))
  holder.apply(inputsWith({ member: { mode: 'list', allow: [], deny: ['example.test'] } }))
  await expect(fetching).rejects.toMatchObject({ code: 'egress-denied', rule: 'deny example.test (egress rules)' })
})

test('a page fetched a moment ago is not fetched again, by the same session, while its host is allowed', async () => {
  const pages = createPageCache<FetchReply>()
  const get = async (session: string, url: string, list = hosts) =>
    fetchPage({ url }, loopbackIsFine, await accessTo(list), standInReader, new AbortController().signal, { pages, session })
  expect(await get('a', `${base}/same`)).toMatchObject({ text: 'Hello', cached: false })
  expect(await get('a', `${base}/same`)).toMatchObject({ text: 'Hello', cached: true })
  expect(seen).toHaveLength(2)
  expect(await get('b', `${base}/same`)).toMatchObject({ cached: false })
  await expect(get('a', `${base}/same`, ['other.test'])).rejects.toMatchObject({ code: 'egress-denied' })
  expect(await get('a', `${base}/missing`)).toMatchObject({ status: 404 })
  expect(await get('a', `${base}/missing`)).toMatchObject({ cached: false })
  expect(await get('a', `${base}/unkept`)).toMatchObject({ cached: false })
  expect(await get('a', `${base}/unkept`)).toMatchObject({ cached: false })
})

test('explain says what fetch would be told', async () => {
  const explain = async (url: string, list = hosts) => explainFetch(url, loopbackIsFine, await accessTo(list), new AbortController().signal)
  expect(await explain(`${base}/x`)).toEqual({
    verdict: 'allow',
    allowed: true,
    rule: 'allow example.test',
    reason: 'example.test is allowed by example.test.',
  })
  expect(await explain('https://a.b.example.test/')).toMatchObject({ allowed: true, rule: 'allow *.example.test' })
  expect(await explain('https://evil.test/')).toMatchObject({ allowed: false, rule: 'hosts: not listed' })
  expect(await explain('https://private.test/')).toMatchObject({ allowed: false, rule: 'address: private' })
  expect(await explain('https://nowhere.test/')).toMatchObject({ allowed: false, rule: 'resolution' })
  expect(await explain('gopher://x/')).toMatchObject({ allowed: false, rule: 'scheme' })
  lookups.length = 0
  expect(await explain('https://unknown.test/', ['?'])).toMatchObject({ verdict: 'ask', allowed: false })
  expect(lookups).toEqual([])
  expect(seen).toEqual([])
})
