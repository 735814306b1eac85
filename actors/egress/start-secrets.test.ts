/** What egress inherits at start. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { modelKeyOf, readStartSecrets } from './start-secrets.ts'

const key = 'sk-ant-made-up'

test.each([
  ['{"ANTHROPIC_API_KEY":" sk-1 "}', 'sk-1'],
  ['{}', null],
  ['{"ANTHROPIC_API_KEY":""}', null],
])('secrets %s', (text, expected) => {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'egress-')), 'secrets')
  fs.writeFileSync(file, text)
  const fd = fs.openSync(file, 'r')
  expect(modelKeyOf(readStartSecrets(fd))).toBe(expected)
  // Again, as after a restart.
  expect(modelKeyOf(readStartSecrets(fd))).toBe(expected)
  fs.closeSync(fd)
  fs.rmSync(path.dirname(file), { recursive: true })
})

test('a spoilt descriptor is reported without its content', () => {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'egress-')), 'secrets')
  fs.writeFileSync(file, `{"ANTHROPIC_API_KEY": ${key}`)
  const fd = fs.openSync(file, 'r')
  let thrown: unknown
  try {
    modelKeyOf(readStartSecrets(fd))
  } catch (error) {
    thrown = error
  }
  expect(thrown).toMatchObject({ code: 'internal' })
  expect(JSON.stringify(thrown)).not.toContain(key)
  fs.closeSync(fd)
})
