/** The effects as the runtime runs them: outcomes instead of failures, parts in order, interruption down to the socket. */
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EffectContext } from '../../kernel/index.ts'
import type { Web } from './dial.ts'
import { createEffects } from './effects.ts'
import { inputsWith } from './testing/access.ts'

const key = 'sk-test-000111222'
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egress-'))
let server: http.Server
let baseUrl: string
let secrets: number
let hungUp = 0
let hanging = false

beforeAll(async () => {
  server = http.createServer((request, response) => {
    response.on('close', () => {
      if (!response.writableFinished) hungUp += 1
    })
    if (request.url === '/v1/hang') {
      hanging = true
      return
    }
    response.writeHead(200, { 'content-type': 'text/plain' }).end(request.headers['x-api-key'] === key ? 'right key' : 'wrong key')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  fs.writeFileSync(path.join(dir, 'secrets'), JSON.stringify({ ANTHROPIC_API_KEY: key }))
  secrets = fs.openSync(path.join(dir, 'secrets'), 'r')
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
  fs.closeSync(secrets)
  fs.rmSync(dir, { recursive: true })
})

function setUp(fd = secrets, proxy: Pick<Web, 'proxyFor'> = { proxyFor: async () => null }) {
  const parts: unknown[] = []
  const logged: unknown[] = []
  const sent: unknown[] = []
  const context = {
    params: { fds: { secrets: fd } },
    part: async (_request: number, body: unknown) => void parts.push(body),
    log: (...line: unknown[]) => void logged.push(line),
    send: (_to: string, _kind: string, entry: unknown) => void sent.push(entry),
  } as unknown as EffectContext
  const effects = createEffects({
    resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    addressPolicy: () => () => 'public',
    ...proxy,
  })
  return { effects, parts, logged, sent, context }
}
const body = (to: string) => ({ method: 'POST', path: to, headers: {}, body: '{}' })

test('requests that come while the upstream is being opened wait for it', async () => {
  const { effects, parts, context } = setUp()
  const opening = Effect.runPromise(effects.openUpstream.run({ baseUrl }, context))
  const forwarding = Effect.runPromise(effects.forward.run({ request: 1, body: body('/v1/messages'), session: 's-1' }, context))
  expect(await opening).toEqual({ type: 'opened' })
  expect(await forwarding).toEqual({ type: 'done' })
  expect(parts).toMatchObject([
    { type: 'head', status: 200 },
    { type: 'chunk', bytes: Buffer.from('right key') },
  ])
  expect(await Effect.runPromise(effects.describe.run({ request: 2 }))).toEqual({ type: 'done', reply: { mode: 'api', baseUrl } })
})

test('what goes wrong is an outcome with a fault, and neither fault, part nor log holds the key', async () => {
  const { effects, parts, logged, sent, context } = setUp()
  expect(await Effect.runPromise(effects.forward.run({ request: 1, body: body('/v1/x'), session: 's-1' }, context))).toMatchObject({
    type: 'failed',
    error: { code: 'model-unreachable' },
  })
  const opened = await Effect.runPromise(effects.openUpstream.run({ baseUrl: 'http://127.0.0.1:1' }, context))
  const results = [opened]
  for (const to of ['/v1/messages', '/v2', `/v1/${key}/../`])
    results.push(await Effect.runPromise(effects.forward.run({ request: 1, body: body(to), session: 's-1' }, context)))
  const unreadable = setUp(9999)
  results.push(await Effect.runPromise(unreadable.effects.openUpstream.run({ baseUrl: null }, unreadable.context)))
  expect(results.map(({ type }) => type)).toEqual(['opened', 'failed', 'failed', 'failed', 'failed'])
  expect(JSON.stringify([results, parts, logged, sent])).not.toContain(key)
})

test('interruption ends the request at the other side', async () => {
  const { effects, context } = setUp()
  await Effect.runPromise(effects.openUpstream.run({ baseUrl }, context))
  const before = hungUp
  const fiber = Effect.runFork(effects.forward.run({ request: 1, body: body('/v1/hang'), session: 's-1' }, context))
  await expect.poll(() => hanging).toBe(true)
  await Effect.runPromise(Fiber.interrupt(fiber))
  await expect.poll(() => hungUp).toBe(before + 1)
})

const bearer = (hosts: string[]) => ({ session: 's-1', hosts })

test('fetch and explain', async () => {
  const { effects, context, sent } = setUp()
  await Effect.runPromise(effects.applyPolicy.run({ inputs: inputsWith({}) }, context))
  const port = new URL(baseUrl).port
  const url = `http://page.test:${port}/`
  const page = await Effect.runPromise(
    effects.fetchPage.run({ request: 1, url, bearer: bearer(['page.test']), maxBytes: undefined }, context),
  )
  expect(page).toMatchObject({ type: 'done', reply: { status: 200, text: 'wrong key' } })
  const refused = await Effect.runPromise(effects.fetchPage.run({ request: 1, url, bearer: bearer([]), maxBytes: undefined }, context))
  expect(refused).toMatchObject({ type: 'failed', error: { code: 'egress-denied' } })
  expect(sent).toMatchObject([
    { action: 'egress.allowed', data: { session: 's-1', status: 200 } },
    { action: 'egress.denied', data: { session: 's-1', code: 'egress-denied', rule: expect.any(String) } },
  ])
  expect(
    await Effect.runPromise(effects.explain.run({ request: 1, url: 'http://page.test/', bearer: bearer(['page.test']) })),
  ).toMatchObject({
    reply: { allowed: true },
  })
})

test('a managed policy that cannot be read leaves no way out but to this machine, in running sessions too; a readable one opens it again', async () => {
  const { effects, context, sent } = setUp(secrets, {})
  const port = new URL(baseUrl).port
  let pages = 0
  // Each another one: none is in the cache.
  const fetched = (host: string) =>
    Effect.runPromise(
      effects.fetchPage.run({ request: 1, url: `http://${host}:${port}/${++pages}`, bearer: bearer([host]), maxBytes: undefined }, context),
    )
  const managed = (failedClosed: boolean) =>
    Effect.runPromise(
      effects.applyPolicy.run({ inputs: inputsWith({ managed: { hosts: null, decidedBy: 'default', failedClosed } }) }, context),
    )
  await managed(false)
  expect(await fetched('page.test')).toMatchObject({ type: 'done' })
  await managed(true)
  expect(await fetched('page.test')).toMatchObject({ type: 'failed', error: { code: 'egress-denied', rule: 'policy-unreadable' } })
  expect(sent.at(-1)).toMatchObject({ action: 'egress.denied', data: { rule: 'policy-unreadable' } })
  await managed(false)
  expect(await fetched('page.test')).toMatchObject({ type: 'done' })
})

test('the practice model starts without key and address, and stops', async () => {
  fs.writeFileSync(path.join(dir, 'none'), '{}')
  const none = fs.openSync(path.join(dir, 'none'), 'r')
  const { effects, context } = setUp(none)
  expect(await Effect.runPromise(effects.openUpstream.run({ baseUrl: null }, context))).toEqual({ type: 'opened' })
  expect(await Effect.runPromise(effects.describe.run({ request: 1 }))).toMatchObject({ reply: { mode: 'practice' } })
  expect(await Effect.runPromise(effects.closeUpstream.run())).toEqual({ type: 'closed' })
  fs.closeSync(none)
})
