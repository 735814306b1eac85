import * as fs from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { editFile } from './change-tools.ts'
import { decode, encode, Utf8Pieces } from './encoding.ts'
import { readFile } from './read-tools.ts'
import { grepFiles } from './search-tools.ts'
import { never, noLimits, refusal, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())
const put = (name: string, bytes: Uint8Array) => fs.writeFileSync(join(folder.root, name), bytes)
const on = (name: string) => fs.readFileSync(join(folder.root, name))
const edit = (path: string, oldText: string, newText: string) => editFile(folder.gate, { path, oldText, newText }, noLimits, never)

const samples = {
  'utf-16le': Buffer.from('\ufeffGrüße\r\nzwei\r\n', 'utf16le'),
  'utf-16be': Buffer.from('\ufeffGrüße\r\nzwei\r\n', 'utf16le').swap16(),
  'windows-1252': Buffer.from([0x47, 0x72, 0xfc, 0xdf, 0x65, 0x20, 0x80, 0x0d, 0x0a, 0x7a, 0x77, 0x65, 0x69, 0x0d, 0x0a]),
} as const

test.each(Object.entries(samples))('%s is read, found, and edited in place', async (encoding, bytes) => {
  put('a', bytes)
  const reply = await readFile(folder.gate, { path: 'a' }, noLimits, never)
  expect(reply).toMatchObject({ encoding, lines: 2, size: bytes.length })
  expect(reply.text).toContain('Grüße')
  const { matches } = await grepFiles(folder.gate, { pattern: 'zwei$' }, noLimits, never)
  expect(matches).toMatchObject([{ path: 'a', line: 2 }])
  await edit('a', 'zwei', 'drei')
  const decoded = decode(on('a'))
  expect(decoded).toEqual({ encoding, text: decode(bytes)?.text.replace('zwei', 'drei') })
})

test('line ends stay CRLF where they are that throughout', async () => {
  put('a', Buffer.from('one\r\ntwo\r\nthree\r\n'))
  await edit('a', 'one\ntwo', '1\n2')
  expect(on('a').toString()).toBe('1\r\n2\r\nthree\r\n')
  put('mixed', Buffer.from('one\r\ntwo\nthree\r\n'))
  expect(await refusal(() => edit('mixed', 'one\ntwo', 'x'))).toBe('no-match')
})

test('a character the encoding lacks is refused, and nothing is written', async () => {
  put('a', samples['windows-1252'])
  expect(await refusal(() => edit('a', 'zwei', '二'))).toBe('not-text')
  expect(on('a')).toEqual(samples['windows-1252'])
})

test('whatever counts as text comes back as the same bytes', () => {
  const mark = fc.constantFrom<number[]>([], [0xff, 0xfe], [0xfe, 0xff], [0xef, 0xbb, 0xbf])
  fc.assert(
    fc.property(mark, fc.uint8Array({ maxLength: 60 }), (start, rest) => {
      const bytes = Buffer.from([...start, ...rest])
      const found = decode(bytes)
      if (found) expect(encode(found.text, found.encoding)).toEqual(bytes)
    }),
    { numRuns: 300 },
  )
})

test('UTF-8 that comes in pieces is what it is in one', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
        fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      ),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
      (bytes, sizes) => {
        const pieces = new Utf8Pieces()
        let text: string | null = ''
        for (let at = 0, index = 0; at < bytes.length && text !== null; index += 1) {
          const size = sizes[index % sizes.length] as number
          const more: string | null = pieces.add(bytes.subarray(at, at + size))
          text = more === null ? null : text + more
          at += size
        }
        const whole = text !== null && pieces.isWhole ? text : null
        let expected: string | null = null
        try {
          expected = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
        } catch {
          // It is not UTF-8.
        }
        expect(whole).toBe(expected)
      },
    ),
    { numRuns: 300 },
  )
})
