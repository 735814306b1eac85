/** Telemetry and audit on the whole product: a collector nobody here wrote, the daemon as users have it, and the log on the disk. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Line } from '../../actors/telemetry/audit-chain.ts'
import type { TelemetryStatus, TelemetryTest } from '../../actors/telemetry/protocol.ts'
import { type OtlpReceiver, startOtlpReceiver } from '../harness/otlp-receiver.ts'
import { checkout, type Home, openHome } from '../harness/product.ts'
import { say, type ScriptedServer, startScriptedServer, use } from '../harness/scripted-messages-server.ts'
import { filesWith, inEnvironment, inMemory } from '../harness/secrets.ts'

const secret = 'Bearer otlp-secret-8d1f'
const promptText = 'Read wombat-notes.txt and write quokka.md'
let receiver: OtlpReceiver
let server: ScriptedServer
let home: Home

/** Local settings: this account's own telemetry. What managed ones do is tested with policy. */
function decide(values: object): void {
  mkdirSync(home.state, { recursive: true, mode: 0o700 })
  writeFileSync(join(home.state, 'settings.json.new'), JSON.stringify(values))
  renameSync(join(home.state, 'settings.json.new'), join(home.state, 'settings.json'))
}
const base = () => ({ otlpEndpoint: receiver.url, otlpHeaders: { authorization: secret } })
const status = async () => JSON.parse((await home.call(['telemetry', 'status', '--json'])).stdout) as TelemetryStatus
async function inForce(holds: (now: TelemetryStatus) => boolean): Promise<TelemetryStatus> {
  for (;;) {
    const now = await status()
    if (holds(now)) return now
  }
}
const entries = async (...args: string[]) =>
  (await home.call(['audit', 'export', ...args])).stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line)
const events = (prompt: unknown) => receiver.logs.filter(({ attributes }) => attributes['prompt.id'] === prompt)
const promptOf = (session: string) =>
  receiver.logs.find(({ name, attributes }) => name === 'user_prompt' && attributes['session.id'] === session)?.attributes['prompt.id']

beforeAll(async () => {
  receiver = await startOtlpReceiver()
  server = await startScriptedServer()
  home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up', BULKHEAD_VM: 'off' } })
  decide({ ...base(), otlpTracesEnabled: true, otlpResourceAttributes: { 'deployment.environment': 'test', 'service.name': 'mine' } })
})
afterAll(async () => {
  await home.close()
  await server.close()
  await receiver.close()
})

