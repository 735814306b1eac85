/** Several workers find what one finds: states, steps, depth, verdicts, and counterexamples of the same length. */
import { afterAll, describe, expect, test } from 'vitest'
import { check } from '../explore.ts'
import { subjects } from '../subjects.ts'
import { brokenTwoPhase } from '../testing/broken-two-phase.ts'
import { failing } from '../testing/failing.ts'
import { modelOf, vectors } from '../published/vectors.ts'
import { Pool } from './pool.ts'
import type { Reference } from './reference.ts'

const pools = new Map<number, Pool>()
const pool = (workers: number): Pool => {
  const known = pools.get(workers) ?? new Pool(workers)
  pools.set(workers, known)
  return known
}
afterAll(async () => {
  for (const one of pools.values()) await one.close()
})

const here = (path: string): string => new URL(path, import.meta.url).href
/** Few states first, so that small models are shared out as well. */
const firstStates = 8

const broken = (count: number): Reference => ({
  module: here('../testing/broken-two-phase.ts'),
  name: 'brokenTwoPhase',
  args: [count],
})

const light = ['policy', 'telemetry', 'mcp-server', 'kernel', 'supervision-one-for-all', 'supervision-rest-for-one']

describe.each([2, 3])('%d workers', (workers) => {
  test.each(vectors.filter(({ large, symmetry }) => !large && !symmetry).map(({ name }) => name))('%s', async (name) => {
    const reference = { module: here('../published/vectors.ts'), name: 'modelOf', args: [name] }
    const { states, transitions, depth, properties } = check(modelOf(name))
    const searched = (kind: string): boolean => ['always', 'sometimes', 'steps'].includes(kind)
    expect(await pool(workers).check(reference, { firstStates })).toMatchObject({
      states,
      transitions,
      depth,
      complete: true,
      properties: properties.filter(({ kind }) => searched(kind)),
    })
  })

  test.each(light)('%s', async (name) => {
    const subject = subjects().find((known) => known.name === name)
    if (!subject) throw new Error(`no model ${name}`)
    const { states, transitions, depth } = check(await subject.load('small'), { skipTemporal: true })
    const result = await pool(workers).check(await subject.reference('small'), { firstStates })
    expect(result).toMatchObject({ states, transitions, depth, complete: true, violations: [] })
  })

  test('what is broken is found by ways as short as one worker finds', async () => {
    const alone = check(brokenTwoPhase(4)).violations
    const { violations } = await pool(workers).check(broken(4), { firstStates })
    const lengths = (all: typeof alone): [string, number][] =>
      all.map(({ property, trace }): [string, number] => [property, trace.steps.length]).toSorted(([a], [b]) => a.localeCompare(b))
    expect(lengths(violations)).toEqual(lengths(alone))
    for (const { property, trace } of violations) {
      const last = trace.steps.at(-1)?.state as Record<string, { value: unknown }>
      if (property === 'rm2 never commits') expect(last['rm2']?.value).toBe('committed')
    }
  })

  test('the first thing broken stops all of them, with a shortest way', async () => {
    const shortest = Math.min(...check(brokenTwoPhase(5)).violations.map(({ trace }) => trace.steps.length))
    const result = await pool(workers).check(broken(5), { firstStates, stopAtFirst: true })
    expect(result).toMatchObject({ complete: false, stopped: 'violation' })
    expect(Math.min(...result.violations.map(({ trace }) => trace.steps.length))).toBe(shortest)
    expect(result.states).toBeLessThan(check(brokenTwoPhase(5)).states)
  })

  test('bounds are for all of them together', async () => {
    const reference = { module: here('../published/two-phase.ts'), name: 'twoPhase', args: [6] }
    const few = await pool(workers).check(reference, { firstStates, maxStates: 5_000 })
    expect(few).toMatchObject({ complete: false, stopped: 'states' })
    expect(few.states).toBeLessThan(50_816)
    expect(await pool(workers).check(reference, { firstStates, maxBytes: 100_000 })).toMatchObject({ complete: false, stopped: 'memory' })
  })
})

test('what needs the whole graph is named as not asked', async () => {
  const kernel = subjects().find(({ name }) => name === 'kernel')
  const result = await pool(2).check((await kernel?.reference('small')) as Reference, { firstStates })
  expect(result.notAsked?.names).toContain('every request is answered')
})

test('a model that is not there is an error, and the workers go on to the next', async () => {
  await expect(pool(2).check({ module: here('../published/vectors.ts'), name: 'nothing' })).rejects.toThrow('exports no nothing')
  const { states } = await pool(2).check({ module: here('../published/classics.ts'), name: 'dieHard' })
  expect(states).toBe(16)
})

test.each([
  ['throws', 'the rule fails'],
  ['exits', 'ended by itself, with code 7'],
] as const)('a worker that %s ends the search for all, and the next one has all its workers', async (how, message) => {
  expect(check(failing(how), { maxStates: 200 })).toMatchObject({ stopped: 'states', violations: [] })
  const reference = { module: here('../testing/failing.ts'), name: 'failing', args: [how] }
  await expect(pool(3).check(reference, { firstStates })).rejects.toThrow(message)
  const { states } = await pool(3).check({ module: here('../published/two-phase.ts'), name: 'twoPhase', args: [5] }, { firstStates })
  expect(states).toBe(8_832)
})
