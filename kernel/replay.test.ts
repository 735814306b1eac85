import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as Effect from 'effect/Effect'
import { afterAll, describe, expect, test } from 'vitest'
import { assign, emit, setup } from 'xstate'
import { z } from 'zod'
import { createKernel, type Kernel } from './kernel.ts'
import { linesPerSpan } from './limits.ts'
import { type MessageLog, openMessageLog } from './message-log.ts'
import { startInline } from './placement-inline.ts'
import { startProcess } from './placement-process.ts'
import { startThread } from './placement-thread.ts'
import { replay } from './replay.ts'
import { actor as probe } from './testing/probe/index.ts'
import type { Actor, Inbound, KernelEvent, Outgoing } from './types.ts'

const dir = mkdtempSync(join(tmpdir(), 'bulkhead-messages-'))
afterAll(() => rmSync(dir, { recursive: true }))
const open = (name: string) => openMessageLog(join(dir, name), { version: 'test' })

const protocol = {
  put: {
    body: z.strictObject({ env: z.record(z.string(), z.string()), bytes: z.instanceof(Uint8Array) }),
    reply: z.strictObject({ changed: z.boolean() }),
  },
}
const done: string[] = []

/** Remembers the environment it was last given, and does something outside each time. */
function shelf(chance: () => number): Actor {
  type Context = { env: Record<string, string>; draws: number }
  const machine = setup({
    types: {} as {
      context: Context
      events: Inbound<typeof protocol> | KernelEvent | { type: 'show.done' }
      emitted: Outgoing
    },
    actions: { show: (_, _params: { size: number }) => {} },
  }).createMachine({
    context: { env: {}, draws: 0 },
    on: {
      put: {
        actions: [
          emit(
            ({ context, event }): Outgoing => ({
              type: 'reply',
              request: event.from.request ?? -1,
              body: { changed: JSON.stringify(context.env) !== JSON.stringify(event.body.env) },
            }),
          ),
          assign(({ context, event }) => ({ env: event.body.env, draws: context.draws + chance() })),
          { type: 'show', params: ({ context, event }) => ({ size: event.body.bytes.byteLength + context.draws }) },
        ],
      },
    },
  })
  return {
    manifest: {
      kind: 'shelf',
      purpose: '',
      placement: 'inline',
      cardinality: 'singleton',
      grants: [],
      permissions: () => ({}),
      permissionReasons: {},
      restart: { strategy: 'permanent' },
    },
    protocol,
    machine,
    effects: { show: { outcomes: ['done'], outside: true, run: () => Effect.sync(() => (done.push('shown'), { type: 'done' })) } },
  }
}

async function run(
  actor: Actor,
  messageLog: MessageLog,
): Promise<{ kernel: Kernel; put: (env: Record<string, string>) => Promise<unknown> }> {
  const kernel = createKernel({
    entries: [{ manifest: actor.manifest, protocol: actor.protocol, entry: '', load: async () => actor }],
    placements: { inline: startInline, thread: startThread, process: startProcess },
    messageLog,
    log: () => {},
  })
  await kernel.start()
  const me = kernel.endpoint('test', [{ name: 'it', target: actor.manifest.kind, limits: { session: 's-1' }, reason: 'test' }])
  return { kernel, put: async (env) => (await me.request('it', 'put', { env, bytes: new Uint8Array([1, 2, 3]) })).body }
}

const again = (log: MessageLog, actor: Actor, session = 's-1') => replay(log, log.spansOf(session), async () => actor)

