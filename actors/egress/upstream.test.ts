/** Forwarding to a scripted API on loopback. */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { limits } from './limits.ts'
import { type ModelPart, type ModelRequest, openUpstream, type Upstream } from './upstream.ts'

const key = 'sk-test-9f8e7d6c5b4a'
let server: http.Server
let baseUrl: string
let handler: (request: http.IncomingMessage, response: http.ServerResponse) => void | Promise<void>
let closed = 0

beforeAll(async () => {
  server = http.createServer((request, response) => {
    response.on('close', () => {
      closed += 1
    })
    void handler(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  closed = 0
})

const request: ModelRequest = {
  method: 'POST',
  path: '/v1/messages',
  headers: { 'x-api-key': 'placeholder', 'content-type': 'application/json' },
  body: '{"ü":1}',
}
const open = () => openUpstream({ baseUrl, readKey: () => key })

async function run(upstream: Upstream, asked = request, signal = new AbortController().signal, heard?: (part: ModelPart) => unknown) {
  const parts: ModelPart[] = []
  const take = async (part: ModelPart): Promise<void> => {
    parts.push(part)
    heard?.(part)
  }
  await upstream.forward(asked, take, signal)
  const text = Buffer.concat(parts.flatMap((part) => (part.type === 'chunk' ? [part.bytes] : []))).toString()
  return { head: parts[0], parts, text }
}

test('the real key and the body reach the API, the placeholder does not', async () => {
  let got = ''
  handler = async (incoming, response) => {
    got = `${incoming.method} ${incoming.url} ${String(incoming.headers['x-api-key'])} ${await new Response(incoming as never).text()}`
    response.writeHead(200, { 'content-type': 'application/json', 'request-id': 'r1' }).end('{}')
  }
  const { head, text } = await run(await open())
  expect(got).toBe(`POST /v1/messages ${key} {"ü":1}`)
  expect(head).toMatchObject({ type: 'head', status: 200, headers: { 'request-id': 'r1' } })
  expect(text).toBe('{}')
})

test("the API's own errors are answers", async () => {
  handler = (_, response) => void response.writeHead(529, { 'retry-after': '7' }).end('{"type":"error"}')
  expect((await run(await open())).head).toMatchObject({ status: 529, headers: { 'retry-after': '7' } })
})

test('an echoed key does not come back, wherever it is', async () => {
  let rest: () => unknown = () => null
  handler = (_, response) => {
    response.writeHead(401, { 'x-echo': `Bearer ${key}` })
    response.write(`invalid key ${key.slice(0, 9)}`)
    rest = () => response.end(`${key.slice(9)} sorry`)
  }
  const answer = await run(await open(), request, undefined, (part) => part.type === 'chunk' && rest())
  expect(JSON.stringify(answer)).not.toContain(key)
  expect(answer.text).toBe('invalid key [key] sorry')
})

test('a slow reader holds the API back', async () => {
  let written = 0
  const another = { ...request, path: '/v1/messages/count_tokens' }
  handler = (incoming, response) => {
    response.writeHead(200)
    if (incoming.url === another.path) {
      response.end()
      return
    }
    const push = (): void => {
      while (written < 64 && response.write(Buffer.alloc(1024 * 1024, 65))) written += 1
      if (written < 64) {
        written += 1
        response.once('drain', push)
      } else response.end()
    }
    push()
  }
  const upstream = await open()
  const abort = new AbortController()
  let taken = 0
  const never = upstream.forward(request, () => ((taken += 1) > 3 ? new Promise(() => undefined) : Promise.resolve()), abort.signal)
  never.catch(() => undefined)
  await expect.poll(() => taken).toBe(4)
  // Others are answered meanwhile: one that is not held back would be written to as well.
  const others = 20
  for (let asked = 0; asked < others; asked++) await run(upstream, another)
  expect(written).toBeLessThan(32)
  expect(taken).toBe(4)
  abort.abort()
  await expect.poll(() => closed).toBe(others + 1)
})

test('abort while waiting for the head ends the request at the API', async () => {
  const abort = new AbortController()
  handler = () => abort.abort()
  const running = run(await open(), request, abort.signal)
  await expect(running).rejects.toMatchObject({ code: 'model-unreachable' })
  await expect.poll(() => closed).toBe(1)
})

test('a redirect is refused: the key does not follow', async () => {
  handler = (_, response) => void response.writeHead(307, { location: 'https://evil.example/' }).end()
  await expect(run(await open())).rejects.toMatchObject({ code: 'model-refused', rule: 'model-no-redirect' })
})

test.each(['/v1/../x', 'https://evil.example/v1/messages', '/admin'])('%s never leaves', async (to) => {
  let asked = 0
  handler = (_, response) => void response.end(String((asked += 1)))
  await expect(run(await open(), { ...request, path: to })).rejects.toMatchObject({ code: 'model-refused' })
  expect(asked).toBe(0)
})

test('no connection, and a connection that breaks off: model-unreachable, without the key', async () => {
  const nobody = await openUpstream({ baseUrl: 'http://127.0.0.1:1', readKey: () => key })
  const refused = await run(nobody).catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: 'model-unreachable', cause: expect.stringContaining('ECONNREFUSED') })
  handler = (_, response) => {
    response.writeHead(200, { 'content-length': '10' }).write('x', () => response.destroy())
  }
  const broken = await run(await open()).catch((error: unknown) => error)
  expect(broken).toMatchObject({ code: 'model-unreachable' })
  expect(JSON.stringify([refused, broken])).not.toContain(key)
})

test.each(['not a url', 'ftp://x', 'http://user:pass@127.0.0.1', 'http://127.0.0.1/?x=1'])('base URL %s cannot be used', async (bad) => {
  await expect(openUpstream({ baseUrl: bad, readKey: () => null })).rejects.toMatchObject({ code: 'model-unreachable' })
})

test('which upstream: base URL, else key, else practice model', async () => {
  expect((await openUpstream({ baseUrl: `${baseUrl}/proxy/`, readKey: () => null })).info).toEqual({
    mode: 'api',
    baseUrl: `${baseUrl}/proxy`,
  })
  expect((await openUpstream({ baseUrl: null, readKey: () => key })).info).toEqual({ mode: 'api', baseUrl: limits.defaultBaseUrl })
  const practice = await openUpstream({ baseUrl: null, readKey: () => null })
  expect(practice.info).toMatchObject({ mode: 'practice', baseUrl: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) })
  const answer = await run(practice, {
    ...request,
    headers: { ...request.headers, 'anthropic-version': '2023-06-01' },
    body: JSON.stringify({ model: 'm', max_tokens: 500, messages: [{ role: 'user', content: 'help' }] }),
  })
  expect(answer.text).toContain('practice model')
  await practice.close()
})

test("the default base URL is the SDK's", () => {
  expect(new Anthropic({ apiKey: 'x', baseURL: null }).baseURL).toBe(limits.defaultBaseUrl)
})
