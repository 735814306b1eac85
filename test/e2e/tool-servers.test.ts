/** Tool servers as a member has them: added on the command line, used by the practice model, approved or not. */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ServerView } from '../../actors/mcp-host/protocol.ts'
import { checkout, type Home, openHome } from '../harness/product.ts'

let home: Home
beforeAll(() => {
  home = openHome({ env: { BULKHEAD_VM: 'off' } })
})
afterAll(() => home.close())

const everything = join(checkout, 'node_modules', '@modelcontextprotocol', 'server-everything', 'dist', 'index.js')
const list = async () => (JSON.parse((await home.call(['mcp', 'list', '--json'])).stdout) as { servers: ServerView[] }).servers
async function succeeds(...args: string[]): Promise<string> {
  const ended = await home.call(args)
  expect(ended.code, ended.story).toBe(0)
  return ended.stdout
}

test('add, list, use with approval, refuse without, allow one tool for good, block it, remove', async () => {
  await succeeds('mcp', 'add', 'everything', '--', 'node', everything, 'stdio')
  await expect.poll(async () => (await list())[0]?.state).toBe('ready')
  expect(await succeeds('mcp', 'list')).toMatch(/everything {2}ready[\s\S]*no network[\s\S]*mcp__everything__echo {2}ask/)

  const use = 'use tool mcp__everything__echo with message="ahoy there"'
  const allowed = await home.prompt(use, ['--approve', 'all'])
  expect(allowed.code, allowed.story).toBe(0)
  expect(allowed.calls).toMatchObject([
    { name: 'mcp__everything__echo', input: { message: 'ahoy there' }, title: expect.stringMatching(/^Call .* of everything$/) },
  ])
  expect(allowed.results).toMatchObject([{ ok: true, output: expect.stringContaining('ahoy there') }])
  const refused = await home.prompt(use, ['--approve', 'none'])
  expect([refused.code, refused.result['status']]).toEqual([3, 'refused'])

  await succeeds('mcp', 'allow', 'mcp__everything__echo')
  expect((await home.prompt(use, ['--approve', 'none'])).code).toBe(0)
  await succeeds('mcp', 'block', 'mcp__everything__echo')
  expect((await home.prompt(use, ['--approve', 'all'])).calls).toEqual([])

  await succeeds('mcp', 'restart', 'everything')
  await succeeds('mcp', 'remove', 'everything')
  expect(await list()).toEqual([])
  expect((await home.call(['mcp', 'remove', 'everything'])).code).toBe(3)
  expect((await home.call(['mcp', 'add', 'x'])).code).toBe(2)
})

test('an extension that cannot be installed says why', async () => {
  const ended = await home.call(['extension', 'install', join(checkout, 'package.json')])
  expect([ended.code, ended.stderr]).toEqual([3, expect.stringContaining('bad-extension')])
  expect(await succeeds('extension', 'list')).toBe('No extensions.\n')
})
