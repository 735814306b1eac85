/**
 * The machines that run are the machines that are explored: every actor's model.ts and every system, every order of events they allow. The
 * sizes are those of seconds; `npm run check:full` has the larger ones.
 */
import { afterAll, expect, test } from 'vitest'
import { check } from '../../checker/explore.ts'
import { subjects } from '../../checker/subjects.ts'

const all = subjects()
const rows: string[] = []

test('there are models to check', () => {
  expect(all.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'vm-supervisor',
      'consent',
      'conversation',
      'mcp-host',
      'egress',
      'fs-gate',
      'gateway',
      'kernel',
      'users',
      'whole',
    ]),
  )
})

test.each(all)('$name: every property holds in every state', async ({ name, load }) => {
  const result = check(await load('small'))
  rows.push(`| ${name} | ${result.states} | ${result.transitions} | ${result.expansions} | ${result.depth} |`)
  expect(
    result.violations.map(({ kind, property, detail, trace }) => ({
      kind,
      property,
      detail,
      trace: trace.steps.map(({ actor, label }) => `${actor}: ${label}`),
    })),
  ).toEqual([])
  expect(result.complete).toBe(true)
  // None of those that speak of whole runs holds for want of cases.
  expect(result.properties.filter(({ vacuous }) => vacuous)).toEqual([])
})

afterAll(() => {
  process.stdout.write(`${['| model | states | transitions | local | depth |', '| --- | --- | --- | --- | --- |', ...rows].join('\n')}\n`)
})
