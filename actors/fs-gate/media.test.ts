import { Buffer } from 'node:buffer'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isFault } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { mediaOf, mediaType, readNotebook } from './media.ts'
import { readFile } from './read-tools.ts'
import { never, noLimits, refusal, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())
const put = (name: string, content: string | Uint8Array) => fs.writeFileSync(join(folder.root, name), content)
const read = (path: string, more: { offset?: number; limit?: number } = {}) =>
  readFile(folder.gate, { path, media: true, ...more }, noLimits, never)

/** A grey PNG. */
function png(width: number, height: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const head = Buffer.alloc(8)
    head.writeUInt32BE(data.length)
    head.write(type, 4, 'latin1')
    return Buffer.concat([head, data, Buffer.alloc(4)])
  }
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0])
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  const rows = deflateSync(Buffer.alloc(Math.min(height, 10) * (width + 1)))
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))])
}
const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64')
const pdf = Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n')

describe('images and PDF files', () => {
  test('come as they are, told by their bytes and not by their name', async () => {
    put('chart.txt', png(30, 20))
    put('dot', gif)
    put('paper.bin', pdf)
    expect(await read('chart.txt')).toMatchObject({
      text: '',
      as: 'image',
      size: png(30, 20).length,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      media: [{ type: 'image/png', width: 30, height: 20, data: png(30, 20) }],
    })
    expect((await read('dot')).media).toMatchObject([{ type: 'image/gif', width: 1, height: 1 }])
    expect(await read('paper.bin')).toMatchObject({ as: 'pdf', media: [{ type: 'application/pdf', data: pdf }] })
    put('picture.png', 'only text')
    expect(await read('picture.png')).toMatchObject({ text: 'only text', lines: 1 })
  })

  test('only to who asks for them', async () => {
    put('a.png', png(1, 1))
    expect(await refusal(() => readFile(folder.gate, { path: 'a.png' }, noLimits, never))).toBe('not-text')
  })

  test('too large, too many pixels, damaged: refused with the way out', async () => {
    put('large.png', Buffer.concat([png(1, 1), Buffer.alloc(limits.mediaBytes)]))
    put('wide.png', png(limits.imageSide + 1, 1))
    put('cut.png', png(1, 1).subarray(0, 12))
    put('cut.jpg', Buffer.from([0xff, 0xd8, 0xff, 0xe0]))
    for (const [name, code] of [
      ['large.png', 'too-large'],
      ['wide.png', 'too-large'],
      ['cut.png', 'not-text'],
      ['cut.jpg', 'not-text'],
    ] as const)
      expect(await refusal(() => read(name)), name).toBe(code)
  })

  test('any bytes are one of these, or none', () => {
    const head = fc.constantFrom(png(3, 3).subarray(0, 24), gif, Buffer.from([0xff, 0xd8, 0xff]), Buffer.from('RIFF\0\0\0\0WEBPVP8 '))
    fc.assert(
      fc.property(head, fc.uint8Array({ maxLength: 200 }), fc.nat(30), (start, rest, cut) => {
        const bytes = Buffer.concat([start.subarray(0, cut), rest])
        const type = mediaType(bytes)
        if (type === null) return
        try {
          expect(mediaOf(type, bytes, 'x').type).toBe(type)
        } catch (error) {
          expect(isFault(error)).toBe(true)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('notebooks', () => {
  const notebook = {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {},
    cells: [
      { cell_type: 'markdown', metadata: {}, source: ['# Sales\n', 'by region'] },
      {
        cell_type: 'code',
        metadata: {},
        execution_count: 1,
        source: 'print(total)\nplot()',
        outputs: [
          { output_type: 'stream', name: 'stdout', text: ['42\n'] },
          { output_type: 'display_data', metadata: {}, data: { 'image/png': png(4, 5).toString('base64'), 'text/plain': '<Figure>' } },
          { output_type: 'execute_result', metadata: {}, data: { 'text/html': '<b>', 'text/plain': ['3'] } },
          { output_type: 'error', ename: 'ValueError', evalue: 'bad', traceback: [] },
        ],
      },
    ],
  }

  test('are read as cells with their outputs and pictures', async () => {
    put('a.ipynb', JSON.stringify(notebook))
    const { text, as, media } = await read('a.ipynb')
    expect(text).toBe(
      [
        '[cell 1, markdown]\n# Sales\nby region\n',
        '[cell 2, code]\nprint(total)\nplot()\n[output of cell 2]\n42\n[output of cell 2]\n(image/png: picture 1)\n',
        '[output of cell 2]\n3\n[output of cell 2]\nValueError: bad\n',
      ].join(''),
    )
    expect(as).toBe('notebook')
    expect(media).toMatchObject([{ type: 'image/png', width: 4, height: 5 }])
    expect(await read('a.ipynb', { offset: 2, limit: 1 })).toMatchObject({ text: '# Sales\n', truncated: true, media: [] })
  })

  test('what is no notebook is text', async () => {
    put('b.ipynb', '{"cells": 3}\n')
    expect(await read('b.ipynb')).toMatchObject({ text: '{"cells": 3}\n' })
    expect((await read('b.ipynb')).as).toBe(undefined)
  })

  test('any JSON is one or none, and shows no more pictures than are sent', () => {
    const picture = fc.constantFrom(png(2, 2).toString('base64'), 'AAAA', '')
    const data = fc.record({ 'image/png': fc.oneof(picture, fc.array(picture)), 'text/plain': fc.anything() }, { requiredKeys: [] })
    const output = fc.record(
      { output_type: fc.string(), text: fc.oneof(fc.string(), fc.anything()), data },
      { requiredKeys: ['output_type'] },
    )
    const cell = fc.record({ cell_type: fc.string(), source: fc.oneof(fc.string(), fc.array(fc.string())), outputs: fc.array(output) })
    fc.assert(
      fc.property(fc.oneof(fc.record({ nbformat: fc.constant(4), cells: fc.array(cell) }), fc.json()), (value) => {
        const found = readNotebook(typeof value === 'string' ? value : JSON.stringify(value))
        expect(found === null || found.media.length <= limits.notebookPictures).toBe(true)
      }),
    )
  })
})
