/** The actor behind the real router, in this thread and in its own process with no more than its manifest asks for. */
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type OtlpReceiver, startOtlpReceiver } from '../../test/harness/otlp-receiver.ts'
import { mint } from '../../kernel/capabilities.ts'
import type { NativeFrom } from '../../kernel/kernel.ts'
import type { ActorEntry } from '../../kernel/placement.ts'
import { startTestKernel, type TestKernel } from '../../kernel/testing/test-kernel.ts'
import { defaults } from '../policy/keys.ts'
import type { Policy } from '../policy/protocol.ts'
import { protocol as policyProtocol } from '../policy/protocol.ts'
import { verifyAudit } from './audit-verify.ts'
import { createEffects } from './effects.ts'
import { actor } from './index.ts'
import { auditDir } from './manifest.ts'
import type { TelemetryStatus } from './protocol.ts'

let home: string
let it: TestKernel | null = null
let receiver: OtlpReceiver
/** Tells whoever watches policy. */
let tell: (otlp: Partial<Policy['values']>) => void
let headers: Record<string, string>
const prompt = '3f0f2f7a-9d38-4f0e-9a5c-1f6f3c8f7b11'

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'telemetry-'))
  mkdirSync(auditDir(home), { mode: 0o700 })
  headers = { 'x-key': 'one' }
  receiver = await startOtlpReceiver()
})
afterEach(async () => {
  await it?.stop()
  it = null
  await receiver.close()
  rmSync(home, { recursive: true })
})

async function start(placement: 'inline' | 'process'): Promise<TestKernel> {
  const watching: NativeFrom[] = []
  tell = (otlp) => {
    const { otlpHeaders: _, ...values } = { ...defaults, ...otlp }
    for (const from of watching)
      from.part({ policy: { values, decidedBy: { otlpEndpoint: 'a test' }, failedClosed: false } satisfies Policy })
  }
  const entry: ActorEntry = {
    manifest: actor.manifest,
    protocol: actor.protocol,
    entry: new URL('./index.ts', import.meta.url).href,
    // Of its own for each test: a process has its own as well.
    load: async () => ({ ...actor, effects: createEffects() }),
  }
  const policy = (kind: string, _body: never, from: NativeFrom): unknown => {
    if (kind === 'secrets') return { otlpHeaders: headers }
    watching.push(from)
    return new Promise(() => {})
  }
  it = await startTestKernel({
    actors: [entry],
    placement,
    peers: { policy: { protocol: policyProtocol, script: policy } },
    params: { telemetry: { home } },
  })
  await expect.poll(() => watching.length).toBe(1)
  return it
}
const status = async () => ((await it?.test.request('telemetry', 'status', {}))?.body ?? {}) as TelemetryStatus
const on = () => expect.poll(async () => (await status()).state).toBe('on')
const event = (sequence: number) => ({
  name: 'user_prompt',
  prompt,
  sequence,
  attributes: { prompt_length: 3 },
  content: { prompt: 'abc' },
  folders: [],
})

