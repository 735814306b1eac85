import { expect, test } from 'vitest'
import { pageRange, pagesNote, pagesOf } from './page-range.ts'

test.each([
  ['3', { first: 3, last: 3 }],
  ['3-5', { first: 3, last: 5 }],
  ['3-', { first: 3 }],
])('%s', (text, pages) => {
  expect(pagesOf(pageRange.parse(text))).toEqual(pages)
})

test.each(['', '0', '-3', '5-3', '1,2', 'all', '3-5-7', '123456'])('%j names no pages', (text) => {
  expect(pageRange.safeParse(text).success).toBe(false)
})

test('what is left is said', () => {
  expect(pagesNote({ first: 1, last: 100, of: 120 })).toBe('(pages 1 to 100 of 120; read on with pages 101-)')
  expect(pagesNote({ first: 1, last: 3, of: 3 })).toBe('(pages 1 to 3 of 3)')
})
