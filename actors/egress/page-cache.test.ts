import { expect, test } from 'vitest'
import { limits } from './limits.ts'
import { createPageCache, mayBeCached } from './page-cache.ts'

const page = (text: string) => ({ page: { text }, targets: [] })

test('a page is kept for its time, by session', () => {
  let now = 0
  const cache = createPageCache(() => now)
  cache.put('a', 'u', page('x'))
  expect(cache.get('a', 'u')).toMatchObject(page('x'))
  expect(cache.get('b', 'u')).toBeNull()
  expect(cache.get(null, 'u')).toBeNull()
  now = limits.cachedMs + 1
  expect(cache.get('a', 'u')).toBeNull()
})

test('the longest unused go first when it is full', () => {
  const cache = createPageCache(() => 0)
  const half = page('x'.repeat(limits.cachedChars / 2))
  cache.put('a', '1', half)
  cache.put('a', '2', half)
  cache.get('a', '1')
  cache.put('a', '3', half)
  expect(['1', '2', '3'].map((url) => cache.get('a', url) !== null)).toEqual([true, false, true])
  cache.put('a', '1', page(''))
  cache.put('a', '2', half)
  expect(['1', '2', '3'].map((url) => cache.get('a', url) !== null)).toEqual([true, true, true])
})

test.each([
  [200, undefined, true],
  [200, 'max-age=600', true],
  [200, 'public, max-age=0', false],
  [200, 'No-Store', false],
  [200, 'max-age=5, private', false],
  [404, undefined, false],
] as const)('%d with %s: %s', (status, control, kept) => {
  expect(mayBeCached(status, control)).toBe(kept)
})
