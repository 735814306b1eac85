import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { scaffold } from './scaffold.ts'

const parent = mkdtempSync(join(tmpdir(), 'bulkhead-scaffold-'))
afterAll(() => rmSync(parent, { recursive: true }))

test('a new actor outside the repository passes its tests as it is made', () => {
  const folder = scaffold('door-bell', parent)
  expect(folder).toBe(join(parent, 'door-bell'))
  const program = fileURLToPath(new URL('./main.ts', import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'test', folder], { encoding: 'utf8' })
  expect(status, stdout + stderr).toBe(0)
  expect(stdout).toMatch(/pass 2\b/)
  const text = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => readFileSync(join(folder, name), 'utf8'))
    .join('')
  expect(text).not.toMatch(/sample/i)
  expect(text).toContain("kind: 'door-bell'")
})

test('the tests of an actor of the repository are another command’s, which is named', () => {
  const program = fileURLToPath(new URL('./main.ts', import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, [program, 'test', 'actors/egress'], { encoding: 'utf8' })
  expect([status, stderr]).toEqual([2, expect.stringContaining('npx vitest run --project unit actors/egress')])
})

test('a name that is no actor’s, or is taken, makes nothing', () => {
  for (const name of ['', 'a', 'Bell', '../bell', 'bell--x', '-bell', 'b'.repeat(41)])
    expect(() => scaffold(name, parent), name).toThrow(/is no name for an actor/)
  expect(() => scaffold('door-bell', parent)).toThrow(/is there already/)
  expect(() => scaffold('egress', null)).toThrow(/is there already/)
  expect(readdirSync(parent)).toEqual(['door-bell'])
})
