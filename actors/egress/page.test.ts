import { expect, test } from 'vitest'
import { limits } from './limits.ts'
import { parseContentType, tellApart } from './page.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test.each([
  ['text/plain', 'hello', 'hello'],
  ['application/json', '{"a":1}', '{"a":1}'],
  ['application/ld+json', '{}', '{}'],
  ['text/csv; charset="utf-8"', 'a,b', 'a,b'],
  [undefined, 'just text', 'just text'],
])('%s passes as it is', (type, source, text) => {
  expect(tellApart(bytes(source), type, false)).toMatchObject({ kind: 'text', text })
})

test('without a useful type HTML is recognised by its beginning', () => {
  expect(tellApart(bytes('  <!DOCTYPE html><p>x'), undefined, false)).toMatchObject({ contentType: 'text/html', kind: 'html' })
  expect(tellApart(bytes('<html><p>x'), 'application/octet-stream', false)).toMatchObject({ kind: 'html', html: '<html><p>x' })
})

test.each([
  ['image/png', '\x89PNG\r\n'],
  ['text/html', 'MZ\0\0'],
  ['application/zip', 'PK'],
  ['application/octet-stream', 'a\0b'],
  ['video/mp4', 'text'],
])('%s with %j is not text', (type, source) => {
  expect(tellApart(new Uint8Array(Buffer.from(source, 'latin1')), type, false)).toBeNull()
})

test('charsets: header, meta, byte order mark, unknown', () => {
  const text = (source: Uint8Array, type: string) => {
    const arrived = tellApart(source, type, false)
    return arrived?.kind === 'text' ? arrived.text : arrived?.kind === 'html' ? arrived.html : null
  }
  const latin = new Uint8Array(Buffer.from('caf\xe9', 'latin1'))
  expect(text(latin, 'text/plain; charset=ISO-8859-1')).toContain('café')
  expect(text(new Uint8Array(Buffer.from('<meta charset="iso-8859-1"><p>caf\xe9', 'latin1')), 'text/html')).toContain('café')
  expect(text(new Uint8Array(Buffer.from('\ufeffcafé', 'utf16le')), 'text/plain')).toContain('café')
  expect(text(bytes('café'), 'text/plain; charset=nonsense')).toContain('café')
})

test('a PDF file is told by its bytes, not by what the server calls it', () => {
  for (const type of ['text/html', 'application/pdf', undefined]) expect(tellApart(bytes('%PDF-1.7'), type, false)?.kind).toBe('pdf')
  expect(tellApart(bytes('not one'), 'application/pdf', false)).toBeNull()
})

test('what is too long is cut, and says so', () => {
  const long = bytes('x'.repeat(limits.htmlChars + 1))
  const html = tellApart(long, 'text/html', false)
  expect([html?.kind === 'html' && html.truncated, html?.kind === 'html' && html.html.length]).toEqual([true, limits.htmlChars])
  const text = tellApart(long, 'text/plain', false)
  expect([text?.kind === 'text' && text.truncated, text?.kind === 'text' && text.text.length]).toEqual([true, limits.textChars])
  expect(tellApart(bytes('x'), 'text/plain', true)).toMatchObject({ truncated: true })
})

test('parseContentType', () => {
  expect(parseContentType('Text/HTML; Charset="UTF-8"; x=y')).toEqual({ type: 'text/html', charset: 'utf-8' })
  expect(parseContentType(undefined)).toEqual({ type: '', charset: null })
})
