import { expect, test } from 'vitest'
import { limits } from './limits.ts'
import { OwnChanges } from './own-changes.ts'

test('what was left is known, by its stamp or by the path of what is gone', () => {
  const own = new OwnChanges()
  own.left('a', 'file:1')
  own.left('b', 'absent')
  expect([own.has('x', 'file:1'), own.has('b', 'absent'), own.has('a', 'absent'), own.has('a', 'file:2')]).toEqual([
    true,
    true,
    false,
    false,
  ])
})

test('so many are known, the newest, whether or not it was asked in between', () => {
  const newest = [true, true, false, false]
  for (const asked of [true, false]) {
    const own = new OwnChanges()
    const count = limits.ownChanges * 2 + 5
    for (let index = 0; index < count; index += 1) {
      own.left('a', `file:${index}`)
      if (asked && index % 10_000 === 0) expect(own.has('a', `file:${index}`)).toBe(true)
    }
    const known = (index: number) => own.has('a', `file:${index}`)
    expect([known(count - 1), known(count - limits.ownChanges), known(count - limits.ownChanges - 1), known(0)]).toEqual(newest)
  }
})
