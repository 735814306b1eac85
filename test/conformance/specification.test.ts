/** Promises lead to proofs: every row of docs/SPECIFICATION.md links to files that exist and hold tests, or says that it is pending or unverified. */
import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const page = new URL('../../docs/SPECIFICATION.md', import.meta.url)
const rows = readFileSync(page, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| ---') && !/^\| (promise|figure) \|/.test(line))

test('there are promises', () => expect(rows.length).toBeGreaterThan(20))

test.each(rows)('%s', (row) => {
  const proof = row.split('|').at(-2) ?? ''
  if (/\*\*(pending|unverified)\*\*/.test(proof)) return
  const links = [...proof.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => new URL(link ?? '', page))
  expect(links.length, 'no link and not marked pending').toBeGreaterThan(0)
  for (const link of links) {
    expect(existsSync(link), link.pathname).toBe(true)
    expect(readFileSync(link, 'utf8')).toMatch(/\b(test|it|measure|sample)/)
  }
})
