/** Egress behind the real router, in this thread and in a process of its own with no more than its manifest asks for. */
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { createControl } from '../../kernel/control.ts'
import { createKernel, type Endpoint, type Kernel, type Native } from '../../kernel/kernel.ts'
import { startInline } from '../../kernel/placement-inline.ts'
import { startProcess } from '../../kernel/placement-process.ts'
import { startThread } from '../../kernel/placement-thread.ts'
import { protocol as policyProtocol } from '../policy/protocol.ts'
import { actor } from './index.ts'
import { manifest } from './manifest.ts'
import { protocol } from './protocol.ts'

const key = 'sk-test-placement-123'
const entry = new URL('./index.ts', import.meta.url).href
const cleanUp: (() => unknown)[] = []

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo()
})

/** Stands for policy's actor: no restrictions, for as long as anyone watches. */
const policy: Native = {
  id: 'policy',
  protocol: policyProtocol,
  handle: async (_kind, _body, { part, signal }) => {
    part({ policy: { values: { coworkEgressAllowedHosts: null }, decidedBy: {}, failedClosed: false } })
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return { body: {} }
  },
}

async function start(placement: 'inline' | 'process', options: { secrets?: string; baseUrl?: string } = {}) {
  const logs: string[] = []
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egress-'))
  const state = path.join(dir, 'egress')
  fs.mkdirSync(state)
  fs.writeFileSync(path.join(dir, 'secrets'), options.secrets ?? '{}')
  const fd = fs.openSync(path.join(dir, 'secrets'), 'r')
  const kernel: Kernel = createKernel({
    entries: [{ manifest: { ...manifest, placement }, protocol, entry, load: async () => actor }],
    natives: [policy],
    fds: { secrets: fd },
    params: { egress: { baseUrl: options.baseUrl ?? null, state, userHome: dir } },
    placements: { inline: startInline, thread: startThread, process: startProcess },
    log: (level, source, message) => void logs.push(`${level} ${source}: ${message}`),
  })
  kernel.addNative(createControl(kernel, () => {}))
  await kernel.start()
  cleanUp.push(
    () => fs.rmSync(dir, { recursive: true }),
    () => fs.closeSync(fd),
    () => kernel.stop(),
  )
  const grant = (hosts?: readonly string[]) => [{ name: 'egress', target: 'egress', limits: hosts ? { hosts } : {}, reason: 'test' }]
  const inspector = kernel.endpoint('inspector', [{ name: 'kernel', target: 'kernel', limits: {}, reason: 'test' }])
  return {
    logs,
    inspector,
    open: kernel.endpoint('open', grant()),
    listed: kernel.endpoint('listed', [
      ...grant(['example.test', 'localhost']),
      { name: 'kernel', target: 'kernel', limits: {}, reason: 'test' },
    ]),
  }
}

async function model(from: Endpoint, body: unknown) {
  const parts: { type: string; status?: number; bytes?: Uint8Array }[] = []
  const headers = { 'anthropic-version': '2023-06-01', authorization: 'Bearer placeholder', 'content-type': 'application/json' }
  await from.request(
    'egress',
    'model',
    { method: 'POST', path: '/v1/messages', headers, body: JSON.stringify(body) },
    { onPart: (part) => void parts.push(part as never) },
  )
  return { status: parts[0]?.status, text: Buffer.concat(parts.flatMap(({ bytes }) => (bytes ? [bytes] : []))).toString() }
}

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    (value) => Promise.reject(new Error(JSON.stringify(value))),
    (error: unknown) => error,
  )

