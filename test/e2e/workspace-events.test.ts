/** What a session does in the workspace is in the audit log and at the collector: programs, refused system calls, lack of memory, names. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Line } from '../../actors/telemetry/audit-chain.ts'
import type { WorkspaceEvents } from '../../actors/telemetry/protocol.ts'
import { type OtlpReceiver, startOtlpReceiver } from '../harness/otlp-receiver.ts'
import { type Home, openHome } from '../harness/product.ts'
import { say, type ScriptedServer, startScriptedServer, use } from '../harness/scripted-messages-server.ts'

let receiver: OtlpReceiver
let server: ScriptedServer
let home: Home

beforeAll(async () => {
  receiver = await startOtlpReceiver()
  server = await startScriptedServer()
  home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  mkdirSync(home.state, { recursive: true, mode: 0o700 })
  writeFileSync(join(home.state, 'settings.json'), JSON.stringify({ otlpEndpoint: receiver.url }))
})
afterAll(async () => {
  await home.close()
  await server.close()
  await receiver.close()
})

const bpf = process.arch === 'arm64' ? 280 : 321
const command = [
  // Long enough to be looked at.
  `sh -c 'sleep 0.5; exit 3' secret-word`,
  `perl -e 'syscall(${bpf}, 0, 0, 0)'`,
  'getent hosts wombat.example.com',
  // An address nobody was given a name for.
  '(exec 3<>/dev/tcp/198.18.77.7/443)',
  'for n in 1 2 3; do echo x > /dev/udp/192.0.2.1/5353; done',
  `perl -e '$x .= "x" x 10_000_000 while 1'`,
].join('; ')

async function recorded(): Promise<WorkspaceEvents[]> {
  const { stdout } = await home.call(['audit', 'export', '--action', 'workspace.events'])
  const lines = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line)
  for (const { from, action } of lines) expect([from, action]).toEqual(['vm-supervisor', 'workspace.events'])
  return lines.map(({ data }) => data as unknown as WorkspaceEvents)
}

test('programs, refused system calls, lack of memory and names are on record with their session; no words of it leave the device', async () => {
  server.script([[use('Bash', { command, timeout: 300_000 })], [say('done')]])
  const run = await home.prompt('go', ['--session', 'watched', '--approve', 'all'], { deadlineMs: 600_000 })
  expect(run.results, run.story).toHaveLength(1)
  const wanted = [
    'process_start',
    'process_exit',
    'syscall_denied',
    'name_lookup',
    'connection_refused',
    'out_of_memory',
    'datagrams_refused',
  ]
  await expect
    .poll(async () => [...new Set((await recorded()).flatMap(({ events }) => events.map(({ name }) => name as string)))])
    .toEqual(expect.arrayContaining(wanted))
  const batches = await recorded()
  expect(new Set(batches.map(({ session }) => session))).toEqual(new Set(['watched']))
  const all = batches.flatMap(({ events }) => events)
  const start = all.find(({ name, attributes }) => name === 'process_start' && String(attributes['command']).startsWith('sh -c'))
  expect(start?.attributes, JSON.stringify(all)).toMatchObject({
    pid: expect.any(Number),
    path: expect.stringMatching(/^\/usr\/bin\/\w*sh$/),
    command: expect.stringContaining('secret-word'),
  })
  const end = all.find(({ name, attributes }) => name === 'process_exit' && attributes['pid'] === start?.attributes['pid'])
  expect(end?.attributes).toMatchObject({ code: 3 })
  const denied = all.filter(({ name }) => name === 'syscall_denied')
  expect(denied).toMatchObject([{ attributes: { program: 'perl', syscall: 'bpf', killed: false } }])
  expect(all.find(({ name }) => name === 'name_lookup')?.attributes).toEqual({ name: 'wombat.example.com' })
  expect(all.filter(({ name }) => name === 'datagrams_refused')).toMatchObject([{ attributes: { count: 3 } }])

  await expect
    .poll(() => [...new Set(receiver.logs.map(({ name }) => name))])
    .toEqual(expect.arrayContaining(wanted.map((name) => `workspace_${name}`)))
  const logs = receiver.logs.filter(({ name }) => name.startsWith('workspace_'))
  for (const { attributes } of logs) expect(attributes['session.id']).toBe('watched')
  expect(logs.find(({ name }) => name === 'workspace_syscall_denied')?.attributes).toMatchObject({
    'process.executable.name': 'perl',
    'syscall.name': 'bpf',
  })
  // A command's words and names are content, which nobody opted in to.
  expect(JSON.stringify(receiver.logs)).not.toMatch(/secret-word|wombat/)
})