describe('a session', () => {
  test('is taken again step by step, without its bytes and secrets, which are in no file', async () => {
    const log = open('a.sqlite')
    const actor = shelf(() => 0)
    const { kernel, put } = await run(actor, log)
    const answers = [await put({ KEY: 'sk-hidden' }), await put({ KEY: 'sk-hidden' }), await put({ KEY: 'sk-other' })]
    expect(answers).toEqual([{ changed: true }, { changed: false }, { changed: true }])
    await kernel.stop()
    const report = await again(log, actor)
    expect(report).toMatchObject({ actors: ['shelf'], spans: 1, divergences: [], skipped: [] })
    // The start, three messages, and the stop; outcomes of effects may come too late.
    expect(report.steps).toBeGreaterThanOrEqual(5)
    expect(await again(log, actor, 's-2')).toMatchObject({ spans: 0 })
    log.close()
    const bytes = readFileSync(join(dir, 'a.sqlite')).toString('latin1')
    expect(bytes).toContain('shelf')
    expect(bytes).not.toMatch(/sk-hidden|sk-other/)
  })

  test('in which something outside the log decided, or whose log was changed, is found out at the first difference', async () => {
    const log = open('b.sqlite')
    const { kernel, put } = await run(
      shelf(() => Math.random()),
      log,
    )
    await put({ A: '1' })
    await put({ A: '2' })
    await kernel.stop()
    const [divergence] = (
      await again(
        log,
        shelf(() => 7),
      )
    ).divergences
    expect(divergence).toMatchObject({
      actor: 'shelf',
      n: 1,
      expected: { did: ['reply 1', 'effect show'] },
      found: { did: ['reply 1', 'effect show'] },
    })
    log.close()

    const honest = open('c.sqlite')
    const actor = shelf(() => 0)
    const second = await run(actor, honest)
    await second.put({ A: '1' })
    await second.put({ A: '1' })
    await second.kernel.stop()
    expect((await again(honest, actor)).divergences).toEqual([])
    const db = new DatabaseSync(join(dir, 'c.sqlite'))
    db.exec(
      "UPDATE lines SET event = replace(event, '(not kept)', '(not kept) x') WHERE n = (SELECT MAX(n) FROM lines WHERE event LIKE '%put%')",
    )
    db.close()
    expect((await again(honest, actor)).divergences).toMatchObject([{ event: expect.stringContaining('"put"') as string }])
    honest.close()
  })

  test('whose lines are not what the host writes is said to be unreadable, and the rest is taken again', async () => {
    const log = open('e.sqlite')
    const actor = shelf(() => 0)
    const { kernel, put } = await run(actor, log)
    await put({})
    await kernel.stop()
    const span = log.begin({
      actor: 'liar',
      kind: 'shelf',
      incarnation: 1,
      session: 's-1',
      begins: '{"snapshot":{"nodes":["nowhere"],"history":{}}}',
    })
    log.add(span ?? 0, 0, 's-1', { event: '{', value: '', did: [], digest: '', error: null })
    const other = log.begin({ actor: 'liar', kind: 'shelf', incarnation: 2, session: 's-1', begins: '{"input":{}}' })
    log.add(other ?? 0, 0, 's-1', { event: '{', value: '', did: [], digest: '', error: null })
    expect(await again(log, actor)).toMatchObject({ divergences: [], skipped: [{ actor: 'liar' }, { actor: 'liar' }], spans: 3 })
    log.close()
  })

  test('of many steps ends one span and begins the next with a snapshot, and each is taken again', async () => {
    const log = openMessageLog(':memory:', { version: 'test' })
    const kernel = createKernel({
      entries: [
        { manifest: { ...probe.manifest, grants: [], placement: 'inline' }, protocol: probe.protocol, entry: '', load: async () => probe },
      ],
      placements: { inline: startInline, thread: startThread, process: startProcess },
      messageLog: log,
      log: () => {},
    })
    await kernel.start()
    const me = kernel.endpoint('test', [{ name: 'probe', target: 'probe', limits: { session: 's-1' }, reason: 'test' }])
    const count = linesPerSpan + 100
    for (let n = 0; n < count; n += 100) await Promise.all(Array.from({ length: 100 }, () => me.request('probe', 'echo', { text: 'x' })))
    await kernel.stop()
    const spans = log.spansOf('s-1')
    expect(spans.map(({ begins }) => Object.keys(JSON.parse(begins) as object))).toEqual([['input'], ['snapshot']])
    expect(await replay(log, spans, async () => probe)).toMatchObject({ spans: 2, steps: count + 2, divergences: [] })
    log.close()
  })
})

describe('what is done outside', () => {
  test('waits for its line in the log, and does not wait for ever when the log breaks off', async () => {
    done.length = 0
    const real = openMessageLog(':memory:', { version: 'test' })
    const held: (() => void)[] = []
    const { kernel, put } = await run(
      shelf(() => 0),
      { ...real, whenDurable: (tell) => void held.push(tell) },
    )
    await put({})
    await expect.poll(() => held.length).toBe(1)
    expect(done).toEqual([])
    held[0]?.()
    await expect.poll(() => done).toEqual(['shown'])
    await kernel.stop()

    const failures: unknown[] = []
    const broken = openMessageLog(join(dir, 'd.sqlite'), { version: 'test', onFailure: (error) => failures.push(error) })
    const second = await run(
      shelf(() => 0),
      broken,
    )
    const db = new DatabaseSync(join(dir, 'd.sqlite'))
    db.exec('DROP TABLE lines')
    db.close()
    await second.put({})
    await expect.poll(() => done).toEqual(['shown', 'shown'])
    expect([failures.length, broken.failure()]).toEqual([1, expect.stringContaining('no such table')])
    await second.kernel.stop()
    broken.close()
  })
})

test('kill -9 at any instant leaves whole transactions: every span is a beginning of what happened', async () => {
  const file = join(dir, 'killed.sqlite')
  const script = `
    import { openMessageLog } from ${JSON.stringify(new URL('./message-log.ts', import.meta.url).href)}
    const log = openMessageLog(${JSON.stringify(file)}, { version: 'test' })
    const span = log.begin({ actor: 'a', kind: 'a', incarnation: 1, session: 's', begins: '{}' })
    for (let n = 0; ; n++) {
      log.add(span, n, 's', { event: '{}', value: '"x"', did: ['y'.repeat(200)], digest: String(n), error: null })
      if (n % 10 === 9) await new Promise((resolve) => log.whenDurable(() => (process.stdout.write(n + '\\n'), resolve())))
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (output.length > 400) child.kill('SIGKILL')
  })
  await once(child, 'close')
  const told = Number(output.trimEnd().split('\n').at(-1))
  const log = openMessageLog(file, { version: 'test', readOnly: true })
  const numbers = [...log.linesOf(1)].map(({ n }) => n)
  expect(numbers.length).toBeGreaterThan(told)
  expect(numbers).toEqual(numbers.map((_, index) => index))
  log.close()
})