describe.each(['inline', 'process'] as const)('%s', (placement) => {
  test('events of before policy told arrive, as what policy allows; the session is the capability’s', async () => {
    const { kernel, test: client } = await start(placement)
    client.send('telemetry', 'event', event(1))
    const session = kernel.endpoint('other', [
      { name: 't', target: 'telemetry', limits: { kinds: ['event'], session: 's-9' }, reason: 'test' },
    ])
    session.send('t', 'event', event(2))
    await status()
    tell({ otlpEndpoint: receiver.url })
    await receiver.until(() => receiver.logs.length === 2)
    expect(receiver.logs.map(({ attributes }) => [attributes['event.sequence'], attributes['session.id'], attributes['prompt']])).toEqual([
      [1, undefined, '<REDACTED>'],
      [2, 's-9', '<REDACTED>'],
    ])
    expect(receiver.requests[0]?.headers['x-key']).toBe('one')
  })

  test('only the headers changed: the new ones are used', async () => {
    const { test: client } = await start(placement)
    tell({ otlpEndpoint: receiver.url })
    await on()
    headers = { 'x-key': 'two' }
    tell({ otlpEndpoint: receiver.url })
    const tried = async () => {
      await client.request('telemetry', 'test', {})
      return receiver.requests.at(-1)?.headers['x-key']
    }
    await expect.poll(tried).toBe('two')
  })

  test('whoever watches hears whether traces are wanted', async () => {
    const { test: client } = await start(placement)
    const heard: unknown[] = []
    client.request('telemetry', 'tracing', {}, { deadlineMs: null, onPart: (part) => heard.push(part) }).catch(() => {})
    await expect.poll(() => heard).toEqual([{ on: false }])
    tell({ otlpEndpoint: receiver.url, otlpTracesEnabled: true })
    await expect.poll(() => heard).toEqual([{ on: false }, { on: true }])
    await on()
    const hop = {
      traceId: 'a'.repeat(32),
      spanId: 'b'.repeat(16),
      parentId: null,
      kind: 'read',
      from: 'x',
      to: 'y',
      startMs: 1,
      endMs: 2,
      error: null,
    }
    client.send('telemetry', 'hops', { hops: [hop], dropped: 3 })
    await receiver.until(() => receiver.spans.some(({ name }) => name === 'read y'))
    expect((await status()).signals.traces.lost.full).toBe(3)
    tell({})
    await expect.poll(() => heard.length).toBe(3)
  })

  test('an audit entry is on the disk when its reply comes, under the name of who sent it', async () => {
    const { kernel, test: client } = await start(placement)
    const { body } = await client.request('telemetry', 'audit', {
      action: 'permission.allowed',
      data: { tool: 'Write', text: 'x'.repeat(100_000) },
    })
    expect(body).toEqual({ n: 1 })
    const cap = mint(kernel.tables, 'telemetry', { kinds: ['audit'], session: 's-3' }, 'test')
    expect(cap.limits.session).toBe('s-3')
    const lines: { from: string; data: Record<string, unknown> }[] = []
    expect(verifyAudit(auditDir(home), {}, (line) => lines.push(line))).toMatchObject({ ok: true, entries: 1 })
    expect(lines[0]).toMatchObject({ from: 'test', data: { tool: 'Write' } })
    expect(JSON.stringify(lines[0]).length).toBeLessThan(20_000)
    await expect(client.request('telemetry', 'audit', { action: 'Nonsense', data: {} })).rejects.toMatchObject({ code: 'malformed' })
  })

  test('it ends with everything written and sent', async () => {
    const { test: client } = await start(placement)
    tell({ otlpEndpoint: receiver.url })
    await on()
    for (let n = 0; n < 50; n++) client.send('telemetry', 'audit', { action: 'tool.called', data: { n } })
    client.send('telemetry', 'event', event(1))
    await status()
    await it?.stop()
    it = null
    expect(verifyAudit(auditDir(home))).toMatchObject({ ok: true, entries: 50, afterHead: 0 })
    expect(receiver.logs.filter(({ name }) => name === 'user_prompt')).toHaveLength(1)
    const heads = receiver.logs.filter(({ name }) => name === 'audit_head')
    expect(heads.at(-1)?.attributes['audit.entry']).toBe(50)
  })

  test('a folder that cannot be used refuses the entry, telemetry goes on, and it is tried again', async () => {
    const { test: client } = await start(placement)
    // Within the folder: a jail has that folder, and not one that takes its place.
    const inTheWay = join(auditDir(home), 'signing-key.pem')
    mkdirSync(inTheWay)
    tell({ otlpEndpoint: receiver.url })
    await on()
    client.send('telemetry', 'event', event(1))
    await receiver.until(() => receiver.logs.some(({ name }) => name === 'user_prompt'))
    const entry = { action: 'a.b', data: {} }
    await expect(client.request('telemetry', 'audit', entry)).rejects.toMatchObject({ code: 'audit-failed', cause: expect.any(String) })
    rmdirSync(inTheWay)
    expect((await client.request('telemetry', 'audit', entry)).body).toEqual({ n: 1 })
    expect((await status()).state).toBe('on')
  })
})