describe('one prompt, with the workspace down', () => {
  let folder: string
  let traceId: string

  test('its six events arrive with one prompt.id, in order, and no text of it', async () => {
    folder = home.folder('zoo')
    writeFileSync(join(folder, 'wombat-notes.txt'), 'the numbat is awake')
    await inForce(({ state }) => state === 'on')
    traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    server.script([
      { status: 529, error: 'overloaded_error', message: 'Overloaded' },
      [use('Read', { file_path: 'zoo/wombat-notes.txt' })],
      [use('Write', { file_path: 'zoo/quokka.md', content: 'numbat' }), use('Bash', { command: 'echo bilby' })],
      [say('The quokka file is written.')],
    ])
    const run = await home.prompt(promptText, ['--session', 'zoo', '--folder', folder, '--approve', 'all'], {
      env: { TRACEPARENT: `00-${traceId}-00f067aa0ba902b7-01` },
    })
    expect(run.result, run.story).toMatchObject({ status: 'done' })
    await receiver.until(() => events(promptOf('zoo')).filter(({ name }) => name === 'assistant_response').length === 1)
    const told = events(promptOf('zoo'))
    expect(told.map(({ name }) => name)).toEqual([
      'user_prompt',
      'api_error',
      'api_request',
      'tool_decision',
      'tool_result',
      'api_request',
      'tool_decision',
      'tool_result',
      'tool_decision',
      'tool_result',
      'api_request',
      'assistant_response',
    ])
    const sequence = told.map(({ attributes }) => attributes['event.sequence'] as number)
    expect(sequence).toEqual(sequence.toSorted((a, b) => a - b))
    expect(new Set(sequence).size).toBe(sequence.length)
    const named = (name: string) => told.filter((event) => event.name === name).map(({ attributes }) => attributes)
    expect(named('user_prompt')[0]).toMatchObject({
      'event.name': 'user_prompt',
      'event.timestamp': expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      'session.id': 'zoo',
      'prompt.id': expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4/),
      'workspace.host_paths': [folder],
      'terminal.type': 'non-interactive',
      prompt_length: promptText.length,
      prompt: '<REDACTED>',
    })
    expect(named('api_error')[0]).toMatchObject({
      status_code: '529',
      error: 'model-unreachable',
      attempt: 1,
      duration_ms: expect.any(Number),
    })
    expect(named('api_request')[0]).toMatchObject({
      input_tokens: 11,
      output_tokens: 7,
      cache_read_tokens: 0,
      speed: 'normal',
      model: expect.any(String),
    })
    expect(named('tool_decision')).toMatchObject([
      { tool_name: 'Read', decision: 'accept', source: 'config' },
      { tool_name: 'Write', decision: 'accept', source: 'config' },
      { tool_name: 'Bash', decision: 'accept', source: 'config' },
    ])
    expect(named('tool_result')).toMatchObject([
      {
        tool_name: 'Read',
        success: 'true',
        decision_type: 'accept',
        decision_source: 'config',
        tool_result_size_bytes: expect.any(Number),
      },
      { tool_name: 'Write', success: 'true' },
      // The workspace is off: its refusal is telemetry like anything else.
      { tool_name: 'Bash', success: 'false', error: 'workspace-unavailable' },
    ])
    expect(named('assistant_response')[0]).toMatchObject({
      response_length: 27,
      response: '<REDACTED>',
      request_id: expect.stringContaining('req_'),
    })
    expect(told[0]?.resource).toMatchObject({
      'service.name': 'bulkhead',
      'deployment.environment': 'test',
      'process.owner': expect.any(String),
    })
    for (const text of ['quokka', 'numbat', 'bilby', 'wombat']) expect(receiver.text()).not.toContain(text)
    expect(receiver.requests.every(({ headers }) => headers['authorization'] === secret)).toBe(true)
    expect(receiver.requests.every(({ headers }) => headers['content-type'] === 'application/x-protobuf')).toBe(true)
  })

  test('its trace runs from the client through the hops to the tool and the workspace', async () => {
    const spans = () => receiver.spans.filter((span) => span.traceId === traceId)
    await receiver.until(() => spans().some(({ name }) => name === 'prompt conversation'))
    const byId = new Map(spans().map((span) => [span.spanId, span]))
    /** From each span of that name up to the first of the trace. */
    const ways = (name: string): string[][] =>
      spans()
        .filter((found) => found.name === name)
        .map((found) => {
          const path: string[] = []
          for (let span: typeof found | undefined = found; span; span = byId.get(span.parentId)) path.push(span.name)
          return path
        })
    expect(spans().find(({ name }) => name === 'prompt conversation')?.parentId).toBe('00f067aa0ba902b7')
    // Before the turn the folder's instructions are looked for as well.
    expect(ways('read fs-gate')).toContainEqual(['read fs-gate', 'execute_tool Read', 'prompt conversation'])
    expect(ways('write fs-gate')).toContainEqual(['write fs-gate', 'execute_tool Write', 'prompt conversation'])
    expect(ways('exec vm-supervisor')).toContainEqual(['exec vm-supervisor', 'execute_tool Bash', 'prompt conversation'])
    expect(ways('ask consent')).toContainEqual(['ask consent', 'prompt conversation'])
    expect(ways('model egress')).toContainEqual(['model egress', expect.stringMatching(/^chat claude/), 'prompt conversation'])
    expect(spans().find(({ name }) => name === 'exec vm-supervisor')).toMatchObject({ error: true })
    // Events belong to spans of the same trace.
    expect(
      events(promptOf('zoo'))
        .filter(({ name }) => name === 'tool_result')
        .map((event) => byId.get(event.spanId)?.name),
    ).toEqual(['execute_tool Read', 'execute_tool Write', 'execute_tool Bash'])
  })

  test('a self test says what came back, and brings the metrics', async () => {
    const run = await home.call(['telemetry', 'test', '--json'])
    expect(run.code, run.story).toBe(0)
    const { results, endpoint } = JSON.parse(run.stdout) as TelemetryTest
    expect(endpoint).toBe(receiver.url)
    expect(results.map(({ signal, ok }) => [signal, ok])).toEqual([
      ['logs', true],
      ['metrics', true],
      ['traces', true],
    ])
    const metric = (name: string) => receiver.metrics.findLast((item) => item.name === name)?.points ?? []
    expect(metric('bulkhead.token.usage').find(({ attributes }) => attributes['type'] === 'input')?.value).toBe(33)
    expect(metric('bulkhead.session.count')).toMatchObject([{ attributes: { start_type: 'fresh' }, value: 1 }])
    expect(metric('gen_ai.execute_tool.duration').length).toBeGreaterThan(0)
    expect((await home.call(['telemetry', 'test'])).stdout).toMatch(/logs +taken after \d+ ms/)
  })

  test('the audit log has what was decided and done, in order, and is whole', async () => {
    const log = await entries()
    const actions = log.map(({ action }) => action)
    const at = (action: string, holds: (line: Line) => boolean = () => true) =>
      log.findIndex((line) => line.action === action && holds(line))
    const about = (tool: string) => (line: Line) => line.data['tool'] === tool
    expect(actions).toEqual(expect.arrayContaining(['policy.read', 'session.opened', 'folder.connected', 'egress.allowed']))
    expect(log[at('folder.connected')]).toMatchObject({ from: 'consent', data: { session: 'zoo', root: folder, mode: 'rw' } })
    expect(at('folder.connected')).toBeLessThan(at('session.opened'))
    expect(log[at('permission.allowed', about('Write'))]).toMatchObject({
      from: 'consent',
      data: { session: 'zoo', by: 'approve mode all', scope: 'once', target: { kind: 'write', folder: 'zoo', path: 'quokka.md' } },
    })
    expect(log[at('tool.called', about('Write'))]).toMatchObject({ from: 'conversation:zoo', session: 'zoo' })
    expect(at('permission.allowed', about('Write'))).toBeLessThan(at('tool.called', about('Write')))
    expect(log[at('tool.called', about('Bash'))]?.data).toMatchObject({ target: { kind: 'exec', command: 'echo bilby' } })
    expect(log[at('tool.called', about('Read'))]?.data).toMatchObject({ title: expect.stringContaining('wombat-notes.txt') })
    const verified = await home.call(['audit', 'verify'])
    expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining('The audit log is whole')])
    expect((await entries('--session', 'zoo', '--action', 'permission')).every(({ action }) => action.startsWith('permission.'))).toBe(true)
    // The collector has its head, as a witness outside the device.
    const witness = receiver.logs.find(({ name }) => name === 'audit_head')?.attributes ?? {}
    const expected = `${String(witness['audit.entry'])}:${String(witness['audit.hash'])}`
    expect((await home.call(['audit', 'verify', '--expect', expected, '--key', String(witness['audit.key'])])).code).toBe(0)
    expect((await home.call(['audit', 'verify', '--expect', `${String(witness['audit.entry'])}:${'0'.repeat(64)}`])).code).toBe(3)
  })

  test('the headers for the collector are in no log, no file but the settings, no environment, no inspection', async () => {
    expect(JSON.stringify(await home.inspect())).not.toContain('otlp-secret')
    expect(JSON.stringify(await status())).not.toContain('otlp-secret')
    expect(filesWith(home.state, 'otlp-secret').filter((path) => !path.endsWith('settings.json'))).toEqual([])
    for (const { pid } of home.processes()) expect(inEnvironment(pid, 'otlp-secret')).toBe(false)
    if (process.getuid?.() !== 0) return
    for (const actor of ['gateway', 'conversation:zoo']) expect(inMemory(await home.actorPid(actor), ['otlp-secret']), actor).toEqual([])
  })
})

