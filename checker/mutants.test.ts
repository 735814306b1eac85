import { expect, test } from 'vitest'
import { model as consent } from '../actors/consent/model.ts'
import { model as gateway } from '../actors/gateway/model.ts'
import { model as policy } from '../actors/policy/model.ts'
import { mutate } from './mutate.ts'

test.each([
  [consent, 32],
  [gateway, 16],
  [policy, 14],
])('$actor: whatever single place of its machine is broken, some property says so', { timeout: 180_000 }, (model, count) => {
  const verdicts = mutate(model, { maxStates: 50_000 })
  expect(verdicts).toHaveLength(count)
  expect(verdicts.filter(({ killedBy }) => killedBy === null)).toEqual([])
})
