import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { pdfFile } from './testing/pdf-file.ts'

const before = process.listeners('unhandledRejection')
const { readPdf } = await import('./pdf.ts')
/** The reader's own. */
const own = process.listeners('unhandledRejection').filter((listener) => !before.includes(listener))

const never = new AbortController().signal
const read = (bytes: Uint8Array<ArrayBuffer>, more: { first?: number; last?: number } = {}) => readPdf({ bytes, ...more }, never)

test('the text of each page, line by line, and what it is called', async () => {
  const bytes = pdfFile([['Hello', 'second line'], ['Page two']], 'A title')
  expect(await read(bytes)).toEqual({
    title: 'A title',
    text: '--- page 1 ---\nHello\nsecond line\n\n--- page 2 ---\nPage two',
    first: 1,
    last: 2,
    pages: 2,
    truncated: false,
  })
})

test('pages by number', async () => {
  const bytes = pdfFile(Array.from({ length: 120 }, (_, n) => [`number ${n + 1}`]))
  const all = await read(bytes)
  expect(all).toMatchObject({ first: 1, last: 100, pages: 120, truncated: false })
  expect(await read(bytes, { first: 101 })).toMatchObject({ first: 101, last: 120 })
  expect((await read(bytes, { first: 7, last: 7 })).text).toBe('--- page 7 ---\nnumber 7')
  expect(await read(bytes, { first: 119, last: 500 })).toMatchObject({ first: 119, last: 120 })
  await expect(read(bytes, { first: 121 })).rejects.toMatchObject({ code: 'unsupported-content', cause: 'The document has 120.' })
  await expect(read(bytes, { first: 5, last: 4 })).rejects.toMatchObject({ code: 'unsupported-content' })
})

test('a page without text says so', async () => {
  expect((await read(pdfFile([[]]))).text).toBe('--- page 1 ---\n(no text: perhaps a picture)')
})

test('what is no PDF file is refused with a reason', async () => {
  for (const text of ['', '%PDF-1.7', 'hello', '%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer <<>>'])
    await expect(read(new TextEncoder().encode(text))).rejects.toMatchObject({ code: 'unsupported-content' })
})

test('a damaged file is read as far as it can be, or refused; nothing else, and nothing afterwards', async () => {
  const whole = pdfFile([['one'], ['two']])
  // As in the actor's process: nobody but the reader hears of what is rejected unheard.
  const others = process.listeners('unhandledRejection').filter((listener) => !own.includes(listener))
  for (const listener of others) process.off('unhandledRejection', listener)
  onTestFinished(() => {
    for (const listener of others) process.on('unhandledRejection', listener)
  })
  // Several of pdf.js's own, after its answer: a dictionary that does not end.
  const late = whole.slice()
  for (const [at, byte] of [
    [486, 48],
    [323, 64],
    [235, 9],
    [616, 182],
    [73, 153],
    [431, 29],
    [93, 121],
    [491, 203],
    [253, 186],
  ] as const)
    late[at] = byte
  expect((await read(late.slice(0, whole.length - (904 % 40)))).text).toContain('(no text')
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 20 }),
      fc.nat(whole.length),
      async (changes, cut) => {
        const bytes = whole.slice()
        for (const [at, byte] of changes) bytes[at] = byte
        const result = await read(bytes.slice(0, whole.length - (cut % 40))).catch((error: { code?: string }) => error.code)
        return result === 'unsupported-content' || (typeof result === 'object' && typeof result.text === 'string')
      },
    ),
    { numRuns: 60 },
  )
})
