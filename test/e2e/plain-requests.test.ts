/** The practice model carries out plain requests, through the same tools and gates as any model. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Home, openHome, type PromptEnd } from '../harness/product.ts'

let home: Home
let folder: string
beforeAll(() => {
  home = openHome()
  folder = home.folder('notes')
  writeFileSync(join(folder, 'plan.md'), '# Garden plan\n\nThe quince goes behind the shed. Order 12 m of hose.\n')
  writeFileSync(join(folder, 'todo.txt'), 'water the quince\ncall Amarante\n')
})
afterAll(() => home.close())

const ask = (prompt: string, ...args: string[]): Promise<PromptEnd> =>
  home.prompt(prompt, ['--folder', folder, '--approve', 'all', ...args])

test.each([
  { request: 'List the files', tool: 'Glob', says: /plan\.md[^]*todo\.txt|todo\.txt[^]*plan\.md/ },
  { request: 'Read plan.md', tool: 'Read', says: /quince goes behind the shed/ },
  { request: 'Search for quince', tool: 'Grep', says: /todo\.txt/ },
  { request: 'Run `echo $((6 * 7)) quinces`', tool: 'Bash', says: /42 quinces/ },
  { request: 'Summarise plan.md', tool: 'Read', says: /quince|Garden/ },
])('$request', async ({ request, tool, says }) => {
  const run = await ask(request)
  expect(run.code, run.story).toBe(0)
  expect(run.calls.map(({ name }) => name)).toContain(tool)
  expect(String(run.result.text)).toMatch(says)
})

test('Write a file', async () => {
  const run = await ask('Write "buy twine" to errands.txt')
  expect(run.code, run.story).toBe(0)
  expect(readFileSync(join(folder, 'errands.txt'), 'utf8').trim()).toBe('buy twine')
})

test('a request that needs no approval is carried out under --approve none', async () => {
  const run = await home.prompt('Read todo.txt', ['--folder', folder, '--approve', 'none'])
  expect(run).toMatchObject({ code: 0, result: { status: 'done' } })
})

test('Fetch a page of a host that is not allowed: refused with the reason, the run ends truthfully', async () => {
  const run = await ask('Fetch https://example.com/')
  expect(run.results.at(0)).toMatchObject({
    name: 'WebFetch',
    ok: false,
    error: { code: 'egress-denied', rule: expect.any(String), remedy: expect.any(String) },
  })
})

test('--session goes on where the earlier run ended, with its folders', async () => {
  const name = 'garden-1'
  await ask('Read plan.md', '--session', name)
  const run = await home.prompt('Summarise it', ['--session', name])
  expect(run.code, run.story).toBe(0)
  expect(String(run.result.text)).toMatch(/quince|Garden/)
  expect(run.events.find(({ type }) => type === 'session')).toMatchObject({ session: name, resumed: true })
})

test('--session survives a restart of the daemon', async () => {
  const name = 'garden-2'
  await ask('Read plan.md', '--session', name)
  expect((await home.call(['daemon', 'stop'])).code).toBe(0)
  const run = await ask('Summarise it', '--session', name)
  expect(run.code, run.story).toBe(0)
  expect(String(run.result.text)).toMatch(/quince|Garden/)
})

test('what one session is given, another does not have', async () => {
  await ask('Read plan.md', '--session', 'has-folder')
  const run = await home.prompt('Read plan.md', ['--session', 'has-none', '--approve', 'all'])
  expect(run.results.map(({ ok }) => ok)).not.toContain(true)
  expect(existsSync(join(folder, 'plan.md'))).toBe(true)
})
