/** The main job, as the README promises it: an agent reads a folder, computes in the VM and writes a report, with no key and no set-up. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { madeUpTable } from '../harness/made-up-csv.ts'
import { asPromptEnd, checkout, type Home, openHome } from '../harness/product.ts'
import { totalsOf, wrongTotals } from '../harness/report.ts'

const task = 'Total the sales by region and write report.md'
const sales = join(checkout, 'examples', 'sales')
const salesTables = () => readdirSync(sales).filter((name) => name.endsWith('.csv'))
const salesTotals = () =>
  totalsOf(
    salesTables().map((name) => readFileSync(join(sales, name), 'utf8')),
    'region',
    'amount',
  )

let home: Home
beforeAll(() => {
  home = openHome()
})
afterAll(() => home.close())

describe('the shipped example', () => {
  test('ends 0 with a right report, and says truthfully what happened on the way', async () => {
    const folder = home.copyOf(sales, 'sales')
    const run = await home.prompt(task, ['--folder', folder, '--approve', 'all'])
    expect(run.code, run.story).toBe(0)
    expect(run.result).toMatchObject({ status: 'done', toolCalls: run.calls.length })
    expect(wrongTotals(readFileSync(join(folder, 'report.md'), 'utf8'), salesTotals())).toEqual([])

    expect(run.stray, 'stdout holds JSON lines and nothing else').toEqual([])
    for (const [index, event] of run.events.entries()) {
      expect(typeof event.type).toBe('string')
      expect(Date.parse(event.ts), `ts of ${JSON.stringify(event)}`).toBeGreaterThan(0)
      if (index > 0) expect(event.seq, 'seq grows').toBeGreaterThan(run.events[index - 1]?.seq ?? 0)
    }
    expect(run.events.some(({ type }) => type === 'session')).toBe(true)
    expect(run.events.filter(({ type }) => type === 'result')).toHaveLength(1)
    expect(
      run.calls.map(({ name }) => name),
      'it computed in the VM and wrote through the gate',
    ).toEqual(expect.arrayContaining(['Bash', 'Write']))
    expect(run.results.map(({ ok }) => ok)).not.toContain(false)
    expect(run.events.filter(({ type, decision }) => type === 'permission' && decision === 'allow').length).toBeGreaterThan(0)
    expect(`${run.stdout}${run.stderr}`, 'says who answers').toMatch(/practice model/i)
  })

  test('leaves the other files of the folder alone', async () => {
    const folder = home.copyOf(sales, 'untouched')
    await home.prompt(task, ['--folder', folder, '--approve', 'all'])
    expect(readdirSync(folder).toSorted()).toEqual([...readdirSync(sales), 'report.md'].toSorted())
    for (const name of readdirSync(sales)) expect(readFileSync(join(folder, name)).equals(readFileSync(join(sales, name))), name).toBe(true)
  })
})

describe('a table made up on the spot', () => {
  test.each([
    { shape: 'semicolons, quotes and line breaks in cells, thousands separators', separator: ';', thousands: true },
    { shape: 'tabs', separator: '\t', thousands: false },
    { shape: 'commas, thousands separators inside quotes', separator: ',', thousands: true },
  ] as const)('is totalled rightly: $shape', async ({ separator, thousands }) => {
    const { csv, group, amount, totals } = madeUpTable({ separator, thousands })
    const folder = home.folder(`made-up-${separator.charCodeAt(0)}`)
    writeFileSync(join(folder, 'data.csv'), csv)
    const run = await home.prompt(`Total the ${amount} by ${group} and write report.md`, ['--folder', folder, '--approve', 'all'])
    expect(run.code, run.story).toBe(0)
    expect(wrongTotals(readFileSync(join(folder, 'report.md'), 'utf8'), totals), csv).toEqual([])
  })
})

describe('approval', () => {
  test('ask: each question is answered on the terminal, and the report is written', async () => {
    const folder = home.copyOf(sales, 'asked')
    const run = home.start(['run', '--folder', folder, '--approve', 'ask', '--json', task], { input: true })
    run.type('1\n'.repeat(9))
    const ended = asPromptEnd(await run.ended)
    expect(ended.code, ended.story).toBe(0)
    expect(wrongTotals(readFileSync(join(folder, 'report.md'), 'utf8'), salesTotals())).toEqual([])
    expect(ended.stray).toEqual([])
    const permissions = ended.events.filter(({ type, decision }) => type === 'permission' && decision === 'allow')
    expect(permissions.map(({ tool }) => tool)).toEqual(expect.arrayContaining(['Bash', 'Write']))
  })

  test('ask, answered no: nothing is written and the run says it was refused', async () => {
    const folder = home.copyOf(sales, 'declined')
    const run = home.start(['run', '--folder', folder, '--approve', 'ask', '--json', task], { input: true })
    run.type('3\n'.repeat(9))
    const ended = asPromptEnd(await run.ended)
    expect({ code: ended.code, status: ended.result.status }, ended.story).toEqual({ code: 3, status: 'refused' })
    expect(existsSync(join(folder, 'report.md'))).toBe(false)
  })

  test('none: whatever would ask is refused, nothing is written', async () => {
    const folder = home.copyOf(sales, 'refused')
    const run = await home.prompt(task, ['--folder', folder, '--approve', 'none'])
    expect({ code: run.code, status: run.result.status }, run.story).toEqual({ code: 3, status: 'refused' })
    expect(readdirSync(folder).toSorted()).toEqual(readdirSync(sales).toSorted())
    const refused = run.results.filter(({ ok }) => ok === false)
    expect(refused.length).toBeGreaterThan(0)
    for (const { error } of refused) expect(error).toMatchObject({ code: 'denied', remedy: expect.stringMatching(/\w/) })
  })

  test('ask with nobody to answer is a refusal, not a hang', async () => {
    const folder = home.copyOf(sales, 'nobody')
    const run = await home.prompt(task, ['--folder', folder, '--approve', 'ask'])
    expect({ code: run.code, status: run.result.status }, run.story).toEqual({ code: 3, status: 'refused' })
    expect(existsSync(join(folder, 'report.md'))).toBe(false)
  })

  test('a folder connected :ro stays as it is, whatever is approved', async () => {
    const folder = home.copyOf(sales, 'ro')
    const run = await home.prompt(task, ['--folder', `${folder}:ro`, '--approve', 'all'])
    expect(run.results.some(({ error }) => (error as { code?: string } | undefined)?.code === 'read-only')).toBe(true)
    expect(readdirSync(folder).toSorted()).toEqual(readdirSync(sales).toSorted())
  })
})

test('for people: the answer and what was done on stdout, with no JSON in sight', async () => {
  const folder = home.copyOf(sales, 'people')
  const run = await home.call(['run', '--folder', folder, '--approve', 'all', task])
  expect(run.code, run.story).toBe(0)
  expect(run.stdout).toMatch(/report\.md/)
  expect(`${run.stdout}${run.stderr}`).toMatch(/practice model/i)
  expect(run.events).toEqual([])
})