describe.each(['inline', 'process'] as const)('%s placement', (placement) => {
  test('practice model, streamed through the router', async () => {
    const { open } = await start(placement)
    expect((await open.request('egress', 'model-info', {})).body).toMatchObject({ mode: 'practice' })
    const answer = await model(open, { model: 'm', max_tokens: 1000, stream: true, messages: [{ role: 'user', content: 'help' }] })
    expect(answer.status).toBe(200)
    expect(answer.text).toMatch(/^event: message_start\n[\s\S]*event: message_stop\n/)
  })

  test('the key reaches the API and nothing else', async () => {
    let got: string | undefined
    const server = http.createServer((request, response) => {
      got = request.headers.authorization
      response.end(`you sent ${got}`)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanUp.push(() => server.close())
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const { open, inspector, logs } = await start(placement, { secrets: JSON.stringify({ ANTHROPIC_API_KEY: key }), baseUrl })
    expect((await model(open, {})).text).toBe('you sent Bearer [key]')
    expect(got).toBe(`Bearer ${key}`)
    const { body: tree } = await inspector.request('kernel', 'inspect', {})
    expect(JSON.stringify(tree)).toContain('egress')
    expect(JSON.stringify([logs, tree])).not.toContain(key)
  })

  test('hosts come from the capability; private addresses are refused all the same', async () => {
    const { open, listed } = await start(placement)
    expect(await refusal(open.request('egress', 'fetch', { url: 'http://example.test/' }))).toMatchObject({
      code: 'egress-denied',
      rule: 'hosts: none',
    })
    expect(await refusal(listed.request('egress', 'fetch', { url: 'http://other.test/' }))).toMatchObject({
      code: 'egress-denied',
      rule: 'hosts: not listed',
    })
    expect(await refusal(listed.request('egress', 'fetch', { url: 'http://localhost:1/' }))).toMatchObject({ code: 'private-address' })
    expect((await listed.request('egress', 'explain', { url: 'http://localhost/' })).body).toMatchObject({
      allowed: false,
      rule: 'address: loopback',
    })
    expect(await refusal(listed.request('egress', 'fetch', { url: 7 }))).toMatchObject({ code: 'malformed' })
  })

  test('what is handed on narrower reaches less, for a page and for a tunnel, and widens to nothing', async () => {
    const { listed } = await start(placement)
    const narrowed = async (hosts: string[]) =>
      (await listed.request('kernel', 'derive', {}, { caps: [{ slot: 'egress', limits: { hosts } }] })).slots[0] as string
    const [local, wider] = [await narrowed(['localhost']), await narrowed(['other.test', 'localhost', '*'])]
    for (const slot of [local, wider]) {
      expect(await refusal(listed.request(slot, 'fetch', { url: 'http://localhost:1/' }))).toMatchObject({ code: 'private-address' })
      for (const host of ['example.test', 'other.test']) {
        const denied = { code: 'egress-denied', rule: 'hosts: not listed' }
        expect(await refusal(listed.request(slot, 'fetch', { url: `http://${host}/` }))).toMatchObject(denied)
        expect(await refusal(listed.request(slot, 'connect', { tunnel: 1, to: { host, port: 443 } }))).toMatchObject(denied)
      }
    }
  })

  test('what it loads only when it is needed is there: certificates, and a proxy script in its jail', async () => {
    const pac = "function FindProxyForURL() { return 'PROXY 127.0.0.1:1' }"
    const { open, listed } = await start(placement, { secrets: JSON.stringify({ proxy: { pac } }) })
    expect((await open.request('egress', 'authority', {})).body).toEqual({ pem: expect.stringMatching(/^-----BEGIN CERTIFICATE-----\n/) })
    expect(await refusal(listed.request('egress', 'fetch', { url: 'http://example.test/' }))).toMatchObject({ rule: 'proxy' })
  })

  test('a tunnel goes by the same policy and the same guard', async () => {
    const server = net.createServer((socket) => void socket.pipe(socket))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanUp.push(() => server.close())
    const { listed } = await start(placement)
    // The guard has the last word in production: the loopback server is not reached, whatever the list says.
    const refused = listed.request('egress', 'connect', {
      tunnel: 1,
      to: { host: 'localhost', port: (server.address() as AddressInfo).port },
    })
    expect(await refusal(refused)).toMatchObject({ code: 'private-address' })
    expect(await refusal(listed.request('egress', 'connect', { tunnel: 2, to: { host: 'other.test', port: 443 } }))).toMatchObject({
      code: 'egress-denied',
    })
    expect((await listed.request('egress', 'tunnel-data', { tunnel: 9, bytes: Buffer.from('x') })).body).toEqual({})
  })
})
