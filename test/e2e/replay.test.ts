/** The log of what really ran is taken again by the machines: nothing but what is in the log decided anything. */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { messageLogName } from '../../kernel/message-log.ts'
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

test('each of its steps is one that the models know; in a log that says otherwise the first such step is named', async () => {
  const checked = await home.call(['check', '--conform', 'replayed', '--json'])
  const { results } = JSON.parse(checked.stdout) as { results: { actor: string; conforms: boolean | null; steps: number }[] }
  expect([checked.code, results.filter(({ conforms }) => conforms === false)]).toEqual([0, []])
  const compared = results.filter(({ conforms, steps }) => conforms && steps > 1).map(({ actor }) => actor)
  expect(compared).toEqual(expect.arrayContaining(['conversation:replayed', 'fs-gate:replayed.notes']))

  const copy = join(home.dir, 'copy')
  mkdirSync(copy)
  for (const name of [messageLogName, `${messageLogName}-wal`])
    if (existsSync(join(home.state, name))) copyFileSync(join(home.state, name), join(copy, name))
  const log = new DatabaseSync(join(copy, messageLogName))
  log.exec(
    `UPDATE lines SET value = '"elsewhere"' WHERE n = 3 AND span = (SELECT min(id) FROM spans WHERE actor = 'conversation:replayed')`,
  )
  log.close()
  const strayed = await home.call(['check', '--conform', 'replayed'], { env: { BULKHEAD_HOME: copy } })
  expect(strayed.code).toBe(3)
  expect(strayed.stdout).toMatch(/DOES NOT CONFORM: conversation:replayed, span \d+, line 3, .*then it was in "elsewhere"/)
})
