/**
 * Tunnels that are read, against an origin that reflects everything it is sent: it sees the secret of its own host and no other, and nothing
 * of it comes back. The origin's own certificate is one this machine is told to trust besides, as a company's is.
 */
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import tls from 'node:tls'
import zlib from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type PolicyHolder, createPolicyHolder } from './access.ts'
import type { AddressClass } from './addresses.ts'
import { createAuthority } from './authority.ts'
import { createDecisionLog } from './decision-log.ts'
import type { PolicyInputs } from './egress-policy.ts'
import { fetchPage } from './fetch-page.ts'
import { createKeyring, type Secret } from './injection.ts'
import { trustBesides } from './network.ts'
import { relay } from './relay.ts'
import { inputsWith } from './testing/access.ts'
import { standInReader } from './testing/stand-in-reader.ts'

const value = 'tok_3f9c+/=2b1d-SECRET'
const other = 'other-hosts-own-secret'
const authority = createAuthority()
const company = createAuthority()
let ca: string
let origin: https.Server
let port: number
/** Requests of which not all came. */
let brokenOff = 0
let seen: { method: string; url: string; headers: http.IncomingHttpHeaders; body: string }[]
let holder: PolicyHolder

const before = tls.getCACertificates('default')
beforeAll(async () => {
  ca = await authority.certificate()
  trustBesides(await company.certificate())
  const contexts = { 'a.example': await company.contextFor('a.example'), 'b.example': await company.contextFor('b.example') }
  origin = https.createServer(
    { SNICallback: (name, done) => done(null, contexts[name as keyof typeof contexts] ?? contexts['a.example']) },
    (request, response) =>
      void whole(request).then(
        (body) => reflect(request, body, response),
        () => (brokenOff += 1),
      ),
  )
  const reflect = (request: http.IncomingMessage, body: string, response: http.ServerResponse): void => {
    const { method = '', url = '', headers } = request
    seen.push({ method, url, headers, body })
    if (url.startsWith('/down')) return void response.writeHead(302, { location: `http://a.example:${port}/plain` }).end()
    if (url.startsWith('/away')) return void response.writeHead(302, { location: `https://b.example:${port}/there` }).end()
    response.setHeader('x-echo', headers.authorization ?? 'none')
    if (url.startsWith('/gzip')) {
      response.setHeader('content-encoding', 'gzip')
      response.end(zlib.gzipSync(JSON.stringify(headers)))
      return
    }
    const text = JSON.stringify({
      url,
      headers,
      body,
      again: Buffer.from(`x:${value}`).toString('base64'),
      escaped: encodeURIComponent(value),
    })
    // A byte at a time, so that no chunk holds a secret whole.
    if (url.startsWith('/slow')) for (const letter of text) response.write(letter)
    else response.write(text)
    response.end()
  }
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  port = (origin.address() as AddressInfo).port
})
afterAll(() => {
  tls.setDefaultCACertificates(before)
  origin.closeAllConnections()
  origin.close()
})
beforeEach(() => {
  seen = []
  brokenOff = 0
  holder = createPolicyHolder(() => Promise.reject(new Error('nobody is asked')), createDecisionLog())
  holder.apply(inputsWith({}))
})

const header: Secret['place'] = { in: 'header', name: 'authorization', prefix: 'Bearer ' }
const keep = (...secrets: Partial<Secret>[]): void =>
  holder.applySecrets(createKeyring(secrets.map((one) => ({ name: 'one', host: 'a.example', port, place: header, value, ...one }))))
const rules = (requests: NonNullable<PolicyInputs['member']['requests']>): void =>
  holder.apply(inputsWith({ member: { mode: 'list', allow: [], deny: [], requests } }))
let judged: AddressClass = 'public'
const web = { resolve: async () => [{ address: '127.0.0.1', family: 4 as const }], addressPolicy: () => () => judged }

async function tunnel(host = 'a.example', trusted = true) {
  const [near, far] = duplexPair({ allowHalfOpen: true })
  near.on('error', () => undefined)
  near.on('close', () => far.destroy())
  const access = await holder.access({ session: 's-1', hosts: ['a.example', 'b.example'] }, 'tunnel')
  const signal = AbortSignal.timeout(20_000)
  const ended = relay(far, { host, port }, { web, access, signal, ...(trusted ? { authority } : {}) })
  return { near, ended }
}

