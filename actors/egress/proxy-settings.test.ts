/** Proxy variables and PAC answers, read as other programs read them. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isLocalName, parseProxy, proxyFor, readPacAnswer } from './proxy-settings.ts'

const https = (host: string, port = 443) => ({ host, port, secure: true })
const plain = (host: string, port = 80) => ({ host, port, secure: false })
const squid = { host: 'proxy.corp.example', port: 3128, secure: false, authorization: null }

describe('which variable counts', () => {
  const both = { http: 'http://a.example:1', https: 'http://b.example:2' }
  test('that of the scheme, else ALL_PROXY, else none', () => {
    expect(proxyFor(both, https('x.example'))).toMatchObject({ proxy: { host: 'b.example', port: 2 } })
    expect(proxyFor(both, plain('x.example'))).toMatchObject({ proxy: { host: 'a.example', port: 1 } })
    expect(proxyFor({ all: 'c.example:3' }, plain('x.example'))).toMatchObject({ proxy: { host: 'c.example', port: 3 } })
    expect(proxyFor({}, https('x.example'))).toEqual({ ok: true, proxy: null })
  })
  test('one that cannot be read ends requests, and is not quoted', () => {
    const choice = proxyFor({ https: 'socks5://user:hunter22@x:1' }, https('x.example'))
    expect(choice).toMatchObject({ ok: false })
    expect(JSON.stringify(choice)).not.toContain('hunter22')
  })
  test.each([
    ['*', 'x.example', true],
    ['x.example', 'x.example', true],
    ['x.example', 'a.x.example', true],
    ['.x.example', 'a.x.example', true],
    ['*.x.example', 'a.x.example', true],
    ['x.example', 'ax.example', false],
    ['x.example:443', 'x.example', true],
    ['x.example:8443', 'x.example', false],
    ['other, x.example', 'x.example', true],
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/8', '11.1.2.3', false],
    ['2001:db8::/32', '[2001:db8::1]', true],
    ['2001:db8::1', '[2001:db8::1]', true],
    ['', 'x.example', false],
  ])('NO_PROXY %j, %s: straight %s', (no, host, straight) => {
    expect(proxyFor({ https: 'http://proxy.corp.example:3128', no }, https(host))).toEqual({ ok: true, proxy: straight ? null : squid })
  })
})

test.each([
  ['proxy.corp.example:3128', squid],
  ['http://proxy.corp.example:3128/', squid],
  ['https://proxy.corp.example', { ...squid, port: 443, secure: true }],
  ['http://ann:p%40ss@proxy.corp.example:3128', { ...squid, authorization: `Basic ${Buffer.from('ann:p@ss').toString('base64')}` }],
  ['http://[fd00::1]:3128', { ...squid, host: '[fd00::1]' }],
  ['socks5://proxy.corp.example:1080', null],
  ['http://proxy.corp.example:3128/path', null],
  ['http://a\r\nb:1', null],
  ['http://u:%zz@proxy.corp.example', null],
])('%j', (text, expected) => {
  expect(parseProxy(text)).toEqual(expected)
})

test.each([
  ['PROXY proxy.corp.example:3128; DIRECT', squid],
  ['SOCKS a:1; PROXY proxy.corp.example:3128', squid],
  ['DIRECT', null],
  ['', null],
  ['HTTPS proxy.corp.example:3128', { ...squid, secure: true }],
])('the PAC answer %j', (answer, proxy) => {
  expect(readPacAnswer(answer)).toEqual({ ok: true, proxy })
})

test('a PAC answer that names nothing usable is no way straight out', () => {
  expect(readPacAnswer('SOCKS5 a:1080')).toMatchObject({ ok: false })
  expect(readPacAnswer('PROXY')).toMatchObject({ ok: false })
})

test('whatever they say, a proxy has a canonical host, a port and a header of one line', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.webUrl({ withQueryParameters: true }), fc.string({ unit: 'binary' })), (text) => {
      for (const proxy of [parseProxy(text), (readPacAnswer(`PROXY ${text}`) as { proxy?: ReturnType<typeof parseProxy> }).proxy]) {
        if (!proxy) continue
        expect(proxy.host).toMatch(/^([a-z0-9_.-]+|\[[0-9a-f:]+\])$/)
        expect(proxy.port).toBeGreaterThan(0)
        expect(proxy.port).toBeLessThan(65_536)
        expect(proxy.authorization ?? 'Basic ').toMatch(/^Basic [A-Za-z0-9+/=]*$/)
      }
    }),
  )
})

test.each([
  ['intranet', true],
  ['printer.local', true],
  ['a.corp', true],
  ['x.localhost', true],
  ['router.home.arpa', true],
  ['local.example', false],
  ['example.com', false],
])('%s is a name of the local network: %s', (host, local) => {
  expect(isLocalName(host)).toBe(local)
})
