/** The log of what really ran is taken again by the machines: nothing but what is in the log decided anything. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Home, openHome } from '../harness/product.ts'

let home: Home
beforeAll(() => {
  home = openHome({ env: { BULKHEAD_VM: 'off' } })
})
afterAll(() => home.close())

test('a session with reads, a write and a refusal, gone on with after the daemon ended, replays without a difference', async () => {
  const folder = home.folder('notes')
  writeFileSync(join(folder, 'plan.md'), 'The quince goes behind the shed.\n')
  const args = ['--folder', folder, '--approve', 'all', '--session', 'replayed']
  for (const prompt of ['Read plan.md', 'Write "buy twine" to errands.txt', 'Fetch https://example.com/']) {
    const run = await home.prompt(prompt, args)
    expect(run.events.length, run.story).toBeGreaterThan(0)
  }
  await home.call(['daemon', 'stop'])
  await home.prompt('Read errands.txt', ['--session', 'replayed'])
  // Also while the daemon still writes the log.
  for (const running of [true, false]) {
    if (!running) await home.call(['daemon', 'stop'])
    const replayed = await home.call(['replay', 'replayed', '--json'])
    const report = JSON.parse(replayed.stdout) as { actors: string[]; steps: number; divergences: unknown[]; skipped: unknown[] }
    expect({ code: replayed.code, divergences: report.divergences, skipped: report.skipped }).toEqual({
      code: 0,
      divergences: [],
      skipped: [],
    })
    expect(report.actors).toEqual(expect.arrayContaining(['conversation:replayed', 'consent', 'egress', 'fs-gate:replayed.notes']))
    expect(report.steps).toBeGreaterThan(50)
  }
  expect(await home.call(['replay', 'never-was'])).toMatchObject({ code: 3 })
  expect(await home.call(['replay'])).toMatchObject({ code: 2 })
})