async function secure(near: Duplex, host = 'a.example', trust: string | undefined = ca): Promise<tls.TLSSocket> {
  const line = tls.connect({
    socket: near,
    servername: host,
    ...(trust === undefined ? {} : { ca: trust }),
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  line.on('error', () => undefined)
  await once(line, 'secureConnect')
  return line
}

async function whole(message: http.IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of message as AsyncIterable<Buffer>) text += String(chunk)
  return text
}

type Answer = { status: number; headers: http.IncomingHttpHeaders; text: string }
/** Requests one after the other on one tunnel. */
async function client(host = 'a.example') {
  const { near, ended } = await tunnel(host)
  const line = await secure(near, host)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  agent.createConnection = () => line
  const ask = (path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { body, ...rest } = options
      const request = http.request({ agent, path, ...rest, headers: { host: `${host}:${port}`, ...rest.headers } }, (response) => {
        whole(response).then((text) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }), reject)
      })
      request.on('error', reject)
      request.end(body)
    })
  return { ask, line, ended }
}
/** What a client writes by hand, and all that comes back. */
async function raw(text: string): Promise<{ text: string; why: unknown }> {
  const { near, ended } = await tunnel()
  const line = await secure(near)
  let got = ''
  line.on('data', (bytes: Buffer) => (got += String(bytes)))
  line.write(text)
  const why = await ended
  return { text: got, why }
}
const spellings = [
  value,
  encodeURIComponent(value),
  Buffer.from(value).toString('hex'),
  Buffer.from(`x:${value}`).toString('base64').slice(4, -4),
]
const expectNothingOf = (...texts: unknown[]): void => {
  for (const spelling of spellings) expect(JSON.stringify(texts)).not.toContain(spelling)
}

describe('a secret', () => {
  test('arrives at its host in its field, whatever the sender put there, and nothing of it comes back', async () => {
    keep({}, { name: 'two', host: 'b.example', value: other })
    const { ask, line } = await client()
    const answer = await ask('/x', { headers: { authorization: 'Bearer my-own-account' } })
    expect(seen[0]?.headers.authorization).toBe(`Bearer ${value}`)
    expect(JSON.stringify(seen)).not.toMatch(/my-own-account|other-hosts-own-secret/)
    expect([answer.status, answer.headers['x-echo']]).toEqual([200, 'Bearer [key]'])
    expect(answer.text).toContain('[key]')
    expectNothingOf(answer)
    line.destroy()
  })
  test('goes to no other host', async () => {
    keep({})
    const { ask, line } = await tunnelled('b.example')
    await ask('/x')
    expect(seen[0]?.headers.authorization).toBeUndefined()
    expectNothingOf(seen)
    line.destroy()
  })
  test('as a Basic credential and in the query', async () => {
    keep({ place: { in: 'basic', user: 'ann' } })
    const basic = await client()
    expectNothingOf(await basic.ask('/x'))
    expect(seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from(`ann:${value}`).toString('base64')}`)
    basic.line.destroy()
    keep({ place: { in: 'query', name: 'api_key' } })
    const query = await client()
    expectNothingOf(await query.ask('/x?a=1&api%5Fkey=mine&api_key=mine&b=2'))
    expect(seen[1]?.url).toBe(`/x?a=1&b=2&api_key=${encodeURIComponent(value)}`)
    query.line.destroy()
  })
  test('is cut out where it comes back byte by byte', async () => {
    keep({})
    const { ask, line } = await client()
    const answer = await ask('/slow')
    expect(answer.text).toContain('[key]')
    expectNothingOf(answer)
    line.destroy()
  })
  test('that comes back compressed is not let through', async () => {
    keep({})
    const { ask } = await client()
    expect(await ask('/gzip', { headers: { 'accept-encoding': 'gzip' } })).toMatchObject({
      status: 502,
      headers: { 'x-bulkhead-rule': 'secret-encoding' },
    })
    expect(seen[0]?.headers['accept-encoding']).toBeUndefined()
  })
  test('taken away is not used again, on the same connection', async () => {
    keep({})
    rules([{ host: 'a.example', methods: [], path: '/**' }])
    const { ask, line } = await client()
    await ask('/1')
    holder.applySecrets(createKeyring([]))
    await ask('/2')
    expect(seen.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${value}`, undefined])
    line.destroy()
  })
  test('given later ends what is open and is not read', async () => {
    const { near, ended } = await tunnel('a.example')
    const line = tls.connect({ socket: near, servername: 'a.example', ca: await company.certificate() })
    line.on('error', () => undefined)
    await once(line, 'secureConnect')
    keep({})
    expect(await ended).toMatchObject({ code: 'egress-denied', rule: 'request rules' })
  })
  test('is in pages the product fetches itself, and not in their text', async () => {
    keep({})
    const access = await holder.access({ session: 's-1', hosts: ['a.example'] }, 'fetch')
    const page = await fetchPage({ url: `https://a.example:${port}/page` }, web, access, standInReader, AbortSignal.timeout(10_000))
    expect(seen[0]?.headers.authorization).toBe(`Bearer ${value}`)
    expect(page.text).toContain('[key]')
    expectNothingOf(page)
  })
})

