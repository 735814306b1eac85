/**
 * The model key is in the request it belongs to and in one process of the product: egress; a secret that a member keeps for a host likewise.
 * Searched while a turn is under way, so that
 * every actor and the VM are at work. Exempt are the commands the user gave the key to in their environment (the client, set-up around
 * it, and this test), and the daemon's descriptors: it holds the sealed file that a restarted egress reads, and never reads it itself.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Home, openHome, type PromptEnd } from '../harness/product.ts'
import { listProcesses, type Process, withDescendants } from '../harness/processes.ts'
import {
  credentialOf,
  type RecordedRequest,
  type ScriptedServer,
  say,
  startScriptedServer,
  toolResults,
  use,
} from '../harness/scripted-messages-server.ts'
import { filesWith, inEnvironment, inMemory, inOpenFiles, leavesNoImage } from '../harness/secrets.ts'

const key = `sk-ant-made-up-${randomBytes(24).toString('hex')}`
/** What `bulkhead secret set` keeps. */
const kept = `tok-made-up-${randomBytes(24).toString('hex')}`
/** Known to the conversation and the gateway but not to egress: shows that the search finds what is there. */
const marker = `marker-${randomBytes(12).toString('hex')}`
const secrets = [key, kept]
const root = process.getuid?.() === 0

type Holder = { title: string; where: string[] }
let server: ScriptedServer
let home: Home
let run: PromptEnd
let holders: Holder[]
let marked: string[]
let searched: Process[]
let bash: string

beforeAll(async () => {
  server = await startScriptedServer()
  home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, BULKHEAD_KEYRING: 'off' } })
  const keeping = home.start(['secret', 'set', 'api', '--host', 'api.example'], { input: true })
  keeping.type(`${kept}\n`)
  keeping.closeInput()
  const keptOne = await keeping.ended
  if (keptOne.code !== 0) throw new Error(keptOne.story)
  const folder = home.folder('work')
  const look = async (request: RecordedRequest) => {
    bash = [...toolResults(request).values()].map(({ text }) => text).join('\n')
    const daemon = await home.daemonPid()
    searched = withDescendants(listProcesses().filter(({ pid }) => pid === daemon))
    const memories = new Map(root ? searched.map(({ pid }) => [pid, inMemory(pid, [...secrets, marker])] as const) : [])
    holders = searched.map(({ pid, title }) => ({
      title,
      where: [
        ...secrets.filter((one) => inEnvironment(pid, one)).map(() => 'environment'),
        ...secrets.filter((one) => pid !== daemon && inOpenFiles(pid, one)).map(() => 'open files'),
        ...(memories.get(pid)?.includes(key) ? ['memory'] : []),
        ...(memories.get(pid)?.includes(kept) ? ['memory, kept'] : []),
        ...(title.startsWith('bulkhead egress') && !leavesNoImage(pid) ? ['core dumps'] : []),
      ],
    }))
    marked = searched.filter(({ pid }) => memories.get(pid)?.includes(marker)).map(({ title }) => title)
    return [say('done')]
  }
  server.script([[use('Bash', { command: 'env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr "\\0" "\\n"; true' })], look])
  const ended = await home.prompt(`go ${marker}`, ['--folder', folder, '--approve', 'all'], { env: { ANTHROPIC_API_KEY: key } })
  run = ended
})
afterAll(async () => {
  await home.close()
  await server.close()
})

test('it is in every request to the API', () => {
  expect(run.code, run.story).toBe(0)
  expect(server.requests.map(credentialOf)).toEqual([key, key])
})

describe('of the daemon, its actors and the VM, no process but egress has it', () => {
  test('the search saw all of them', () => {
    const titles = searched.map(({ title }) => title).join('\n')
    for (const wanted of [
      'daemon',
      'bulkhead conversation:',
      'bulkhead fs-gate:',
      'bulkhead egress',
      'bulkhead gateway',
      'bulkhead vm-supervisor',
      'qemu-system',
    ])
      expect(titles).toContain(wanted)
  })

  test('in its environment or on its command line', () => {
    expect(holders.filter(({ where }) => where.includes('environment'))).toEqual([])
  })

  test('in a file it has open', () => {
    expect(
      holders
        .filter(({ where }) => where.includes('open files'))
        .map(({ title }) => title)
        .filter((title) => !title.startsWith('bulkhead egress')),
    ).toEqual([])
  })

  test.runIf(process.platform === 'linux')('in an image of its memory, should it die', () => {
    expect(holders.filter(({ where }) => where.includes('core dumps'))).toEqual([])
  })

  test.runIf(root)('in its memory', () => {
    expect(marked.join('\n'), 'the search finds what is there').toContain('bulkhead conversation:')
    // The memory of the guest is in QEMU's.
    for (const what of ['memory', 'memory, kept'])
      expect(
        holders.filter(({ where }) => where.includes(what)).map(({ title }) => title),
        what,
      ).toEqual([expect.stringMatching(/^bulkhead egress/)])
  })

  test('in the guest', () => {
    expect(bash).toContain('HOME=')
    for (const one of secrets) expect(bash).not.toContain(one)
  })
})

describe.each([
  ['the model key', key],
  ['a secret that is kept', kept],
])('%s', (_what, one) => {
  test('is in no file of the home (journals, logs, the vault), no event and no answer of inspect', async () => {
    expect(filesWith(home.dir, one)).toEqual([])
    expect(`${run.stdout}${run.stderr}`).not.toContain(one)
    expect(JSON.stringify(await home.inspect())).not.toContain(one)
  })
})

test('neither is in a saved memory of the machine', () => {
  const images = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bulkhead', 'images')
  const saved = readdirSync(images).filter((name) => existsSync(join(images, name, 'snapshots')))
  expect(saved.flatMap((name) => filesWith(join(images, name, 'snapshots'), ...secrets))).toEqual([])
})

test('a restarted egress has it again, and still nobody else', async () => {
  process.kill(await home.actorPid('egress'), 'SIGKILL')
  server.script([[say('still here')]])
  const next = await home.prompt('go', ['--approve', 'all'], { env: { ANTHROPIC_API_KEY: key } })
  expect(next.result).toMatchObject({ status: 'done', text: 'still here' })
  expect(credentialOf(server.requests.at(-1))).toBe(key)
})
