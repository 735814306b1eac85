import assert from 'node:assert/strict'
import { test } from 'vitest'
import { check } from '../../../checker/index.ts'
import { contract } from '../../testing/contract.ts'
import { model } from './model.ts'

test('it keeps the contract in every placement', async () => {
  await contract(new URL('./index.ts', import.meta.url).href, {
    examples: [{ kind: 'hello', body: { name: 'Ada' }, reply: { text: 'Hello, Ada!' } }],
  })
})

test('its model keeps its promises in every order of events', () => {
  const { violations, complete } = check(model)
  assert.deepEqual(violations, [])
  assert.ok(complete)
})