describe('a redirect takes no secret along', () => {
  test.each([
    ['to another host', '/away', 'cross-host-redirect', undefined],
    ['to the same host without TLS', '/down', 'fetch-failed', 'redirect-no-downgrade'],
  ])('%s', async (_what, path, code, rule) => {
    keep({})
    const access = await holder.access({ session: 's-1', hosts: ['a.example', 'b.example'] }, 'fetch')
    const fetching = fetchPage({ url: `https://a.example:${port}${path}` }, web, access, standInReader, AbortSignal.timeout(10_000))
    await expect(fetching).rejects.toMatchObject({ code, ...(rule ? { rule } : {}) })
    expect(seen.map(({ url }) => url)).toEqual([path])
  })
})

test('a client that leaves in the middle of its upload ends that, and nothing else', async () => {
  rules([{ host: 'a.example', methods: [], path: '/**' }])
  const { near, ended } = await tunnel()
  const line = await secure(near)
  line.write(`POST /up HTTP/1.1\r\nHost: a.example:${port}\r\nContent-Length: 1000000\r\n\r\n`)
  const arriving = once(origin, 'request')
  line.write('x'.repeat(1_000))
  await arriving
  line.destroy()
  near.destroy()
  await ended
  await expect.poll(() => brokenOff).toBeGreaterThan(0)
  expect(seen).toEqual([])
  const { ask, line: next } = await client()
  expect((await ask('/still-here')).status).toBe(200)
  next.destroy()
})

test('a body that is announced, and one in chunks with fields behind it, arrive whole', async () => {
  rules([{ host: 'a.example', methods: [], path: '/**' }])
  const { ask, line } = await client()
  expect((await ask('/1', { method: 'POST', headers: { expect: '100-continue' }, body: 'announced' })).status).toBe(200)
  line.write(`POST /2 HTTP/1.1\r\nHost: a.example:${port}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-After: 1\r\n\r\n`)
  await expect.poll(() => seen.map(({ body }) => body)).toEqual(['announced', 'abc'])
  line.destroy()
})

/** A tunnel that is not read: TLS goes through to the host. */
async function tunnelled(host: string) {
  const { near } = await tunnel(host)
  const line = await secure(near, host, await company.certificate())
  const ask = (path: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const request = http.request({ createConnection: () => line, path, headers: { host } }, (response) =>
        response.resume().on('end', () => resolve()),
      )
      request.on('error', reject)
      request.end()
    })
  return { ask, line }
}

