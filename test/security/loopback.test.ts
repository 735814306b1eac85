/**
 * The page's port is open to everything on the machine and, through a browser, to every web page. Without the token of this start, from
 * another origin, or by another name for the host, it gives nothing but the page's own files.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { get, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { pageAddress } from '../harness/browser.ts'
import { type Home, openHome } from '../harness/product.ts'

let home: Home
let oldToken: string
let token: string
let port: number

beforeAll(async () => {
  home = openHome({ env: { BULKHEAD_VM: 'off' } })
  oldToken = new URL(await pageAddress(home)).hash.slice(3)
  await home.call(['daemon', 'stop'])
  const address = new URL(await pageAddress(home))
  token = address.hash.slice(3)
  port = Number(address.port)
})
afterAll(() => home.close())

type Answer = { status: number; headers: IncomingHttpHeaders; body: string }

function fetched(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    }).on('error', reject)
  })
}

type Knock = { token?: string; origin?: string; host?: string; path?: string; query?: string }

/** 101 with the chosen subprotocol, or the status it was refused with. */
function knock({ token: key, origin, host, path = '/acp' }: Knock): Promise<{ status: number; protocol?: string; body?: string }> {
  return new Promise((resolve, reject) => {
    const client = new WebSocket(`ws://127.0.0.1:${port}${path}`, ['acp', ...(key === undefined ? [] : [`tok.${key}`])], {
      ...(origin === undefined ? {} : { origin }),
      headers: host === undefined ? {} : { host },
    })
    client.on('open', () => {
      resolve({ status: 101, protocol: client.protocol })
      client.close()
    })
    client.on('unexpected-response', (_request, response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: body.trim() }))
    })
    client.on('error', reject)
  })
}

const own = () => `http://127.0.0.1:${port}`

