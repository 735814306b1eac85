/** A counterexample becomes a test against the running kernel. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { eventsOf, traceTest } from './counterexample.ts'
import { check } from './explore.ts'
import { createKernelReplay } from './kernel-replay.ts'
import { machine, model } from './testing/seeded.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const [violation] = check(model).violations
if (!violation) throw new Error('The bug was not found.')

test('the way to the bug can be gone in the running kernel, step by step', async () => {
  const events = eventsOf(violation.trace)
  expect(events.map(({ event: { type } }) => type)).toEqual(expect.arrayContaining(['open', 'look.clear', 'replied', 'lock']))
  const replay = await createKernelReplay({ machine, input: null, events })
  const values: unknown[] = []
  for (const { event } of events) values.push(await replay.step(event))
  await replay.stop()
  expect(values).toEqual(events.map(({ value }) => value))
  expect(values.at(-1)).toBe('wide')
})

test('a way that cannot be gone is not', async () => {
  const events = [{ event: { type: 'xstate.after.swing.(machine).swinging' }, value: 'wide' }]
  const replay = await createKernelReplay({ machine, input: null, events })
  await expect(replay.step(events[0]?.event as { type: string })).rejects.toThrow('no effect has run yet')
  await replay.stop()
})

test('as a file: it passes as it was generated, and fails when it says otherwise', async () => {
  const dir = mkdtempSync(join(root, 'checker/generated-'))
  const text = traceTest('door', violation, { door: { from: '../testing/seeded.ts', input: null } })
  const run = async (name: string, content: string): Promise<string> => {
    const file = join(dir, name)
    writeFileSync(file, content)
    const vitest = join(root, 'node_modules/vitest/vitest.mjs')
    return promisify(execFile)(process.execPath, [vitest, 'run', '--project', 'unit', file], { cwd: root }).then(
      ({ stdout }) => stdout,
      ({ stdout }: { stdout: string }) => stdout,
    )
  }
  try {
    expect(await run('as-it-is.test.ts', text)).toMatch(/1 passed/)
    expect(await run('otherwise.test.ts', text.replace('"value": "wide"', '"value": "shut"'))).toMatch(/1 failed/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
