import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { Output } from './output.ts'

function setUp(credit: number): { output: Output; stdout: PassThrough; sent: string[]; settle(): Promise<void> } {
  const sent: string[] = []
  const output = new Output(credit, (stream, bytes) => sent.push(`${stream}:${Buffer.from(bytes).toString()}`))
  const stdout = new PassThrough()
  output.read('stdout', stdout)
  return { output, stdout, sent, settle: () => new Promise((resolve) => setTimeout(resolve, 5)) }
}

test('no more is sent than there is credit for, and nothing is lost', async () => {
  const { output, stdout, sent, settle } = setUp(4)
  stdout.write('abcdef')
  stdout.write('ghij')
  await settle()
  expect(sent).toEqual(['stdout:abcd'])
  expect(output.quietFor()).toBe(0)
  output.give(1)
  expect(sent.at(-1)).toBe('stdout:e')
  output.give(100)
  stdout.end()
  await output.ended()
  expect(sent.map((one) => one.slice(7)).join('')).toBe('abcdefghij')
})

test('a writer is held back while credit is missing', async () => {
  const { output, stdout, settle } = setUp(0)
  stdout.write('x')
  await settle()
  expect(stdout.isPaused()).toBe(true)
  output.give(10)
  expect(stdout.isPaused()).toBe(false)
})

test('it ends after the last byte, not before', async () => {
  const { output, stdout, sent, settle } = setUp(1)
  let ended = false
  void output.ended().then(() => (ended = true))
  stdout.end('ab')
  await settle()
  expect(ended).toBe(false)
  output.give(1)
  await settle()
  expect([ended, sent]).toEqual([true, ['stdout:a', 'stdout:b']])
})

test('discarded output goes nowhere and holds nobody back', async () => {
  const { output, stdout, sent, settle } = setUp(0)
  stdout.write('a')
  await settle()
  output.discard()
  stdout.write('b')
  await settle()
  output.give(10)
  expect(sent).toEqual([])
  expect(stdout.isPaused()).toBe(false)
})
