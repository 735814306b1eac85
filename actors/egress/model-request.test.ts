import fc from 'fast-check'
import { expect, test } from 'vitest'
import { answerHeaders, upstreamHeaders, upstreamUrl } from './model-request.ts'
import { createScrubber } from './scrub.ts'

const base = new URL('https://api.example.com')

test.each([
  ['/v1/messages', 'https://api.example.com/v1/messages'],
  ['/v1/messages?beta=true', 'https://api.example.com/v1/messages?beta=true'],
  ['/v1/models/claude-x?limit=2&after_id=a', 'https://api.example.com/v1/models/claude-x?limit=2&after_id=a'],
])('%s is forwarded', (path, url) => {
  const result = upstreamUrl(base, path)
  expect(result.ok && result.url.href).toBe(url)
})

test('a base with a path of its own keeps it', () => {
  const result = upstreamUrl(new URL('http://127.0.0.1:8080/proxy/'), '/v1/messages')
  expect(result.ok && result.url.href).toBe('http://127.0.0.1:8080/proxy/v1/messages')
})

test.each([
  '',
  '/',
  'v1/messages',
  '/v2/messages',
  '/v1',
  '/v1/../admin',
  '/v1/./x',
  '/v1//x',
  '/v1/%2e%2e/admin',
  '/v1/..%2fadmin',
  '/v1/\\..\\admin',
  'https://evil.com/v1/messages',
  '//evil.com/v1/',
  '/v1/messages#x',
  '/v1/a b',
  '/v1/a\n',
  '/v1/x?a b',
  '/v1/x?\r\n',
  '/@evil.com/v1/x',
  '/v1/x?a#b',
])('%j is refused', (path) => {
  expect(upstreamUrl(base, path)).toMatchObject({ ok: false, error: { code: 'model-refused', rule: 'model-path' } })
})

test('whatever the path, the host stays and the path stays under /v1/', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((rest) => `/v1/${rest}`),
        fc.webUrl(),
      ),
      (path) => {
        const result = upstreamUrl(base, path)
        if (!result.ok) return
        expect(result.url.origin).toBe(base.origin)
        expect(result.url.pathname.startsWith('/v1/')).toBe(true)
      },
    ),
    { numRuns: 2_000 },
  )
})

test("callers' credentials and connection headers do not travel; the key takes the place of theirs", () => {
  const given = {
    'Anthropic-Version': '2023-06-01',
    'anthropic-beta': 'x',
    'Content-Type': 'application/json',
    'X-Stainless-Lang': 'js',
    accept: '*/*',
    Cookie: 'a=b',
    Host: 'evil.com',
    'Proxy-Authorization': 'p',
    Connection: 'x-api-key',
    'Transfer-Encoding': 'chunked',
    'X-Forwarded-For': '1',
  }
  const kept = {
    'anthropic-version': '2023-06-01',
    'anthropic-beta': 'x',
    'content-type': 'application/json',
    'x-stainless-lang': 'js',
    accept: '*/*',
  }
  expect(upstreamHeaders({ ...given, 'X-Api-Key': 'placeholder' }, 'real-key')).toEqual({ ...kept, 'x-api-key': 'real-key' })
  expect(upstreamHeaders({ ...given, Authorization: 'Bearer placeholder' }, 'real-key')).toEqual({
    ...kept,
    authorization: 'Bearer real-key',
  })
  expect(upstreamHeaders(given, 'real-key')).toEqual({ ...kept, 'x-api-key': 'real-key' })
  expect(upstreamHeaders({ ...given, authorization: 'Bearer mine', 'x-api-key': 'mine' }, null)).toEqual(kept)
})

test('of the answer, cookies and connection headers stay, and an echoed key is masked', () => {
  expect(
    answerHeaders(
      {
        'content-type': 'text/event-stream',
        'request-id': 'r',
        'retry-after': '3',
        'set-cookie': ['a'],
        connection: 'close',
        'content-encoding': 'gzip',
        'x-echo': 'key=real-key!',
      },
      'real-key',
    ),
  ).toEqual({
    'content-type': 'text/event-stream',
    'request-id': 'r',
    'retry-after': '3',
    'x-echo': 'key=[key]!',
  })
})

test('a secret is cut out however the stream is split', () => {
  const secret = 'aabaab-secret'
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constant(secret), fc.constantFrom('a', 'aab', 'aabaab', '-sec', 'ret', 'x'), fc.string())),
      fc.infiniteStream(fc.integer({ min: 1, max: 7 })),
      (pieces, sizes) => {
        const text = pieces.join('')
        const source = Buffer.from(text)
        const scrubber = createScrubber([secret])
        const out: Uint8Array[] = []
        for (let at = 0; at < source.length; ) {
          const { value: size } = sizes.next() as { value: number }
          out.push(scrubber.push(source.subarray(at, at + size)))
          at += size
        }
        out.push(scrubber.end())
        expect(Buffer.concat(out).toString()).toBe(text.replaceAll(secret, '[key]'))
      },
    ),
  )
})
