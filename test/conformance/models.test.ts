/** The machines that run are the machines that are explored: every actor's model.ts, every order of events it allows. */
import { globSync } from 'node:fs'
import { expect, test } from 'vitest'
import { check } from '../../checker/explore.ts'
import type { Model } from '../../checker/model.ts'

const root = new URL('../../', import.meta.url)
const models = globSync('actors/*/model.ts', { cwd: root }).toSorted()

test('there are models to check', () => expect(models).toContain('actors/vm-supervisor/model.ts'))

test.each(models)('%s: every property holds in every state', async (path) => {
  const { model } = (await import(new URL(path, root).href)) as { model: Model }
  const result = check(model)
  expect(
    result.violations.map(({ kind, property, detail, trace }) => ({
      kind,
      property,
      detail,
      trace: trace.steps.map(({ label }) => label),
    })),
  ).toEqual([])
  expect(result.complete).toBe(true)
})