test('a client that speaks to a proxy is read as well, also when its hello comes with the greeting', async () => {
  keep({})
  const access = await holder.access({ session: 's-1', hosts: ['a.example'] }, 'tunnel')
  for (const together of [false, true]) {
    const [near, far] = duplexPair({ allowHalfOpen: true })
    near.on('error', () => undefined)
    near.on('close', () => far.destroy())
    void relay(far, null, { web, access, signal: AbortSignal.timeout(20_000), authority })
    const [mine, its] = duplexPair({ allowHalfOpen: true })
    const greeting = Buffer.from(`CONNECT a.example:${port} HTTP/1.1\r\nHost: a.example:${port}\r\n\r\n`)
    if (!together) near.write(greeting)
    let answer = Buffer.alloc(0)
    const opened = new Promise<void>((resolve) => {
      near.on('data', (bytes: Buffer) => {
        const through = answer.includes('\r\n\r\n')
        answer = Buffer.concat([answer, bytes])
        const end = answer.indexOf('\r\n\r\n')
        if (through) its.write(bytes)
        else if (end !== -1) {
          if (answer.length > end + 4) its.write(answer.subarray(end + 4))
          resolve()
        }
      })
    })
    if (!together) await opened
    let first = together
    its.on('data', (bytes: Buffer) => {
      near.write(first ? Buffer.concat([greeting, bytes]) : bytes)
      first = false
    })
    const line = await secure(mine)
    line.write(`GET /proxied HTTP/1.1\r\nHost: a.example:${port}\r\n\r\n`)
    await expect.poll(() => seen.at(-1)?.headers.authorization).toBe(`Bearer ${value}`)
    seen = []
    line.destroy()
    near.destroy()
  }
})

describe('where a secret could not be put in, nothing goes', () => {
  test('a client that has nothing read', async () => {
    keep({})
    const { ended } = await tunnel('a.example', false)
    expect(await ended).toMatchObject({ code: 'egress-denied', rule: 'secret-not-intercepted' })
  })
  test.each([
    ['bytes that are neither TLS nor HTTP', 'SSH-2.0-x\r\n', 'opaque-bytes'],
    ['plain HTTP', () => `GET / HTTP/1.1\r\nHost: a.example:${port}\r\n\r\n`, 'secret-needs-tls'],
  ])('%s', async (_what, text, rule) => {
    keep({})
    const { near, ended } = await tunnel()
    near.end(typeof text === 'string' ? text : text())
    expect(await ended).toMatchObject({ rule })
    expect(seen).toEqual([])
  })
  test('plain HTTP to the host on port 80, also as a page', async () => {
    keep({ port: 443 })
    const access = await holder.access({ session: 's-1', hosts: ['a.example'] }, 'fetch')
    await expect(fetchPage({ url: 'http://a.example/' }, web, access, standInReader, AbortSignal.timeout(10_000))).rejects.toMatchObject({
      rule: 'secret-needs-tls',
    })
  })
  test('a secret that cannot be opened', async () => {
    holder.applySecrets(createKeyring([], [{ host: 'a.example', port, why: 'the key of the vault is not there' }]))
    const { ended } = await tunnel()
    expect(await ended).toMatchObject({ rule: 'secret-locked' })
  })
  test('a program that does not trust the authority', async () => {
    keep({})
    const { near, ended } = await tunnel()
    tls.connect({ socket: near, servername: 'a.example' }).on('error', () => undefined)
    expect(await ended).toMatchObject({ code: 'fetch-failed', rule: 'tls-read' })
    expect(seen).toEqual([])
  })
})

describe('request rules', () => {
  beforeEach(() =>
    rules([
      { host: 'a.example', methods: ['GET', 'HEAD'], path: '/v1/*/open' },
      { host: 'a.example', methods: ['POST'], path: '/v1/**' },
    ]),
  )
  test.each([
    ['GET', '/v1/x/open', 200],
    ['GET', '/v1/x/open?any=/thing', 200],
    ['POST', '/v1/x/y/z', 200],
    ['HEAD', '/v1/x/open', 200],
    ['GET', '/v1/x/y/open', 403],
    ['DELETE', '/v1/x/open', 403],
    ['GET', '/v1/../v1/x/open', 403],
    ['POST', '/v1/%2e%2e/admin', 403],
    ['POST', '/v1//admin', 403],
    ['POST', '/v1/a%2fb', 403],
    ['POST', '/v1/..;/admin', 403],
    ['POST', '/V1/x', 403],
  ])('%s %s: %i', async (method, path, status) => {
    const { ask, line } = await client()
    const answer = await ask(path, { method, ...(method === 'POST' ? { body: 'sent' } : {}) }).catch(() => ({ status: 403 }))
    expect(answer.status).toBe(status)
    expect(seen.length).toBe(status === 200 ? 1 : 0)
    line.destroy()
  })
  test('and the address of a connection that is kept, which may have become one of this machine', async () => {
    const { ask, line } = await client()
    expect((await ask('/v1/x/open')).status).toBe(200)
    judged = 'own'
    try {
      expect(await ask('/v1/x/open')).toMatchObject({ status: 403, headers: { 'x-bulkhead-rule': 'address: own' } })
      expect(seen.length).toBe(1)
    } finally {
      judged = 'public'
      line.destroy()
    }
  })
  test('each request of a connection is judged', async () => {
    const { ask, line } = await client()
    expect((await ask('/v1/x/open')).status).toBe(200)
    const refused = await ask('/v1/x/closed')
    expect(refused).toMatchObject({ status: 403, headers: { 'x-bulkhead-rule': 'request rules' } })
    expect(refused.text).toContain('GET /v1/x/closed is not what may be asked of a.example')
    expect(seen.length).toBe(1)
    line.destroy()
  })
  test('pages are held to them as well', async () => {
    const access = await holder.access({ session: 's-1', hosts: ['a.example'] }, 'fetch')
    await expect(
      fetchPage({ url: `https://a.example:${port}/other` }, web, access, standInReader, AbortSignal.timeout(10_000)),
    ).rejects.toMatchObject({
      code: 'egress-denied',
      rule: 'request rules',
    })
  })
  test('a body arrives whole, and so does a large answer', async () => {
    const { ask, line } = await client()
    const body = 'x'.repeat(300_000)
    const answer = await ask('/v1/up', { method: 'POST', body })
    expect([seen[0]?.body.length, (JSON.parse(answer.text) as { body: string }).body.length]).toEqual([300_000, 300_000])
    line.destroy()
  })
})

