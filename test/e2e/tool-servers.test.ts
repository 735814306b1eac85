/** Tool servers, and actors from outside, as a member has them: added on the command line, used by the practice model, approved or not. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ServerView } from '../../actors/mcp-host/protocol.ts'
import type { AddonView } from '../../daemon/addons/protocol.ts'
import { writePageFiles } from '../harness/page-files.ts'
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

describe('the actor of INTEGRATORS.md', () => {
  const actors = async () => (JSON.parse(await succeeds('actor', 'list', '--json')) as { actors: AddonView[] }).actors
  const state = async (): Promise<string | undefined> => (await actors()).find(({ name }) => name === 'reminders')?.state
  const use = (text: string) => home.prompt(text, ['--approve', 'all'])
  let folder = ''
  const kept = () => join(home.state, 'actors', 'reminders')

  test('does not run before somebody allowed what it asks for', async () => {
    expect(writePageFiles(readFileSync(join(checkout, 'docs', 'INTEGRATORS.md'), 'utf8'), home.dir)).toHaveLength(5)
    folder = join(home.dir, 'reminders')
    const asked = await home.call(['actor', 'add', folder])
    expect([asked.code, asked.stderr]).toEqual([3, expect.stringContaining('no-one-to-ask')])
    expect(asked.stderr).toMatch(
      /Keeps reminders, and says which are due\.[\s\S]*may write its own folder\/\*: Keeps reminders when Bulkhead stops\./,
    )
    expect(await actors()).toEqual([])
    expect(existsSync(kept())).toBe(false)
  })

  test('runs once allowed, in a jail with its own folder only, and its tools are the model’s to ask for', async () => {
    await succeeds('actor', 'add', folder, '--yes')
    expect(await state()).toBe('running')
    const { actors: live } = await home.inspect()
    const own = join(kept(), 'data', '*')
    expect(live.find(({ id }) => id === 'reminders')).toMatchObject({
      placement: 'process',
      permissions: { fsRead: [own], fsWrite: [own], net: false, childProcess: false },
      facts: { 'fs.read': false, 'fs.write': false, net: false, child: false, worker: false, env: false },
      capabilities: [],
    })
    const made = await use('use tool mcp__reminders__remind with text=tea, minutes=0')
    expect(made.results, made.story).toMatchObject([{ ok: true, output: expect.stringContaining('Kept for') }])
    const refused = await home.prompt('use tool mcp__reminders__list', ['--approve', 'none'])
    expect(refused.result['status']).toBe('refused')
    expect((await use('use tool mcp__reminders__remind with text=tea, minutes=-1')).results).toMatchObject([
      { ok: false, output: expect.stringContaining('bad-input') },
    ])
  })

  test('killed, it comes back with what it kept', async () => {
    process.kill(await home.actorPid('reminders'), 'SIGKILL')
    await expect.poll(state, { timeout: 120_000 }).toBe('running')
    expect((await use('use tool mcp__reminders__list')).results).toMatchObject([
      { ok: true, output: expect.stringMatching(/"text": "tea"[\s\S]*"due": true/) },
    ])
  })

  test('with other code it is another: stopped at the next start until it is allowed again', async () => {
    appendFileSync(join(kept(), 'code', 'manifest.ts'), '\n')
    await succeeds('daemon', 'stop')
    await expect.poll(state, { timeout: 120_000 }).toBe('changed')
    expect((await home.inspect()).actors.map(({ id }) => id)).not.toContain('reminders')
    expect((await home.call(['actor', 'allow', 'reminders'])).code).toBe(3)
    await succeeds('actor', 'allow', 'reminders', '--yes')
    expect(await state()).toBe('running')
  })

  test('policy ends it, says which key, and may allow it by its hash alone', async () => {
    const settings = (value: object) => writeFileSync(join(home.state, 'settings.json'), JSON.stringify(value))
    const [found] = await actors()
    settings({ allowedThirdPartyActors: [] })
    await expect.poll(state, { timeout: 120_000 }).toBe('disabled')
    expect((await actors())[0]?.why).toContain('allowedThirdPartyActors')
    expect((await home.inspect()).actors.map(({ id }) => id)).not.toContain('reminders')
    expect((await home.call(['actor', 'add', folder, '--yes'])).stderr).toContain('disabled-by-policy')
    writeFileSync(join(kept(), 'consent.json'), '{}')
    settings({ allowedThirdPartyActors: [`reminders@${found?.hash}`] })
    await expect.poll(state, { timeout: 120_000 }).toBe('running')
    settings({})
    await expect.poll(state, { timeout: 120_000 }).toBe('new')
  })

  test('removed, nothing of it is left, and all of it is on record', async () => {
    await succeeds('actor', 'remove', 'reminders')
    expect([await actors(), existsSync(kept())]).toEqual([[], false])
    expect((await home.call(['actor', 'remove', 'reminders'])).code).toBe(3)
    const log = await succeeds('audit', 'export')
    expect(log.match(/"actor\.(?:allowed|removed)"/g)).toEqual(['"actor.allowed"', '"actor.allowed"', '"actor.removed"'])
  })
})
