import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalHost, parseAuthority, parsePattern } from './host-grammar.ts'

const canonical = [
  ['example.com', 'example.com'],
  ['EXAMPLE.Com', 'example.com'],
  ['example.com.', 'example.com'],
  ['Bücher.example', 'xn--bcher-kva.example'],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['my_host.example.com', 'my_host.example.com'],
  ['localhost', 'localhost'],
  ['2130706433', '127.0.0.1'],
  ['0x7f000001', '127.0.0.1'],
  ['0177.0.0.1', '127.0.0.1'],
  ['127.1', '127.0.0.1'],
  ['0x7f.1', '127.0.0.1'],
  ['0', '0.0.0.0'],
  ['0x', '0.0.0.0'],
  ['00000127.0.0.1', '87.0.0.1'],
  ['[::1]', '[::1]'],
  ['[::ffff:127.0.0.1]', '[::ffff:7f00:1]'],
  ['[2001:DB8:0:0::1]', '[2001:db8::1]'],
] as const

const rejected = [
  '',
  '.',
  '..',
  'a..b',
  '.example.com',
  'example.com..',
  '-a.example',
  'a-.example',
  'a'.repeat(64) + '.com',
  'a.'.repeat(130) + 'com',
  'a b.com',
  'a.com\t.b.com',
  'a.com\n',
  'a\0.com',
  'evil.com\0.allowed.com',
  'a.com\r\n\r\nCONNECT x',
  'user@a.com',
  'a.com\\@b.com',
  'a.com#@b.com',
  'a/b',
  'a?b',
  'exa%6dple.com',
  '%',
  'ex\u00ADample.com',
  'ⓔxample.com',
  'ｅxample.com',
  '①②⑦.⓪.⓪.①',
  '127。0。0。1',
  'a\u200B.com',
  'a:b',
  '*',
  '*.example.com',
  '256.1.1.1',
  '1.2.3.4.5',
  '1.2.3.4x.5',
  '::1',
  '[::1',
  '[::1%eth0]',
  '[::1%25eth0]',
  '[::ffff:1.2.3.4%x.allowed.com]',
  '[]',
  '[example.com]',
] as const

describe('canonicalHost', () => {
  test.each(canonical)('%s is %s', (text, host) => {
    expect(canonicalHost(text)).toEqual({ ok: true, value: host })
  })
  test.each(rejected)('refuses %j', (text) => {
    expect(canonicalHost(text)).toMatchObject({ ok: false })
  })
  test('one form: what is canonical stays as it is, and URL agrees with it', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.domain(),
          fc.ipV4(),
          fc.ipV6().map((ip) => `[${ip}]`),
          fc.string({ unit: 'grapheme' }),
          fc.webAuthority(),
        ),
        (text) => {
          const first = canonicalHost(text)
          if (!first.ok) return
          expect(canonicalHost(first.value)).toEqual(first)
          expect(new URL(`http://${first.value}/`).hostname).toBe(first.value)
          expect(first.value).toMatch(/^([a-z0-9._-]+|\[[0-9a-f:]+\])$/)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

test.each([
  ['a.com', 'a.com', null],
  ['a.com:1', 'a.com', 1],
  ['a.com:65535', 'a.com', 65_535],
  ['[::1]:80', '[::1]', 80],
])('authority %s', (text, host, port) => {
  expect(parseAuthority(text)).toEqual({ ok: true, value: { host, port } })
})

test.each([
  'a.com:',
  'a.com:0',
  'a.com:65536',
  'a.com:443abc',
  'a.com:443:1',
  'a.com:+80',
  'a.com:080',
  'a.com: 80',
  '::1:80',
  ':80',
  'a.com:80\n',
])('refuses authority %j', (text) => {
  expect(parseAuthority(text)).toMatchObject({ ok: false })
})

test.each([
  '*',
  '*.',
  '*.com',
  '*.*.com',
  'a.*.com',
  '*example.com',
  '*.127.0.0.1',
  '*.[::1]',
  '*.example.com:0',
  'http://example.com',
  'example.com/path',
])('refuses pattern %s', (pattern) => {
  expect(parsePattern(pattern)).toMatchObject({ ok: false })
})