test('content that policy opts in to is sent, as JSON when it says so, from the next event on', async () => {
  decide({ ...base(), otlpProtocol: 'http/json', otlpContentCapture: ['userPrompts', 'toolDetails', 'rawApiBodies'] })
  await inForce(({ capture, protocol }) => capture.length === 3 && protocol === 'http/json')
  server.script([[use('Read', { file_path: 'zoo/none.txt' })], [say('Nothing there.')]])
  const run = await home.prompt('Look for the numbat', ['--session', 'open', '--folder', join(home.dir, 'folders', 'zoo')])
  expect(run.code, run.story).toBe(0)
  await receiver.until(() => events(promptOf('open')).some(({ name }) => name === 'assistant_response'))
  const [prompt, ...rest] = events(promptOf('open')).map(({ attributes }) => attributes)
  expect(prompt).toMatchObject({ prompt: 'Look for the numbat' })
  expect(rest.find((attributes) => attributes['event.name'] === 'assistant_response')).toMatchObject({ response: 'Nothing there.' })
  expect(rest.find((attributes) => attributes['event.name'] === 'tool_result')).toMatchObject({
    tool_input: '{"file_path":"zoo/none.txt"}',
    error: 'not-found',
    error_message: expect.any(String),
  })
  type ApiBody = { messages?: unknown[]; stop_reason?: string }
  const bodies = (name: string) =>
    rest.filter((attributes) => attributes['event.name'] === name).map(({ body }) => JSON.parse(String(body)) as ApiBody)
  expect(bodies('api_request_body').map(({ messages }) => messages?.length)).toEqual([1, 3])
  expect(bodies('api_response_body').map(({ stop_reason: why }) => why)).toEqual(['tool_use', 'end_turn'])
  expect(receiver.requests.at(-1)?.headers['content-type']).toBe('application/json')
})

