import fc from 'fast-check'
import { expect, test } from 'vitest'
import { looked, notLooked } from './looks.ts'

/** What is in force after each of these looks. */
const after = (looks: readonly (readonly [found: string, broken: boolean])[]): (string | null)[] => {
  let state = notLooked
  return looks.map(([found, broken]) => {
    if (found !== state.inForce) state = looked(state, found, broken)
    return state.inForce
  })
}

test('a file that is half written for a moment changes nothing; one that stays so does', () => {
  expect(after([['a', false], ['half', true], ['b', false]])).toEqual(['a', 'a', 'b']) // biome-ignore format: short
  expect(after([['a', false], ['half', true], ['half', true], ['b', false]])).toEqual(['a', 'a', 'half', 'b']) // biome-ignore format: short
})

test('what cannot be used from the start counts at once: nothing is in force that would be better', () => {
  expect(after([['broken', true]])).toEqual(['broken'])
})

test('whatever comes, what can be used counts at once, and nothing broken is overlooked twice in a row', () => {
  const look = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean()).map(([name, broken]) => [`${name}${broken}`, broken] as const)
  fc.assert(
    fc.property(fc.array(look), (looks) => {
      const inForce = after(looks)
      for (const [at, [found, broken]] of looks.entries()) {
        if (!broken) expect(inForce[at]).toBe(found)
        else if (at > 0 && looks[at - 1]?.[1]) expect(inForce[at]).toBe(found)
      }
    }),
  )
})
