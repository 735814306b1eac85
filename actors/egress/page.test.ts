import { expect, test } from 'vitest'
import { parseContentType, readPage } from './page.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test('HTML becomes Markdown, without scripts, styles and title', () => {
  const html =
    '<!doctype html><html><head><title>A &amp; B</title><style>p{}</style></head><body><h1>Hi</h1><p>one <b>two</b> <a href="/x">x</a></p><script>alert(1)</script><ul><li>l</li></ul></body></html>'
  expect(readPage(bytes(html), 'text/html; charset=utf-8', false)).toEqual({
    contentType: 'text/html',
    title: 'A & B',
    text: '# Hi\n\none **two** [x](/x)\n\n-   l',
    truncated: false,
  })
})

test.each([
  ['text/plain', 'hello', 'hello'],
  ['application/json', '{"a":1}', '{"a":1}'],
  ['application/ld+json', '{}', '{}'],
  ['text/csv; charset="utf-8"', 'a,b', 'a,b'],
  [undefined, 'just text', 'just text'],
])('%s passes as it is', (type, source, text) => {
  expect(readPage(bytes(source), type, false)).toMatchObject({ text })
})

test('without a useful type HTML is recognised by its beginning', () => {
  expect(readPage(bytes('  <!DOCTYPE html><p>x'), undefined, false)).toMatchObject({ contentType: 'text/html', text: 'x' })
  expect(readPage(bytes('<html><p>x'), 'application/octet-stream', false)).toMatchObject({ text: 'x' })
})

test.each([
  ['image/png', '\x89PNG\r\n'],
  ['application/pdf', '%PDF-1.7'],
  ['text/html', '%PDF-1.7'],
  ['text/html', 'MZ\0\0'],
  ['application/zip', 'PK'],
  ['application/octet-stream', 'a\0b'],
  ['video/mp4', 'text'],
])('%s with %j is not text', (type, source) => {
  expect(readPage(new Uint8Array(Buffer.from(source, 'latin1')), type, false)).toBeNull()
})

test('charsets: header, meta, byte order mark, unknown', () => {
  const latin = new Uint8Array(Buffer.from('caf\xe9', 'latin1'))
  expect(readPage(latin, 'text/plain; charset=ISO-8859-1', false)?.text).toBe('café')
  expect(readPage(new Uint8Array(Buffer.from('<meta charset="iso-8859-1"><p>caf\xe9', 'latin1')), 'text/html', false)?.text).toBe('café')
  expect(readPage(new Uint8Array(Buffer.from('\ufeffcafé', 'utf16le')), 'text/plain', false)?.text).toBe('café')
  expect(readPage(bytes('café'), 'text/plain; charset=nonsense', false)?.text).toBe('café')
})

test('hostile nesting still gives its text', () => {
  const page = readPage(bytes(`${'<div>'.repeat(30_000)}deep${'</div>'.repeat(30_000)}`), 'text/html', false)
  expect(page?.text).toContain('deep')
})

test.each([
  ['open title tags', '<html>' + '<title '.repeat(70_000)],
  ['depth times length', '<html>' + '<div>'.repeat(30_000) + '<'.repeat(400_000)],
  ['open scripts', '<html>' + '<div>'.repeat(30_000) + '<script '.repeat(50_000)],
])('a page does not decide how long reading takes: %s', (_, html) => {
  const from = performance.now()
  expect(readPage(bytes(html), 'text/html', false)).not.toBeNull()
  expect(performance.now() - from).toBeLessThan(5_000)
})

test('parseContentType', () => {
  expect(parseContentType('Text/HTML; Charset="UTF-8"; x=y')).toEqual({ type: 'text/html', charset: 'utf-8' })
  expect(parseContentType(undefined)).toEqual({ type: '', charset: null })
})
