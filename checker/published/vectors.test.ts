/** The engine counts what others counted. A wrong state identity, a lost successor or one too many shows here first. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { check } from '../explore.ts'
import { diningPhilosophers } from './classics.ts'
import { vectors } from './vectors.ts'

const rows: string[] = []
const shown = (count: number): string => count.toLocaleString('en-US')

describe('published counts', () => {
  test.each(vectors.filter(({ large }) => !large))('$name', ({ name, source, model, states, generated, symmetry }) => {
    const product = model()
    const result = check(product, { reduceSymmetry: symmetry === true })
    const count = result.transitions + product.initial.length
    rows.push(`| ${name} | ${shown(result.states)} | ${shown(count)} | ${source}${generated === null ? '; states only' : ''} |`)
    expect({ states: result.states, complete: result.complete }).toEqual({ states, complete: true })
    if (generated !== null) expect(count).toBe(generated)
  })

  test('as a table', () => {
    process.stdout.write(`${['| model | states | generated | counted by |', '| --- | --- | --- | --- |', ...rows].join('\n')}\n`)
    expect(rows).toHaveLength(vectors.filter(({ large }) => !large).length)
    // What the page for researchers says is what was just counted.
    const page = readFileSync(new URL('../../docs/RESEARCHERS.md', import.meta.url), 'utf8')
    expect(page.split('\n').filter((line) => rows.includes(line))).toEqual(rows)
  })

  test('depth first finds the same states', () => {
    const found: [number, number][] = []
    for (const { model, states, symmetry, large } of vectors)
      if (!large && !symmetry && states < 10_000) found.push([check(model(), { order: 'depth' }).states, states])
    expect(found.map(([count]) => count)).toEqual(found.map(([, states]) => states))
  })

  test('the philosophers eat because their processes are fair, and starve when they are not', () => {
    expect(check(diningPhilosophers(5, true)).violations).toEqual([])
    const starving = check(diningPhilosophers(5, false)).violations
    expect(starving.map(({ kind }) => kind)).toContain('leadsTo')
    expect(starving[0]?.trace.cycle).toBeDefined()
  })
})
