import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { publicOnly } from './addresses.ts'
import { decideAddresses, decideUrl } from './decide.ts'
import { accessTo } from './testing/access.ts'

const policy = await accessTo(['example.com', '*.example.org', '127.0.0.1', '[::1]', 'b.com'])

describe('decideUrl', () => {
  test.each([
    ['https://example.com', 'https://example.com/', 443],
    ['http://example.com/a?b=c#d', 'http://example.com/a?b=c', 80],
    ['HTTPS://EXAMPLE.COM./x', 'https://example.com/x', 443],
    ['https://example.com:443/', 'https://example.com/', 443],
    ['https://example.com:8443/', 'https://example.com:8443/', 8443],
    ['https://a.b.example.org?q', 'https://a.b.example.org/?q', 443],
    ['http://2130706433/', 'http://127.0.0.1/', 80],
    ['http://[::1]:8080/', 'http://[::1]:8080/', 8080],
    ['https://example.com/../x', 'https://example.com/x', 443],
    ['https://example.com//evil.com/', 'https://example.com//evil.com/', 443],
  ])('%s', (text, href, port) => {
    const decision = decideUrl(text, policy)
    expect(decision).toMatchObject({ verdict: 'allow', target: { port } })
    expect(decision.verdict !== 'deny' && decision.target.url.href).toBe(href)
  })

  test.each([
    ['', 'url-form'],
    ['example.com', 'url-form'],
    ['//example.com', 'url-form'],
    ['https:example.com', 'url-form'],
    ['https:/example.com', 'url-form'],
    ['/etc/passwd', 'url-form'],
    ['file:///etc/passwd', 'scheme'],
    ['ftp://example.com/', 'scheme'],
    ['gopher://example.com', 'scheme'],
    ['javascript://example.com', 'scheme'],
    ['https://user@example.com/', 'url-credentials'],
    ['https://example.com@b.com/', 'url-credentials'],
    ['https://:@b.com/', 'url-credentials'],
    ['https://a.com\\@b.com/', 'url-form'],
    ['https://exa mple.com/', 'url-form'],
    [' https://example.com/', 'url-form'],
    ['https://example.com/\n', 'url-form'],
    ['https://example.com\t/', 'url-form'],
    ['https://example.com\0/', 'url-form'],
    ['https://exa%6dple.com/', 'host-form'],
    ['https://ⓔxample.com/', 'host-form'],
    ['https://example.com:0/', 'host-form'],
    ['https://example.com:99999/', 'host-form'],
    ['https://example.com:443:1/', 'host-form'],
    ['https:///x', 'host-form'],
    ['https://[::1%25x]/', 'host-form'],
    ['https://b.com.evil.com/', 'hosts: not listed'],
    ['https://evil-example.com/', 'hosts: not listed'],
    ['https://example.org/', 'hosts: not listed'],
  ])('refuses %j by %s', (text, rule) => {
    expect(decideUrl(text, policy)).toMatchObject({ verdict: 'deny', rule })
  })

  test('nothing listed: nothing allowed', async () => {
    expect(decideUrl('https://example.com/', await accessTo([]))).toMatchObject({
      verdict: 'deny',
      code: 'egress-denied',
      rule: 'hosts: none',
    })
  })

  test('what is allowed is dialled by the name that was allowed', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.webUrl(),
          fc
            .tuple(fc.constantFrom('https://example.com', 'http://example.com@', 'https://b.com\\', 'https://b.com:'), fc.string())
            .map(([a, b]) => a + b),
        ),
        (text) => {
          const decision = decideUrl(text, policy)
          if (decision.verdict !== 'deny') expect(decision.target.url.hostname).toBe(decision.target.host)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

describe('decideAddresses', () => {
  const judge = publicOnly([])
  const v4 = (address: string) => ({ address, family: 4 }) as const
  test('denied addresses of a mixed answer are dropped', () => {
    expect(decideAddresses('x', [v4('10.0.0.1'), v4('8.8.8.8'), v4('127.0.0.1')], judge)).toMatchObject({
      verdict: 'allow',
      dial: [v4('8.8.8.8')],
    })
  })
  test('only denied addresses: refused with their classes', () => {
    expect(decideAddresses('x', [v4('10.0.0.1'), v4('127.0.0.1')], judge)).toMatchObject({
      verdict: 'deny',
      code: 'private-address',
      rule: 'address: private, loopback',
    })
  })
  test('no address', () => {
    expect(decideAddresses('x', [], judge)).toMatchObject({ verdict: 'deny', code: 'fetch-failed' })
  })
})
