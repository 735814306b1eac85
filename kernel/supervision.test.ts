import { expect, test } from 'vitest'
import { backoffMs } from './limits.ts'
import { decideRestart } from './supervision.ts'
import type { Manifest } from './types.ts'

const manifest = (strategy: Manifest['restart']['strategy']): Manifest => ({
  kind: 'x',
  purpose: '',
  placement: 'process',
  cardinality: 'singleton',
  grants: [],
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy },
})

test('the first crash restarts at once; a second within the period backs off, and never gives up', () => {
  expect(decideRestart(manifest('permanent'), [1000], false, 0.5)).toEqual({ restart: true, delayMs: 0, degraded: false })
  expect(decideRestart(manifest('permanent'), [1000, 2000], false, 0.5)).toEqual({ restart: true, delayMs: 250, degraded: true })
  expect(decideRestart(manifest('permanent'), [1000, 2000, 2500, 3000], false, 0.5)).toEqual({
    restart: true,
    delayMs: 1000,
    degraded: true,
  })
  const many = Array.from({ length: 200 }, (_, n) => 1000 + n)
  expect(decideRestart(manifest('permanent'), many, false, 0.5)).toEqual({ restart: true, delayMs: backoffMs.last, degraded: true })
})

test('crashes further apart than the period count as single ones', () => {
  expect(decideRestart(manifest('permanent'), [1000, 7000], false, 0)).toEqual({ restart: true, delayMs: 0, degraded: false })
})

test('jitter stays within a quarter either way', () => {
  expect(decideRestart(manifest('permanent'), [1, 2], false, 0)).toMatchObject({ delayMs: 188 })
  expect(decideRestart(manifest('permanent'), [1, 2], false, 1)).toMatchObject({ delayMs: 313 })
})

test('transient actors come back only from a crash, temporary ones never', () => {
  expect(decideRestart(manifest('transient'), [1], true, 0)).toEqual({ restart: false })
  expect(decideRestart(manifest('transient'), [1], false, 0).restart).toBe(true)
  expect(decideRestart(manifest('temporary'), [1], false, 0)).toEqual({ restart: false })
})
