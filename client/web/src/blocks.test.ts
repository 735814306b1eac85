import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { closed, splitBlocks } from './blocks.ts'

describe('blocks', () => {
  test.each([
    ['one\n\ntwo', ['one\n', 'two']],
    ['```\na\n\nb\n```\n\nafter', ['```\na\n\nb\n```\n', 'after']],
    ['- a\n\n- b\n\ntext', ['- a\n\n- b\n', 'text']],
    ['1. a\n\n   more\n\n2. b', ['1. a\n\n   more\n\n2. b']],
    ['text\n\n- a', ['text\n', '- a']],
    ['~~~\n```\n\nx\n~~~\n\ny', ['~~~\n```\n\nx\n~~~\n', 'y']],
    ['\n\n', []],
  ])('%j', (text, blocks) => {
    expect(splitBlocks(text)).toEqual(blocks)
  })

  test('together are the text again', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', '', '- b', '```', '  c', '1. d', '# e')), (lines) => {
        const text = lines.join('\n')
        const rest = (value: string) => value.split('\n').filter((line) => line.trim() !== '')
        expect(rest(splitBlocks(text).join('\n'))).toEqual(rest(text))
      }),
    )
  })

  test('what streamed before stays as it was when more comes', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a\n', '\n', 'b', '```\n', '- c\n'), { maxLength: 12 }), (pieces) => {
        let text = ''
        let before: string[] = []
        for (const piece of pieces) {
          text += piece
          const now = splitBlocks(text)
          // The last block may still change, and with it whether it is a list that goes on.
          expect(now.slice(0, Math.max(0, before.length - 1))).toEqual(before.slice(0, -1))
          before = now
        }
      }),
    )
  })
})

test.each([
  ['some **bold', 'some **bold**'],
  ['some `code', 'some `code`'],
  ['```js\nconst a', '```js\nconst a\n```'],
  ['whole', 'whole'],
])('half of %j is closed', (text, whole) => {
  expect(closed(text)).toBe(whole)
})
