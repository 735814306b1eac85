/**
 * kill -9 of any process of the product. The next prompt of the same session does its work, or says of each tool truthfully why not;
 * the one after it does its work.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { InspectReport } from '../../kernel/inspect.ts'
import { isAlive, leftAfter } from '../harness/processes.ts'
import { type Home, type PromptEnd } from '../harness/product.ts'
import { openScriptedHome, type ScriptedHome } from '../harness/scripted-home.ts'
import { type ScriptedServer, say, use } from '../harness/scripted-messages-server.ts'

/** What a killed process's children and peers get to end by themselves, ms. */
const settleMs = 10_000
let home: Home
let server: ScriptedServer
let round = 0

let close: ScriptedHome['close']
beforeAll(async () => {
  ;({ home, server, close } = await openScriptedHome())
})
afterAll(() => close())

type Session = { name: string; folder: string; work(...args: string[]): Promise<PromptEnd> }

/** A session that has done its work once. */
async function session(name: string): Promise<Session> {
  const folder = home.folder(name)
  writeFileSync(join(folder, 'kept.txt'), 'kept\n')
  const opened: Session = {
    name,
    folder,
    /** One prompt that needs every actor: reads, writes, runs a command that sees what was written and writes itself. */
    work(...args) {
      round += 1
      server.script([
        [use('Read', { file_path: 'kept.txt' })],
        [use('Write', { file_path: `round-${round}.txt`, content: `round ${round}\n` })],
        [use('Bash', { command: `cat round-${round}.txt && echo by the VM > vm-${round}.txt` })],
        [say(`round ${round} done`)],
      ])
      return home.prompt(`${name} round ${round}`, ['--session', name, '--approve', 'all', ...args])
    },
  }
  expectDone(opened, await opened.work('--folder', folder))
  return opened
}

function expectDone({ folder }: Session, run: PromptEnd): void {
  expectTruth(run)
  expect(
    run.results.map(({ name, ok }) => ({ name, ok })),
    run.story,
  ).toEqual(['Read', 'Write', 'Bash'].map((name) => ({ name, ok: true })))
  expect(readFileSync(join(folder, `vm-${round}.txt`), 'utf8')).toBe('by the VM\n')
}

/** The turn came to its end, and what did not work says what to do. */
function expectTruth(run: PromptEnd): void {
  expect(run.code, run.story).toBe(0)
  expect(run.result).toMatchObject({ status: 'done', text: `round ${round} done` })
  for (const result of run.results) {
    if (result.ok !== true)
      expect(result.error, run.story).toMatchObject({
        code: expect.stringMatching(/./),
        message: expect.stringMatching(/./),
        remedy: expect.stringMatching(/./),
      })
  }
}

/** Each of the others is the process it was. Those that end by themselves when nobody needs them are none of them. */
async function expectUntouched(before: InspectReport['actors'], kind: string): Promise<void> {
  const lasting = ({ id, pid }: InspectReport['actors'][number]): boolean => pid !== null && id !== kind && id !== 'reader'
  const processes = (actors: InspectReport['actors']) => actors.filter(lasting).map(({ id, pid }) => `${id} ${pid}`)
  const now = processes((await home.inspect()).actors)
  expect(processes(before).filter((one) => !now.includes(one))).toEqual([])
}

const isMachine = ({ title }: { title: string }): boolean => title.startsWith('qemu-system')

function expectRemembered({ name }: Session): void {
  const { messages = [] } = server.requests.at(-1)?.body ?? {}
  expect(JSON.stringify(messages[0]), 'the conversation remembers its first prompt').toContain(`${name} round`)
  expect(messages.length).toBeGreaterThan(8)
}

describe('between prompts', () => {
  test.each(['fs-gate', 'egress', 'conversation', 'vm-supervisor', 'gateway'])('%s', async (kind) => {
    const one = await session(`after-${kind}`)
    const { actors } = await home.inspect()
    const victim = actors.find(({ id }) => id === kind || id.startsWith(`${kind}:${one.name}`))
    expect(victim?.pid, kind).toBeGreaterThan(0)
    const machines = home.processes().filter(isMachine)
    expect(machines).toHaveLength(1)
    process.kill(victim?.pid ?? -1, 'SIGKILL')
    const next = await one.work()
    expectTruth(next)
    // What needs no workspace does not notice that its supervisor is gone.
    if (kind === 'vm-supervisor') expect(next.results.flatMap(({ name, ok }) => (name === 'Bash' ? [] : [ok]))).toEqual([true, true])
    expectDone(one, await one.work())
    expectRemembered(one)
    if (['egress', 'vm-supervisor'].includes(kind)) await expectUntouched(actors, kind)
    // Its machine goes with it, and there is never more than one.
    if (kind === 'vm-supervisor') expect(machines.filter(isAlive)).toEqual([])
    expect(home.processes().filter(isMachine)).toHaveLength(1)
    const again = (await home.inspect()).actors.find(({ id }) => id === victim?.id)
    expect(again).toMatchObject({ state: 'running', restarts: 1, lastExit: expect.stringMatching(/SIGKILL/) })
    expect(again?.pid).not.toBe(victim?.pid)
  })
})

test('the daemon itself: nothing of it is left behind, the next run starts another and the session goes on', async () => {
  const one = await session('after-daemon')
  const pid = await home.daemonPid()
  const all = home.processes()
  expect(all.some(({ title }) => title.includes('qemu-system'))).toBe(true)
  process.kill(pid, 'SIGKILL')
  expect((await leftAfter(all, settleMs)).map(({ title }) => title)).toEqual([])
  expectDone(one, await one.work('--folder', one.folder))
  expectRemembered(one)
  expect(await home.daemonPid()).not.toBe(pid)
  expect(all.filter(isAlive)).toEqual([])
})
