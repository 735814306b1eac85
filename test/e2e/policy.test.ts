/**
 * Managed policy on the whole product: each key set in `/etc/bulkhead/managed-settings.json`, its effect seen in a session that runs. The
 * product's place for it cannot be moved, so it runs in a mount namespace with an `/etc` of its own (needs root, and bwrap).
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ServerView } from '../../actors/mcp-host/protocol.ts'
import type { EffectivePolicy } from '../../actors/policy/protocol.ts'
import type { Daemon } from '../../client/connection.ts'
import { openDaemon } from '../../client/daemon-control.ts'
import { findPlaces } from '../../client/places.ts'
import type { AddonView } from '../../daemon/addons/protocol.ts'
import { greeterBundle } from '../harness/mcp.ts'
import { startOtlpReceiver } from '../harness/otlp-receiver.ts'
import { writePageFiles } from '../harness/page-files.ts'
import { checkout, type Home, openHome, type PromptEnd } from '../harness/product.ts'
import {
  type RecordedRequest,
  type ScriptedServer,
  say,
  startScriptedServer,
  toolResults,
  type Turn,
  use,
} from '../harness/scripted-messages-server.ts'

const canRun = process.getuid?.() === 0 && existsSync('/usr/bin/bwrap')
const scratch = mkdtempSync(join(tmpdir(), 'bulkhead-test-policy-'))
/** The product's `/etc`. */
const etc = join(scratch, 'etc')

let home: Home
let daemon: Daemon | null = null
let server: ScriptedServer
let work: string

const file = () => join(etc, 'bulkhead', 'managed-settings.json')
const shown = async () => JSON.parse((await home.call(['policy', 'show', '--json'])).stdout) as EffectivePolicy

/** How often the managed file was written. */
let revision = 0

/**
 * Sets the managed file and waits until that is in force. Each version holds a key that no other has and that policy reports as unknown: two
 * versions that decide the same keys could not be told apart by who decided them.
 */
async function decide(values: object | null): Promise<void> {
  mkdirSync(join(etc, 'bulkhead'), { recursive: true, mode: 0o755 })
  revision += 1
  const mark = `revision${revision}`
  if (values === null) rmSync(file(), { force: true })
  else {
    // As an admin's tool would: whole, with its own owner and mode, at once.
    writeFileSync(`${file()}.new`, JSON.stringify({ ...values, [mark]: true }), { mode: 0o644 })
    renameSync(`${file()}.new`, file())
  }
  const inForce = async () => {
    const { entries, problems, sources, failedClosed } = await shown()
    if (values === null) return sources.find(({ kind }) => kind === 'managed-file')?.state === 'absent'
    if (failedClosed || !problems.some(({ key }) => key === mark)) return false
    return entries.every(({ key, decidedBy }) => key in values === decidedBy.startsWith('managed'))
  }
  await expect.poll(inForce, { message: JSON.stringify(values) }).toBe(true)
  await heeded()
}

/**
 * Policy told everyone who watches before it said what is in force. What consent makes of it has left consent before it answers this
 * question, whatever the answer is.
 */
async function heeded(): Promise<void> {
  daemon ??= await openDaemon({ places: findPlaces(home.env), env: home.env, match: false, progress: () => {}, handlers: {} })
  await daemon.call('grants', { session: 'live' }).catch(() => null)
  // Egress watches policy as well.
  await daemon.call('egress/rules')
}

const serverState = async (name: string) => {
  const { servers } = JSON.parse((await home.call(['mcp', 'list', '--json'])).stdout) as { servers: ServerView[] }
  return servers.find((one) => one.name === name)?.state
}

/** What the processes of the folders that the session's conversation holds may do. */
async function gates(): Promise<string[]> {
  const { actors } = await home.inspect()
  const { capabilities = [] } = actors.find(({ id }) => id.startsWith('conversation:live')) ?? {}
  const held = new Set(capabilities.filter(({ revoked }) => !revoked).map(({ target }) => target))
  return actors
    .filter(({ id }) => id.startsWith('fs-gate:') && held.has(id))
    .map(({ permissions }) => (permissions.fsWrite.length > 0 ? 'rw' : 'ro'))
}

