import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createWrapper } from './wrap.ts'

function wrap(pieces: readonly string[], columns: number): string {
  const wrapper = createWrapper(() => columns)
  return pieces.map((piece) => wrapper.push(piece)).join('') + wrapper.end()
}

test('breaks at spaces, also where a word came in pieces; a word longer than a line is left to the terminal', () => {
  expect(wrap(['one two th', 'ree four'], 9)).toBe('one two\nthree\nfour')
  expect(wrap(['a ', 'incomprehensible', ' b'], 8)).toBe('a\nincomprehensible\nb')
  expect(wrap(['你好 世界 再见'], 10)).toBe('你好 世界\n再见')
  expect(wrap(['\u001b[31mred\u001b[39m and blue'], 8)).toBe('\u001b[31mred\u001b[39m and\nblue')
  expect(wrap(['  - item that is long'], 14)).toBe('  - item that\nis long')
})

test('where the width is not known nothing changes', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (pieces) => {
      expect(wrap(pieces, 0)).toBe(pieces.join(''))
    }),
  )
})

const text = fc.array(fc.constantFrom('a', 'word', ' ', '  ', '\n', 'longer-word-than-a-line', '-'))

test('only a space before a word becomes a break, and no line is longer than it must be', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 5, max: 20 }), (pieces, columns) => {
      const wrapped = wrap(pieces, columns)
      expect(wrapped.replaceAll(/\s+/g, ' ').trim()).toBe(pieces.join('').replaceAll(/\s+/g, ' ').trim())
      for (const line of wrapped.split('\n')) {
        const words = line.trimEnd()
        if (words.trimStart().includes(' ')) expect(words.length).toBeLessThanOrEqual(columns)
      }
    }),
  )
})
