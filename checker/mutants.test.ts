import { expect, test } from 'vitest'
import { model } from '../actors/consent/model.ts'
import { mutate } from './mutate.ts'

test('consent: whatever single place of its machine is broken, some property says so', { timeout: 120_000 }, () => {
  const verdicts = mutate(model, { maxStates: 50_000 })
  expect(verdicts.length).toBeGreaterThan(30)
  expect(verdicts.filter(({ killedBy }) => killedBy === null)).toEqual([])
})
