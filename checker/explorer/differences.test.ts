import { expect, test } from 'vitest'
import { differences } from './differences.ts'

const of = (before: unknown, after: unknown) =>
  differences('a', '', before, after).map(({ path, before: gone, after: come }) => `${path}: ${gone ?? '-'} > ${come ?? '-'}`)

test('leaves that differ, by their path', () => {
  expect(of({ x: 1, deep: { y: 'a', z: null } }, { x: 1, deep: { y: 'b', z: null, new: [] } })).toEqual([
    'deep.y: "a" > "b"',
    'deep.new: - > []',
  ])
  expect(of({ x: { y: 1 } }, { x: 3 })).toEqual(['x: {"y":1} > 3'])
  expect(of([1, { x: 2 }], [1, { x: 2 }])).toEqual([])
})

test('of a list what came and what went, however long it is', () => {
  const long = Array.from({ length: 50 }, (_, at) => ({ at }))
  expect(of(long, [...long, 'new'])).toEqual([': - > "new"'])
  expect(of(long, long.slice(1))).toEqual([': {"at":0} > -'])
  expect(of([...long, 'a', ...long], [...long, 'b', 'c', ...long])).toEqual([': "a" > "b", "c"'])
  expect(of({ list: [] }, { list: [1] })).toEqual(['list: - > 1'])
  expect(of(['x', 'x'], ['x'])).toEqual([': "x" > -'])
})

test('an item that changed is followed into', () => {
  expect(of({ pending: [{ ref: 'a', n: 1 }, 'b'] }, { pending: [{ ref: 'a', n: 2 }, 'b'] })).toEqual(['pending.0.n: 1 > 2'])
})
