import { expect, test } from 'vitest'
import { check } from '../../checker/explore.ts'
import { model } from './model.ts'

test('every order of readings, requests and crashes keeps the promises', () => {
  const { violations, complete, states } = check(model)
  expect(violations).toEqual([])
  expect(complete).toBe(true)
  expect(states).toBeGreaterThan(50)
})
