/** kill -9 of any process of the product: what was there is there again, and the session goes on. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Home, openHome, type PromptEnd } from '../harness/product.ts'
import { isAlive, leftAfter } from '../harness/processes.ts'
import { type ScriptedServer, say, startScriptedServer, use } from '../harness/scripted-messages-server.ts'

const session = 'survivor'
/** What a killed process's children and peers get to end by themselves, ms. */
const settleMs = 10_000
let home: Home
let server: ScriptedServer
let folder: string
let round = 0

/** One prompt that needs every actor: reads, writes, runs a command that sees what was written. */
async function work(...args: string[]): Promise<PromptEnd> {
  round += 1
  server.script([
    [use('Read', { file_path: 'kept.txt' })],
    [use('Write', { file_path: `round-${round}.txt`, content: `round ${round}\n` })],
    [use('Bash', { command: `cat round-${round}.txt && echo by the VM > vm-${round}.txt` })],
    [say(`round ${round} done`)],
  ])
  return home.prompt(`round ${round}`, ['--session', session, '--approve', 'all', ...args])
}

function expectDone(run: PromptEnd): void {
  expect(run.code, run.story).toBe(0)
  expect(run.result).toMatchObject({ status: 'done', text: `round ${round} done` })
  expect(
    run.results.map(({ name, ok, output }) => ({ name, ok, output })),
    'all three tools',
  ).toMatchObject([{ ok: true }, { ok: true }, { ok: true }])
  expect(readFileSync(join(folder, `vm-${round}.txt`), 'utf8')).toBe('by the VM\n')
}

beforeAll(async () => {
  server = await startScriptedServer()
  home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  folder = home.folder('work')
  writeFileSync(join(folder, 'kept.txt'), 'kept\n')
  expectDone(await work('--folder', folder))
})
afterAll(async () => {
  await home.close()
  await server.close()
})

describe('between prompts', () => {
  test.each(['fs-gate:', 'egress', 'conversation:', 'vm-supervisor', 'gateway'])('%s', async (id) => {
    const pid = await home.actorPid(id)
    process.kill(pid, 'SIGKILL')
    expectDone(await work())
    const { actors } = await home.inspect()
    const actor = actors.find((one) => one.id.startsWith(id))
    expect(actor).toMatchObject({ state: 'running', restarts: 1, lastExit: expect.stringMatching(/SIGKILL/) })
    expect(actor?.pid).not.toBe(pid)
    const [first] = server.requests.at(-1)?.body.messages ?? []
    expect(JSON.stringify(first), 'the conversation remembers its first prompt').toContain('round 1')
  })
})

test('the daemon itself: nothing of it is left behind, the next run starts another and the session goes on', async () => {
  const pid = await home.daemonPid()
  const all = home.processes()
  expect(all.some(({ title }) => title.includes('qemu-system'))).toBe(true)
  process.kill(pid, 'SIGKILL')
  expect((await leftAfter(all, settleMs)).map(({ title }) => title)).toEqual([])
  expectDone(await work('--folder', folder))
  expect(await home.daemonPid()).not.toBe(pid)
  expect(all.filter(isAlive)).toEqual([])
  const [first] = server.requests.at(-1)?.body.messages ?? []
  expect(JSON.stringify(first)).toContain('round 1')
})