test('the collector goes away and comes back: nothing waits for it, what waited arrives', async () => {
  const { port } = receiver
  await receiver.close()
  server.script([[say('Done without it.')]])
  const run = await home.prompt('Go on', ['--session', 'alone'])
  expect(run.result).toMatchObject({ status: 'done', text: 'Done without it.' })
  const down = await inForce(({ signals }) => signals.logs.failures > 0)
  expect(down.signals.logs).toMatchObject({ waiting: expect.any(Number), lastError: expect.stringContaining('ECONNREFUSED') })
  const failed = await home.call(['telemetry', 'test'])
  expect([failed.code, failed.stdout]).toEqual([3, expect.stringContaining('not taken')])
  expect((await home.call(['telemetry', 'status'])).stdout).toMatch(/logs .* waiting, 0 lost/)
  receiver = await startOtlpReceiver(port)
  await receiver.until(() => events(promptOf('alone')).some(({ name }) => name === 'assistant_response'))
  expect((await inForce(({ signals }) => signals.logs.waiting === 0)).signals.logs.lost).toEqual({ full: 0, refused: 0, dropped: 0 })
})

test('the endpoint is taken away: nothing more is sent, and it says so', async () => {
  decide({})
  await inForce(({ state }) => state === 'off')
  const before = receiver.requests.length
  server.script([[say('Quiet.')]])
  await home.prompt('Go on', ['--session', 'quiet'])
  const refused = await home.call(['telemetry', 'test'])
  expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('otlpEndpoint')])
  expect(receiver.requests.length).toBe(before)
  expect((await home.call(['telemetry', 'status'])).stdout).toContain('Telemetry is off')
})

test('with the practice model, and killed in between, the log goes on and stays whole', async () => {
  const practice = openHome({ env: { BULKHEAD_VM: 'off' } })
  try {
    const sales = practice.copyOf(join(checkout, 'examples/sales'), 'sales')
    const run = await practice.prompt('List the files', ['--folder', sales])
    expect(run.result, run.story).toMatchObject({ status: 'done' })
    process.kill(await practice.actorPid('telemetry'), 'SIGKILL')
    const again = await practice.prompt('Write hello.txt with the text hello', ['--folder', sales, '--approve', 'all'])
    expect(again.result, again.story).toMatchObject({ status: 'done' })
    expect(readFileSync(join(sales, 'hello.txt'), 'utf8')).toContain('hello')
    const verified = await practice.call(['audit', 'verify', '--json'])
    expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, broken: null })
  } finally {
    await practice.close()
  }
})
