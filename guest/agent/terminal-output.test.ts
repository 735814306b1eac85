import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { TerminalOutput } from './terminal-output.ts'

function setUp(credit: number) {
  const sent: string[] = []
  const from = new PassThrough()
  const output = new TerminalOutput(credit, from, (bytes) => sent.push(Buffer.from(bytes).toString()))
  return { output, from, sent }
}

test('no more is sent than there is credit for, and nothing is lost', async () => {
  const { output, from, sent } = setUp(4)
  from.write('abcdef')
  from.write('ghij')
  await turn()
  expect(sent).toEqual(['abcd'])
  output.give(1)
  expect(sent.at(-1)).toBe('e')
  output.give(100)
  from.end()
  await output.finish(() => false)
  expect(sent.join('')).toBe('abcdefghij')
})

test('a writer is held back while credit is missing', async () => {
  const { output, from } = setUp(0)
  from.write('x')
  await turn()
  expect(from.isPaused()).toBe(true)
  output.give(10)
  expect(from.isPaused()).toBe(false)
})

test('it ends after the last byte, not before', async () => {
  const { output, from, sent } = setUp(1)
  let ended = false
  const finished = output.finish(() => true).then(() => (ended = true))
  from.end('ab')
  await turn()
  expect(ended).toBe(false)
  output.give(1)
  await finished
  expect(sent).toEqual(['a', 'b'])
})

test('quiet ends it when writers are left behind, and only then', async () => {
  const { output, from, sent } = setUp(10)
  let left = false
  let ended = false
  const finished = output.finish(() => left).then(() => (ended = true))
  from.write('a')
  await expect.poll(() => sent).toEqual(['a'])
  expect(ended).toBe(false)
  left = true
  await finished
})

test('discarded output goes nowhere and holds nobody back', async () => {
  const { output, from, sent } = setUp(0)
  from.write('a')
  await turn()
  output.discard()
  from.write('b')
  await turn()
  output.give(10)
  expect(sent).toEqual([])
  expect(from.isPaused()).toBe(false)
})