describe('a WebSocket', () => {
  test('with the token, from the page itself, opens; the token is not sent back', async () => {
    expect(await knock({ token, origin: own() })).toEqual({ status: 101, protocol: 'acp' })
    const local = `localhost:${port}`
    expect(await knock({ token, origin: `http://${local}`, host: local })).toMatchObject({ status: 101 })
  })

  test.each<[string, () => Knock, string]>([
    ['no token', () => ({ origin: own() }), 'wrong-token'],
    ['an empty token', () => ({ token: '', origin: own() }), 'wrong-token'],
    ['a wrong token', () => ({ token: token.toUpperCase().toLowerCase(), origin: own() }), 'wrong-token'],
    ['the token of an earlier start', () => ({ token: oldToken, origin: own() }), 'wrong-token'],
    ['no Origin', () => ({ token }), 'wrong-origin'],
    ['the Origin of another page', () => ({ token, origin: 'https://evil.example' }), 'wrong-origin'],
    ['the Origin null', () => ({ token, origin: 'null' }), 'wrong-origin'],
    ['the Origin of another local port', () => ({ token, origin: `http://127.0.0.1:${port + 1}` }), 'wrong-origin'],
    ['an Origin that only begins like ours', () => ({ token, origin: `${own()}.evil.example` }), 'wrong-origin'],
    ['https for http', () => ({ token, origin: `https://127.0.0.1:${port}` }), 'wrong-origin'],
    ['one of our names as Origin, another as Host', () => ({ token, origin: `http://localhost:${port}` }), 'wrong-origin'],
    ['a rebound name', () => ({ token, origin: `http://evil.example:${port}`, host: `evil.example:${port}` }), 'wrong-host'],
    ['a rebound name and our Origin', () => ({ token, origin: own(), host: `evil.example:${port}` }), 'wrong-host'],
    ['the host without its port', () => ({ token, origin: 'http://127.0.0.1', host: '127.0.0.1' }), 'wrong-host'],
    ['another path', () => ({ token, origin: own(), path: '/' }), 'wrong-path'],
    ['the token in the query', () => ({ origin: own(), path: `/acp?k=${token}` }), 'wrong-path'],
  ])('with %s is refused', async (_what, request, reason) => {
    expect(await knock(request())).toEqual({ status: 403, body: reason })
  })

  test('a call with the token is served, and the address is not told again', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${port}/acp`, ['acp', `tok.${token}`], { origin: own() })
    await new Promise((resolve) => client.once('open', resolve))
    const answers = new Map<unknown, unknown>()
    let greeted: () => void
    const initialized = new Promise<void>((resolve) => (greeted = resolve))
    const said = new Promise<void>((resolve) =>
      client.on('message', (data: Buffer) => {
        const answer = JSON.parse(data.toString()) as { id: unknown }
        answers.set(answer.id, answer)
        greeted()
        if (answers.size === 2) resolve()
      }),
    )
    const call = (id: number, method: string, params: object) => client.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    call(1, 'initialize', { protocolVersion: 1, clientCapabilities: {} })
    await initialized
    call(2, '_bulkhead/page', {})
    await said
    expect(answers.get(2)).toMatchObject({ error: { data: { fault: { code: 'no-capability' } } } })
    client.close()
  })

  test.each([
    ['more than the limit', 'x'.repeat(5 * 1024 * 1024), 1009],
    ['what is no JSON', '{nonsense', 1007],
  ])('that sends %s is closed', async (_what, text, code) => {
    const client = new WebSocket(`ws://127.0.0.1:${port}/acp`, ['acp', `tok.${token}`], { origin: own() })
    await new Promise((resolve) => client.once('open', resolve))
    const closed = new Promise<number>((resolve) => client.once('close', (reason) => resolve(reason)))
    client.send(text)
    expect(await closed).toBe(code)
  })

  test('that floods is closed', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${port}/acp`, ['acp', `tok.${token}`], { origin: own() })
    await new Promise((resolve) => client.once('open', resolve))
    const closed = new Promise<number>((resolve) => client.once('close', (reason) => resolve(reason)))
    const ping = JSON.stringify({ jsonrpc: '2.0', method: '_bulkhead/nothing', params: {} })
    for (let n = 0; n < 2000; n++) client.send(ping)
    expect(await closed).toBe(1008)
  })
})

describe('HTTP', () => {
  test('gives the page under a policy that lets it load and reach nothing else, and no cookie', async () => {
    const { status, headers, body } = await fetched('/')
    expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type: 'text/html; charset=utf-8' })
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/)
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
    })
    expect(headers['set-cookie']).toBeUndefined()
    expect(headers['access-control-allow-origin']).toBeUndefined()
    expect(body).not.toContain(token)
  })

  test.each([
    ['a rebound name', { host: 'evil.example' }, 403],
    ['another origin', { origin: 'https://evil.example' }, 403],
  ])('from %s is refused', async (_what, headers, status) => {
    expect((await fetched('/', headers as unknown as Record<string, string>)).status).toBe(status)
  })

  test.each(['/../package.json', '/..%2f..%2fpackage.json', '/%2e%2e/package.json', '//etc/passwd', '/assets/', '/constructor'])(
    '%s is no file of the page',
    async (path) => {
      expect((await fetched(path)).status).toBe(404)
    },
  )

  test('that is no HTTP, or has endless headers, is hung up on', async () => {
    for (const text of ['nonsense\r\n\r\n', `GET / HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nx: ${'y'.repeat(64 * 1024)}\r\n\r\n`]) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write(text)
      socket.resume()
      await new Promise((resolve) => socket.once('close', resolve))
    }
    expect((await fetched('/')).status).toBe(200)
  })
})

test('who connects and leaves at once, or says nothing, keeps nobody out', async () => {
  const gone = Array.from({ length: 300 }, (_, n) => {
    const socket = connect(port, '127.0.0.1', () => (n % 2 === 0 ? socket.resetAndDestroy() : socket.destroy()))
    return new Promise((resolve) => socket.on('error', () => {}).once('close', resolve))
  })
  await Promise.all(gone)
  expect((await fetched('/')).status).toBe(200)
  const silent = Array.from({ length: 50 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  // The page waits for a place; the terminal has its own door.
  expect((await home.call(['daemon', 'status', '--json'])).code).toBe(0)
  for (const socket of silent) socket.destroy()
  await expect.poll(async () => (await fetched('/')).status).toBe(200)
  expect(await knock({ token, origin: own() })).toMatchObject({ status: 101 })
  const { clients } = JSON.parse((await home.call(['daemon', 'status', '--json'])).stdout) as { clients: number }
  expect(clients).toBe(0)
  const { actors } = await home.inspect()
  expect(actors.find(({ id }) => id === 'gateway')).toMatchObject({ restarts: 0 })
})

test('the gateway serves all this without permission to use the network, and refusals are logged without the token', async () => {
  const { actors } = await home.inspect()
  expect(actors.find(({ id }) => id === 'gateway')).toMatchObject({ facts: { net: false }, permissions: { net: false } })
  const logs = readdirSync(join(home.state, 'logs')).map((name) => readFileSync(join(home.state, 'logs', name), 'utf8'))
  expect(logs.join('')).toContain('wrong-origin')
  expect(logs.join('')).not.toContain(token)
})