describe('shapes that can be read in two ways go nowhere', () => {
  const at = (lines: string): string => lines.replaceAll('HOST', `a.example:${port}`)
  test.each([
    ['two framings', 'POST /v1/x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'POST /v1/x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd'],
    ['a folded field', 'POST /v1/x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n'],
    ['a bare line end', 'GET /v1/x HTTP/1.1\nHost: HOST\n\n'],
    ['a blank before the colon', 'GET /v1/x HTTP/1.1\r\nHost : HOST\r\n\r\n'],
    ['two hosts', 'GET /v1/x HTTP/1.1\r\nHost: HOST\r\nHost: b.example\r\n\r\n'],
    ['no host', 'GET /v1/x HTTP/1.1\r\n\r\n'],
    ['another host', 'GET /v1/x HTTP/1.1\r\nHost: b.example\r\n\r\n'],
    ['another port', 'GET /v1/x HTTP/1.1\r\nHost: a.example:1\r\n\r\n'],
    ['an absolute target', 'GET http://b.example/ HTTP/1.1\r\nHost: HOST\r\n\r\n'],
    ['CONNECT inside', 'CONNECT b.example:443 HTTP/1.1\r\nHost: HOST\r\n\r\n'],
    ['TRACE', 'TRACE /v1/x HTTP/1.1\r\nHost: HOST\r\n\r\n'],
    ['another protocol', 'GET /v1/x HTTP/1.1\r\nHost: HOST\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'],
    ['HTTP/2 with prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['bytes', '\0\x01\x02\x03'],
  ])('%s', async (_what, text) => {
    rules([{ host: 'a.example', methods: [], path: '/**' }])
    const { text: answer, why } = await raw(at(text))
    expect(answer).not.toContain('200 OK')
    expect(why).toMatchObject({ code: expect.stringMatching(/egress-denied|fetch-failed/) })
    expect(seen).toEqual([])
  })
  test('a second request behind the first, to another host', async () => {
    rules([{ host: 'a.example', methods: [], path: '/**' }])
    await raw(at('GET /1 HTTP/1.1\r\nHost: HOST\r\n\r\nGET /2 HTTP/1.1\r\nHost: b.example\r\n\r\n'))
    expect(seen.map(({ url }) => url).filter((url) => url !== '/1')).toEqual([])
  })
})

test('a host whose certificate nobody vouches for is not spoken to', async () => {
  tls.setDefaultCACertificates(before)
  try {
    keep({})
    const { near, ended } = await tunnel()
    tls.connect({ socket: near, servername: 'a.example', ca }).on('error', () => undefined)
    expect(await ended).toMatchObject({ code: 'fetch-failed', message: 'TLS to a.example failed.' })
    expect(seen).toEqual([])
  } finally {
    trustBesides(await company.certificate())
  }
})
