import { expect, test } from 'vitest'
import { check } from '../../checker/explore.ts'
import { model } from './model.ts'

test('the life of a server keeps its promises in every order of events', () => {
  const { violations, complete, states } = check(model, { maxStates: 50_000 })
  expect(
    violations.map(({ property, trace, detail }) => ({ property, detail, trace: trace.map(({ event, value }) => [event.type, value]) })),
  ).toEqual([])
  expect(complete).toBe(true)
  expect(states).toBeGreaterThan(100)
})