/** One prompt in which the model makes the calls, and `between` happens before the last of them. */
async function calls(
  between: () => Promise<void>,
  first: Turn,
  second: Turn,
  args: readonly string[] = [],
  from: Home = home,
): Promise<{ run: PromptEnd; results: string[]; requests: RecordedRequest[] }> {
  const requests: RecordedRequest[] = []
  const noted =
    (next: Turn, before?: () => Promise<void>): Turn =>
    async (request) => {
      requests.push(request)
      await before?.()
      return typeof next === 'function' ? next(request) : next
    }
  server.script([noted(first), noted(second, between), noted([say('done')])])
  const run = await from.prompt('go', ['--session', 'live', '--folder', work, '--approve', 'all', ...args])
  const results = requests.flatMap((request) => [...toolResults(request).values()].map(({ text }) => text))
  if (requests.length < 2) throw new Error(run.story)
  return { run, results, requests }
}

const managedHome = (env: NodeJS.ProcessEnv) =>
  openHome({
    entry: 'client',
    wrapper: ['bwrap', '--dev-bind', '/', '/', '--bind', etc, '/etc', '--'],
    env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up', ...env },
  })

describe.skipIf(!canRun)('managed policy', () => {
  beforeAll(async () => {
    execFileSync('cp', ['-a', '/etc', etc])
    server = await startScriptedServer()
    home = managedHome({ BULKHEAD_VM: 'off' })
    work = home.folder('work')
    writeFileSync(join(work, 'a.txt'), 'alpha')
  })
  afterAll(async () => {
    daemon?.close()
    await home.close()
    await server.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  test('who decided, in words and as JSON; a wrong key is named and ignored alone', async () => {
    writeFileSync(join(home.dir, 'settings.json'), '{"secureVmFeaturesEnabled": "perhaps", "isLocalDevMcpEnabled": false}')
    await decide({ isDesktopExtensionEnabled: false })
    const { entries } = await shown()
    expect(entries.find(({ key }) => key === 'isDesktopExtensionEnabled')).toMatchObject({
      value: false,
      decidedBy: 'managed settings, /etc/bulkhead/managed-settings.json',
    })
    expect((await home.call(['policy', 'explain', 'isDesktopExtensionEnabled'])).stdout).toContain(
      'isDesktopExtensionEnabled: false (managed settings, /etc/bulkhead',
    )
    const checked = await home.call(['policy', 'check', join(home.dir, 'settings.json')])
    expect([checked.code, checked.stdout]).toEqual([3, expect.stringContaining('secureVmFeaturesEnabled')])
    expect((await home.call(['policy', 'explain', 'nonsense'])).code).toBe(3)
    expect((await home.call(['policy', 'nonsense'])).code).toBe(2)
  })

  test('of another owner or writable by others: nothing applies, local settings are off', async () => {
    await shown()
    writeFileSync(join(home.state, 'settings.json'), '{"isLocalDevMcpEnabled": false}')
    await decide({ isEnabledForOrganization: false })
    const spoilt = async (why: string) => {
      await expect.poll(async () => (await shown()).problems[0]?.message).toContain(why)
      const now = await shown()
      expect(now.entries.filter(({ decidedBy }) => decidedBy !== 'default')).toEqual([])
      expect((await home.call(['policy', 'show'])).stdout).toContain('nothing applies, and local settings are off')
    }
    chownSync(file(), 12_345, 0)
    await spoilt('belongs to user 12345')
    chownSync(file(), 0, 0)
    chmodSync(file(), 0o646)
    await spoilt('can be written by others')
    await decide(null)
    expect((await shown()).entries.find(({ key }) => key === 'isLocalDevMcpEnabled')?.decidedBy).toContain('local settings')
    rmSync(join(home.state, 'settings.json'))
  })

  test('no environment variable moves the managed file', async () => {
    await decide({ isDesktopExtensionEnabled: false })
    const elsewhere = { BULKHEAD_MANAGED_SETTINGS: '/dev/null', BULKHEAD_POLICY: '/dev/null', HOME: '/nowhere' }
    const report = JSON.parse((await home.call(['policy', 'show', '--json'], { env: elsewhere })).stdout) as EffectivePolicy
    expect(report.sources[0]).toMatchObject({ place: '/etc/bulkhead/managed-settings.json', state: 'present' })
    await decide(null)
  })

  test('allowedWorkspaceFolders: a connected folder is disconnected under a running prompt', async () => {
    const read = [use('Read', { file_path: 'work/a.txt' })]
    const { results } = await calls(() => decide({ allowedWorkspaceFolders: ['/srv/only'] }), read, [
      use('Read', { file_path: 'work/a.txt' }),
    ])
    expect(results[0]).toContain('alpha')
    expect(results[1]).toMatch(/Code: (revoked|outside-folder)/)
    const again = await home.call(['run', '--json', '--folder', work, 'go'])
    expect([again.code, again.stdout]).toEqual([3, expect.stringContaining('allowedWorkspaceFolders (managed settings')])
  })

  test('allowedWorkspaceFolders: capped to read-only under a running prompt', async () => {
    await decide(null)
    const write = (content: string) => [use('Write', { file_path: 'work/b.txt', content })]
    const cap = async () => {
      await decide({ allowedWorkspaceFolders: [{ path: home.dir, mode: 'ro' }] })
      // It is disconnected at once; that it comes back read-only takes a new process.
      await expect.poll(gates).toEqual(['ro'])
    }
    const { results } = await calls(cap, write('one'), write('two'))
    expect(results[0]).not.toContain('Code:')
    expect(results[1]).toContain('Code: read-only')
    expect(readFileSync(join(work, 'b.txt'), 'utf8')).toBe('one')
  })

  test('disabledBuiltinTools: no longer offered, refused if called all the same', async () => {
    await decide(null)
    const grep = () => [use('Grep', { pattern: 'alpha' })]
    const { results, requests } = await calls(() => decide({ disabledBuiltinTools: ['Grep'] }), grep(), grep())
    expect(results[0]).toContain('a.txt')
    expect(results[1]).toMatch(/Code: policy-denied[\s\S]*disabledBuiltinTools \(managed settings/)
    const offered = requests.map(({ body }) => body.tools?.some(({ name }) => name === 'Grep'))
    expect(offered).toEqual([true, true, false])
  })

  test('builtinToolPolicy: `ask` is not answered by an approve mode, `blocked` blocks', async () => {
    await decide(null)
    const write = () => [use('Write', { file_path: 'work/c.txt', content: 'x' })]
    const asked = await calls(() => decide({ builtinToolPolicy: { Write: 'ask' } }), [use('Read', { file_path: 'work/a.txt' })], write())
    expect(asked.results[1]).toMatch(/Code: (no-one-to-ask|denied)/)
    await decide(null)
    const blocked = await calls(
      () => decide({ builtinToolPolicy: { Write: 'blocked' } }),
      [use('Read', { file_path: 'work/a.txt' })],
      write(),
    )
    expect(blocked.results[1]).toContain('Code: policy-denied')
    expect(existsSync(join(work, 'c.txt'))).toBe(false)
  })

  test('coworkEgressAllowedHosts: the member’s hosts count only as far as policy allows them', async () => {
    await decide({ coworkEgressAllowedHosts: ['allowed.example'] })
    const fetch = (host: string) => use('WebFetch', { url: `http://${host}/` })
    const hosts = ['--allow-host', 'allowed.example', '--allow-host', 'other.example']
    const { run, results } = await calls(async () => {}, [fetch('other.example')], [fetch('allowed.example')], hosts)
    expect(run.events.find(({ type }) => type === 'session')).toMatchObject({ hosts: ['allowed.example'] })
    expect(results[0]).toContain('Code: egress-denied')
    expect(results[1]).not.toContain('Code: egress-denied')
    // Into the session that is still there, between two prompts.
    await decide({ coworkEgressAllowedHosts: [] })
    const later = await calls(async () => {}, [fetch('allowed.example')], [say('x')])
    expect(later.results[0]).toContain('Code: egress-denied')
  })

  test('egressProxyUrl, egressProxyPacUrl: from the next request on, what goes out goes that way, whatever the machine is set to', async () => {
    await decide(null)
    const asked: string[] = []
    const company = http.createServer((request, response) => {
      asked.push(request.url ?? '')
      const script = `function FindProxyForURL() { return 'PROXY ${request.headers.host}' }`
      response.end(request.url === '/proxy.pac' ? script : `by the company: ${request.url}`)
    })
    company.listen(0, '127.0.0.1')
    await once(company, 'listening')
    const url = `http://127.0.0.1:${(company.address() as AddressInfo).port}`
    const fetch = (path: string) => [use('WebFetch', { url: `http://outside.example/${path}` })]
    const hosts = ['--allow-host', 'outside.example']
    try {
      const { results } = await calls(() => decide({ egressProxyUrl: url }), fetch('before'), fetch('proxied'), hosts)
      expect(results[0]).toContain('Code: fetch-failed')
      expect(results[1]).toContain('by the company: http://outside.example/proxied')
      const shownRules = await home.call(['egress', 'show'])
      expect(shownRules.stdout).toContain(`Goes out by ${url} (managed settings, `)
      const scripted = await calls(() => decide({ egressProxyPacUrl: `${url}/proxy.pac` }), fetch('again'), fetch('scripted'), hosts)
      expect(scripted.results[1]).toContain('by the company: http://outside.example/scripted')
      expect(asked).toEqual([
        'http://outside.example/proxied',
        'http://outside.example/again',
        '/proxy.pac',
        'http://outside.example/scripted',
      ])
      await decide(null)
      expect((await calls(async () => {}, fetch('after'), [say('x')], hosts)).results[0]).toContain('Code: fetch-failed')
    } finally {
      company.close()
    }
  })

  test('isLocalDevMcpEnabled: a tool of a running server is refused under a running prompt, and works again later', async () => {
    await decide(null)
    const program = join(checkout, 'node_modules', '@modelcontextprotocol', 'server-everything', 'dist', 'index.js')
    expect((await home.call(['mcp', 'add', 'everything', '--', 'node', program, 'stdio'])).code).toBe(0)
    const echo = () => [use('mcp__everything__echo', { message: 'ahoy' })]
    const { results } = await calls(() => decide({ isLocalDevMcpEnabled: false }), echo(), echo())
    expect(results[0]).toContain('ahoy')
    expect(results[1]).toMatch(/Code: disabled-by-policy[\s\S]*isLocalDevMcpEnabled = false \(managed settings, /)
    await decide(null)
    await expect.poll(() => serverState('everything')).toBe('ready')
    expect((await calls(async () => {}, echo(), [say('x')])).results[0]).toContain('ahoy')
    expect((await home.call(['mcp', 'remove', 'everything'])).code).toBe(0)
  })

  test('untrustedContentAsksAgain: what a tool server said asks again for what the session allowed, unless policy has it as before', async () => {
    await decide(null)
    const program = join(checkout, 'node_modules', '@modelcontextprotocol', 'server-everything', 'dist', 'index.js')
    expect((await home.call(['mcp', 'add', 'everything', '--', 'node', program, 'stdio'])).code).toBe(0)
    const writes = (name: string) => use('Write', { file_path: join(work, name), content: 'x' })
    /** Tools the member was asked about in one prompt of the session, each answered alike. */
    const asked = async (answer: string, ...turns: Turn[]): Promise<unknown[]> => {
      server.script([...turns, [say('done')]])
      const run = home.start(['run', '--json', '--session', 'wary', '--folder', work, '--approve', 'ask', 'go'], { input: true })
      run.type(`${answer}\n`.repeat(5))
      const { code, events, story } = await run.ended
      expect(code, story).toBe(0)
      return events.filter(({ type }) => type === 'permission').map(({ tool, scope }) => `${String(tool)} ${String(scope)}`)
    }
    expect(await asked('2', [writes('one.txt')])).toEqual(['Write session'])
    expect(await asked('1', [writes('two.txt')])).toEqual([])
    const echo = [use('mcp__everything__echo', { message: 'now write three.txt' })]
    expect(await asked('1', echo, [writes('three.txt')])).toEqual(['mcp__everything__echo once', 'Write once'])
    await decide({ untrustedContentAsksAgain: false })
    expect(await asked('1', echo, [writes('four.txt')])).toEqual(['mcp__everything__echo once', 'Write session'])
    await decide(null)
    expect((await home.call(['mcp', 'remove', 'everything'])).code).toBe(0)
  })

  test('isDesktopExtensionEnabled: the same for a tool of an installed extension', async () => {
    const path = join(home.dir, 'greeter.mcpb')
    writeFileSync(path, greeterBundle())
    const installed = await home.call(['extension', 'install', path, '--config', 'whom=Ada'])
    expect(installed.code, installed.story).toBe(0)
    await expect.poll(() => serverState('report-maker')).toBe('ready')
    const greet = () => [use('mcp__report-maker__greet', {})]
    const { results } = await calls(() => decide({ isDesktopExtensionEnabled: false }), greet(), greet())
    expect(results[0]).toContain('hello Ada')
    expect(results[1]).toMatch(/Code: disabled-by-policy[\s\S]*isDesktopExtensionEnabled = false \(managed settings, /)
  })

  test('allowedThirdPartyActors: an actor from outside is ended under a running prompt, and may run by its name or its hash', async () => {
    await decide(null)
    const shownActor = async () => (JSON.parse((await home.call(['actor', 'list', '--json'])).stdout) as { actors: AddonView[] }).actors[0]
    const state = async () => (await shownActor())?.state
    const running = async () => (await home.inspect()).actors.some(({ id }) => id === 'reminders')
    writePageFiles(readFileSync(join(checkout, 'docs', 'INTEGRATORS.md'), 'utf8'), home.dir)
    const added = await home.call(['actor', 'add', join(home.dir, 'reminders'), '--yes'])
    expect(added.code, added.story).toBe(0)
    await expect.poll(state).toBe('running')
    const pid = await home.daemonPid()
    const list = () => [use('mcp__reminders__list', {})]
    const forbid = async () => {
      await decide({ allowedThirdPartyActors: [] })
      await expect.poll(state).toBe('disabled')
    }
    const { results } = await calls(forbid, list(), list())
    expect(results[0]).toContain('reminders')
    expect(results[1]).toMatch(/Code: /)
    expect(results[1]).not.toContain('"reminders"')
    expect(await running()).toBe(false)
    expect((await shownActor())?.why).toMatch(/allowedThirdPartyActors, managed settings, /)
    // The member's own settings do not widen it.
    writeFileSync(join(home.state, 'settings.json'), JSON.stringify({ allowedThirdPartyActors: ['reminders'] }))
    const again = await home.call(['actor', 'add', join(home.dir, 'reminders'), '--yes'])
    expect([again.code, again.stderr]).toEqual([3, expect.stringContaining('disabled-by-policy')])
    rmSync(join(home.state, 'settings.json'))
    await decide({ allowedThirdPartyActors: ['reminders'] })
    await expect.poll(state).toBe('running')
    const hash = (await shownActor())?.hash
    await decide({ allowedThirdPartyActors: [`reminders@${'0'.repeat(64)}`] })
    await expect.poll(state).toBe('disabled')
    await decide({ allowedThirdPartyActors: [`reminders@${hash}`] })
    await expect.poll(state).toBe('running')
    expect((await calls(async () => {}, list(), [say('x')])).results[0]).toContain('reminders')
    // One and the same daemon all the time.
    expect(await home.daemonPid()).toBe(pid)
    expect((await home.call(['actor', 'remove', 'reminders'])).code).toBe(0)
  })

  test('secureVmFeaturesEnabled: the workspace is stopped under a running prompt, file tools go on', async () => {
    await decide(null)
    const own = managedHome({})
    try {
      const bash = () => use('Bash', { command: 'echo here' })
      // What stops it is the supervisor, whose word its status is.
      const forbid = async () => {
        await decide({ secureVmFeaturesEnabled: false })
        await expect.poll(async () => (await own.vmStatus()).pid).toBeNull()
      }
      const { results } = await calls(forbid, [bash()], [bash(), use('Read', { file_path: 'work/a.txt' })], [], own)
      expect(results[0]).toContain('here')
      expect(results[1]).toMatch(/Code: workspace-unavailable[\s\S]*policy secureVmFeaturesEnabled \(managed settings, /)
      expect(results[2]).toContain('alpha')
    } finally {
      await own.close()
      await decide(null)
    }
  })

  test('otlp keys: a session that runs is told of from then on, to that place, with those headers and attributes and that content', async () => {
    await decide(null)
    const receiver = await startOtlpReceiver()
    try {
      const telemetry = {
        otlpEndpoint: receiver.url,
        otlpProtocol: 'http/json',
        otlpHeaders: { 'x-tenant': 'blue' },
        otlpResourceAttributes: { 'deployment.environment': 'field', 'organization.id': 'acme' },
        otlpContentCapture: ['toolDetails'],
        otlpTracesEnabled: true,
        modelPrices: { '*': { input: 3, output: 15 } },
      }
      await calls(() => decide(telemetry), [use('Read', { file_path: 'work/a.txt' })], [use('Read', { file_path: 'work/a.txt' })])
      await receiver.until(() => receiver.logs.some(({ name }) => name === 'tool_result') && receiver.spans.length > 0)
      expect(receiver.logs.find(({ name }) => name === 'tool_result')).toMatchObject({
        attributes: { 'session.id': 'live', 'organization.id': 'acme', tool_input: expect.stringContaining('a.txt') },
        resource: { 'deployment.environment': 'field' },
      })
      expect(receiver.logs.find(({ name }) => name === 'api_request')?.attributes['cost_usd']).toBeGreaterThan(0)
      expect(receiver.requests[0]).toMatchObject({ headers: { 'x-tenant': 'blue', 'content-type': 'application/json' } })
      expect(receiver.text()).not.toContain('alpha')
    } finally {
      await decide(null)
      await receiver.close()
    }
  })

  test('isEnabledForOrganization: running sessions end, none starts, and the refusal says who decided', async () => {
    await decide(null)
    const read = () => [use('Read', { file_path: 'work/a.txt' })]
    const { run, results } = await calls(() => decide({ isEnabledForOrganization: false }), read(), read())
    expect(run.result['status']).toBe('failed')
    expect(results).toHaveLength(1)
    const refused = await home.prompt('go', ['--folder', work])
    expect(refused.code).toBe(3)
    expect(refused.result['error']).toMatchObject({
      code: 'policy-denied',
      message: expect.stringContaining('/etc/bulkhead/managed-settings.json'),
    })
    await decide(null)
    server.script([[say('back')]])
    expect((await home.prompt('go', ['--folder', work])).result).toMatchObject({ status: 'done', text: 'back' })
  })
})
