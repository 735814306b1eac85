import fc from 'fast-check'
import picomatch from 'picomatch'
import { expect, test } from 'vitest'
import { globMatcher } from './glob-pattern.ts'

test.each([
  ['*.ts', ['a.ts', '.ts', '.hidden.ts'], ['a/b.ts', 'a.tsx']],
  ['**/*.ts', ['a.ts', 'a/b.ts', 'a/b/c.ts'], ['a.js']],
  ['src/**', ['src/a', 'src/a/b'], ['srcs/a', 'a/src/b']],
  ['**', ['a', 'a/b/c'], []],
  ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'a/xb']],
  ['*.{js,ts}', ['a.js', 'a.ts'], ['a.{js,ts}', 'a.jsx']],
  ['{a,b/**}/c', ['a/c', 'b/x/c'], ['c']],
  ['[a-c]?', ['ax', 'c1'], ['d1', 'a/']],
  ['[!a]', ['b'], ['a', '/']],
  ['a[b', ['a[b'], ['ab']],
  ['{a', ['{a'], ['a']],
  ['\\*', ['*'], ['x']],
  ['./a', ['a'], []],
  ['naïve (1)+.txt', ['naïve (1)+.txt'], ['naïve 1.txt']],
])('%s', (pattern, yes, no) => {
  const matches = globMatcher(pattern)
  for (const path of yes) expect(matches(path), path).toBe(true)
  for (const path of no) expect(matches(path), path).toBe(false)
})

test('agrees with picomatch on ordinary patterns', () => {
  const part = fc.constantFrom('a', 'b', '*', '?', '*a', 'a*', '**', '[ab]', '{a,b}', 'ab')
  const pattern = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
  const path = fc.array(fc.constantFrom('a', 'b', 'ab', 'ba', 'c'), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
  fc.assert(
    fc.property(pattern, fc.array(path, { minLength: 1, maxLength: 8 }), (glob, paths) => {
      const expected = picomatch(glob, { dot: true, noextglob: true })
      const matches = globMatcher(glob)
      // A `**` at the end matches what is inside only; picomatch takes the folder itself along, which is never asked about here.
      for (const one of paths) if (!glob.endsWith('/**')) expect(matches(one), `${glob} on ${one}`).toBe(expected(one))
    }),
  )
})

test('decides hostile patterns too', () => {
  // A matcher that backtracks tries more ways here than there are atoms, and never comes back.
  const stars = '*a'.repeat(200)
  expect(globMatcher(`${stars}b`)('a'.repeat(255))).toBe(false)
  expect(globMatcher(stars)('a'.repeat(255))).toBe(true)
  expect(globMatcher(`${'{a,aa}'.repeat(80)}b`)('a'.repeat(120))).toBe(false)
})

test('any text is a pattern or a bad pattern', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), fc.string({ maxLength: 20 }), (pattern, path) => {
      try {
        globMatcher(pattern)(path)
      } catch (error) {
        expect((error as { code: string }).code).toBe('bad-pattern')
      }
    }),
  )
})
