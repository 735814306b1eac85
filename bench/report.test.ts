/** The shape scripts read: `npm run bench -- NAME --json`. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { atMost, atMostTimesPeer, figure, machine, median, table } from './report.ts'

const shape = z.strictObject({
  name: z.string().min(1),
  unit: z.string().min(1),
  value: z.number().nullable(),
  min: z.number().nullable(),
  max: z.number().nullable(),
  peer: z.strictObject({ name: z.string(), value: z.number() }).nullable(),
  ratio: z.number().nullable(),
  target: z.string().min(1),
  better: z.enum(['lower', 'higher']),
  met: z.boolean(),
  why: z.string().min(1).optional(),
})
const taken = (...values: number[]) => ({ values, why: null })

test('value is the median, ratio is value / peer, min and max are of the own samples', () => {
  const made = figure({
    name: 'start',
    unit: 'ms',
    target: atMostTimesPeer(3),
    own: taken(30, 10, 20),
    peer: { name: 'floor', samples: taken(9, 11) },
  })
  expect(shape.parse(made)).toEqual({
    name: 'start',
    unit: 'ms',
    value: 20,
    min: 10,
    max: 30,
    peer: { name: 'floor', value: 10 },
    ratio: 2,
    target: 'at most 3 × the peer',
    better: 'lower',
    met: true,
  })
})

test('a figure without a peer is held to its own target', () => {
  expect(shape.parse(figure({ name: 'answer', unit: 'ms', target: atMost(100, 'ms'), own: taken(101) }))).toMatchObject({
    peer: null,
    ratio: null,
    met: false,
  })
  expect(figure({ name: 'answer', unit: 'ms', target: atMost(100, 'ms'), own: taken(100) }).met).toBe(true)
})

test('what could not be measured is there, not met, and says why', () => {
  const nothing = figure({ name: 'boot', unit: 'ms', target: atMost(1, 'ms'), own: { values: [], why: 'no QEMU' } })
  expect(shape.parse(nothing)).toMatchObject({ value: null, min: null, max: null, met: false, why: 'no QEMU' })
  const alone = figure({
    name: 'boot',
    unit: 'ms',
    target: atMostTimesPeer(3),
    own: taken(5),
    peer: { name: 'floor', samples: { values: [], why: 'no image' } },
  })
  expect(shape.parse(alone)).toMatchObject({ value: 5, peer: null, met: false, why: 'floor: no image' })
  const partly = figure({ name: 'boot', unit: 'ms', target: atMost(10, 'ms'), own: { values: [5], why: 'the second run failed' } })
  expect(shape.parse(partly)).toMatchObject({ value: 5, met: false, why: 'the second run failed' })
})

test('median of an even number of samples lies between the middle two', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5)
})

test('the table has a line for each figure', () => {
  const figures = [
    figure({ name: 'one', unit: 'ms', target: atMost(1, 'ms'), own: taken(1) }),
    figure({ name: 'two', unit: 'ms', target: atMost(1, 'ms'), own: { values: [], why: 'broken' } }),
  ]
  const lines = table({ bench: 'some', machine: machine(), runs: 1, figures }).split('\n')
  expect(lines).toHaveLength(4)
  expect(lines[2]).toMatch(/^one .*met$/)
  expect(lines[3]).toMatch(/^two .*not met: broken$/)
})
