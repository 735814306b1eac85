/** What goes out by this machine's proxy: fetches, tunnels and the model API, through a real one on loopback; and what a proxy is not asked for. */
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Address } from './decide.ts'
import { fetchPage } from './fetch-page.ts'
import { createManagedWay, createProxyFor } from './network.ts'
import { noManagedProxy, type ProxyVariables } from './proxy-settings.ts'
import { relay } from './relay.ts'
import { accessTo } from './testing/access.ts'
import { openUpstream } from './upstream.ts'
import { standInReader } from './testing/stand-in-reader.ts'

let origin: http.Server
let proxy: http.Server
let port: number
let via: string
/** What the proxy was asked. */
let asked: { line: string; auth: string | undefined }[]
let refuse = 0

beforeAll(async () => {
  origin = http.createServer((request, response) => void response.end(`origin got ${request.url} for ${request.headers.host}`))
  proxy = http.createServer((request, response) => {
    asked.push({ line: `${request.method} ${request.url}`, auth: request.headers['proxy-authorization'] })
    response.end(`proxied ${request.url}`)
  })
  proxy.on('connect', (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
    asked.push({ line: `CONNECT ${request.url}`, auth: request.headers['proxy-authorization'] })
    if (refuse > 0) {
      socket.end(`HTTP/1.1 ${refuse} No\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    const far = net.connect((origin.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      far.write(head)
      far.pipe(socket).pipe(far)
    })
    for (const one of [far, socket]) one.on('error', () => undefined)
  })
  for (const server of [origin, proxy]) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  }
  port = (origin.address() as AddressInfo).port
  via = `http://ann:secret@127.0.0.1:${(proxy.address() as AddressInfo).port}`
})
afterAll(() => {
  for (const server of [origin, proxy]) {
    server.closeAllConnections()
    server.close()
  }
})
beforeEach(() => {
  asked = []
  refuse = 0
})

const signal = () => AbortSignal.timeout(10_000)
const guard = (address: string) => (address === '203.0.113.9' ? 'public' : address === '127.0.0.1' ? 'loopback' : 'private')
function web(variables: ProxyVariables, known: Record<string, readonly Address[]> = {}) {
  return {
    resolve: async (host: string) => known[host] ?? Promise.reject(new Error('ENOTFOUND')),
    addressPolicy: () => guard,
    proxyFor: createProxyFor(variables),
  } as const
}
const auth = `Basic ${Buffer.from('ann:secret').toString('base64')}`

test('a plain page is read by the proxy, which is told the whole address', async () => {
  const page = await fetchPage({ url: 'http://a.example/x?y' }, web({ http: via }), await accessTo(['a.example']), standInReader, signal())
  expect(page.text).toBe('proxied http://a.example/x?y')
  expect(asked).toEqual([{ line: 'GET http://a.example/x?y', auth }])
})

test('a host off the list is refused before the proxy hears of it', async () => {
  await expect(
    fetchPage({ url: 'http://b.example/' }, web({ http: via }), await accessTo(['a.example']), standInReader, signal()),
  ).rejects.toMatchObject({
    code: 'egress-denied',
  })
  expect(asked).toEqual([])
})

test.each([
  ['a private literal', 'http://10.0.0.1/', {}, 'address: private'],
  ['a loopback literal in hex', 'http://0x7f000001/', {}, 'address: loopback'],
  ['the proxy itself', 'http://proxy.example/', {}, 'proxy-itself'],
  ['a name of the local network', 'http://intranet/', {}, 'address: local name'],
  ['a name that leads inside', 'http://in.example/', { 'in.example': [{ address: '10.0.0.7', family: 4 }] }, 'address: private'],
  [
    'a name that leads inside and outside',
    'http://both.example/',
    {
      'both.example': [
        { address: '203.0.113.9', family: 4 },
        { address: '10.0.0.7', family: 4 },
      ],
    },
    'address: private',
  ],
] as const)('the proxy is not asked for %s', async (_what, url, known, rule) => {
  const proxied = web({ http: url.includes('proxy.example') ? 'http://proxy.example:3128' : via }, known as Record<string, Address[]>)
  await expect(fetchPage({ url }, proxied, await accessTo(['*']), standInReader, signal())).rejects.toMatchObject({
    code: 'private-address',
    rule,
  })
  expect(asked).toEqual([])
})

test('NO_PROXY goes straight, and the guard has its say there', async () => {
  const straight = web({ http: via, no: 'in.example' }, { 'in.example': [{ address: '127.0.0.1', family: 4 }] })
  await expect(
    fetchPage({ url: 'http://in.example/' }, straight, await accessTo(['in.example']), standInReader, signal()),
  ).rejects.toMatchObject({
    code: 'private-address',
  })
})

async function tunnel(to: { host: string; port: number }, sent: string, variables: ProxyVariables): Promise<{ got: string; why: unknown }> {
  const [near, far] = duplexPair({ allowHalfOpen: true })
  near.on('error', () => undefined)
  const ended = relay(far, to, { web: web(variables), access: await accessTo(['*']), signal: signal() })
  near.on('end', () => near.end())
  near.write(sent)
  let got = ''
  near.on('data', (bytes: Buffer) => (got += String(bytes)))
  return { why: await ended, got }
}

test('a tunnel goes by CONNECT, and nothing of it is left with the proxy', async () => {
  const { got, why } = await tunnel({ host: 'a.example', port }, `GET /z HTTP/1.1\r\nHost: a.example:${port}\r\n\r\n`, { https: via })
  expect([got.endsWith(`origin got /z for a.example:${port}`), why]).toEqual([true, null])
  expect(asked).toEqual([{ line: `CONNECT a.example:${port}`, auth }])
})

test('plain HTTP of a tunnel is read by the proxy; what was judged is what it reads', async () => {
  const { got } = await tunnel({ host: 'a.example', port: 80 }, 'GET /z HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: own\r\n\r\n', {
    http: via,
  })
  expect(got).toContain('proxied http://a.example/z')
  expect(asked).toEqual([{ line: 'GET http://a.example/z', auth }])
})

test.each([
  [407, 'It wants other credentials.'],
  [403, 'It does not connect to a.example:22 (403).'],
])('a proxy that answers %i is told as what it is', async (status, cause) => {
  refuse = status
  const { why } = await tunnel({ host: 'a.example', port: 22 }, 'x', { https: via })
  expect(why).toMatchObject({ code: 'fetch-failed', rule: 'proxy', cause })
  expect(JSON.stringify(why)).not.toContain('secret')
})

test('a PAC script decides for each host; its answer changes nothing about what is allowed', async () => {
  const at = via.replace('ann:secret@', '').replace('http://', '')
  const pac = `function FindProxyForURL(url, host) { return host === 'a.example' ? 'PROXY ${at}' : 'DIRECT' }`
  expect(
    (await fetchPage({ url: 'http://a.example/' }, web({ pac }), await accessTo(['a.example']), standInReader, signal())).text,
  ).toContain('proxied')
  await expect(fetchPage({ url: 'http://10.0.0.1/' }, web({ pac }), await accessTo(['*']), standInReader, signal())).rejects.toMatchObject({
    code: 'private-address',
  })
})

describe('a proxy that policy names', () => {
  const page = async (way: ReturnType<typeof createManagedWay>, url: string, access = accessTo(['*'])) =>
    (await fetchPage({ url }, { ...web({}), proxyFor: way.proxyFor }, await access, standInReader, signal())).text
  const plainProxy = () => via.replace('ann:secret@', '')

  test('takes the place of all this machine is set to, NO_PROXY included; without one its own settings count', async () => {
    const way = createManagedWay()
    way.own({ http: 'http://127.0.0.1:1', no: 'a.example' })
    expect(way.manage({ ...noManagedProxy, url: plainProxy(), decidedBy: 'm' })).toBe(false)
    expect(await page(way, 'http://a.example/x')).toBe('proxied http://a.example/x')
    expect(way.manage({ ...noManagedProxy, url: plainProxy(), decidedBy: 'm' })).toBe(false)
    expect(way.manage(noManagedProxy)).toBe(true)
    await expect(page(way, 'http://b.example/')).rejects.toMatchObject({ code: 'fetch-failed', rule: 'proxy' })
    expect(asked).toHaveLength(1)
  })
  test('nothing but what is on this machine goes out before policy has spoken', async () => {
    const way = createManagedWay()
    expect(await way.proxyFor({ host: '127.0.0.1', port: 80, secure: false })).toBeNull()
    const early = page(way, 'http://a.example/early')
    way.manage({ ...noManagedProxy, url: plainProxy(), decidedBy: 'm' })
    expect(await early).toBe('proxied http://a.example/early')
  })
  test('by a script at an address, which beats a proxy by name; where it cannot be had, nothing goes', async () => {
    let script = `function FindProxyForURL() { return 'PROXY ${plainProxy().replace('http://', '')}' }`
    const scripts = http.createServer((_request, response) => void response.writeHead(script === '' ? 404 : 200).end(script))
    scripts.listen(0, '127.0.0.1')
    await once(scripts, 'listening')
    try {
      const pac = `http://127.0.0.1:${(scripts.address() as AddressInfo).port}/proxy.pac`
      const way = createManagedWay()
      way.manage({ url: 'http://127.0.0.1:1', pac, decidedBy: 'm' })
      expect(await page(way, 'http://a.example/')).toContain('proxied')
      script = ''
      const other = createManagedWay()
      other.manage({ url: null, pac, decidedBy: 'm' })
      await expect(page(other, 'http://a.example/')).rejects.toMatchObject({ code: 'fetch-failed', rule: 'proxy-script' })
    } finally {
      scripts.close()
    }
  })
  test('and that cannot be read, with what else a policy says, leaves no way past it: only this machine itself is reached', async () => {
    const way = createManagedWay()
    way.own({ http: via, https: via })
    expect(way.manage({ ...noManagedProxy, url: plainProxy(), decidedBy: 'm' })).toBe(false)
    // What is open ends.
    expect(way.manage(null)).toBe(true)
    expect(way.manage(null)).toBe(false)
    for (const url of ['http://a.example/', 'https://a.example/'])
      await expect(page(way, url)).rejects.toMatchObject({ code: 'egress-denied', rule: 'policy-unreadable', remedy: expect.anything() })
    const access = await accessTo(['a.example'])
    const target = { host: 'a.example', port: 443 }
    const [near, far] = duplexPair()
    near.on('error', () => undefined)
    const refused = await relay(far, target, { web: { ...web({}), proxyFor: way.proxyFor }, access, signal: signal() })
    expect(refused).toMatchObject({ code: 'egress-denied', rule: 'policy-unreadable' })
    expect(asked).toEqual([])
    expect(await way.proxyFor({ host: '127.0.0.1', port: 80, secure: false })).toBeNull()
    way.manage({ ...noManagedProxy, url: plainProxy(), decidedBy: 'm' })
    expect(await page(way, 'http://a.example/again')).toContain('proxied')
  })
  test('changes nothing about what is allowed', async () => {
    const way = createManagedWay()
    way.manage({ ...noManagedProxy, url: plainProxy(), decidedBy: 'm' })
    await expect(page(way, 'http://10.0.0.1/')).rejects.toMatchObject({ code: 'private-address' })
    await expect(page(way, 'http://b.example/', accessTo(['a.example']))).rejects.toMatchObject({ code: 'egress-denied' })
    expect(asked).toEqual([])
  })
  test('that cannot be used is told as what it is, with who decided it', async () => {
    const way = createManagedWay()
    way.manage({ ...noManagedProxy, url: 'socks5://x:1', decidedBy: 'managed settings, /m' })
    await expect(page(way, 'http://a.example/')).rejects.toMatchObject({
      rule: 'proxy-settings',
      remedy: expect.stringContaining('managed settings, /m'),
    })
  })
})

test('settings that cannot be used end requests rather than send them straight out', async () => {
  const broken = web({ http: 'socks5://x:1' }, { 'a.example': [{ address: '203.0.113.9', family: 4 }] })
  await expect(
    fetchPage({ url: 'http://a.example/' }, broken, await accessTo(['a.example']), standInReader, signal()),
  ).rejects.toMatchObject({
    rule: 'proxy-settings',
  })
})

test('the model API goes by the proxy; a server on this machine does not', async () => {
  const request = { method: 'GET', path: '/v1/models', headers: {}, body: '' }
  const sent = async (baseUrl: string): Promise<string> => {
    const upstream = await openUpstream({ baseUrl, readKey: () => null, web: web({ http: via, https: via }) })
    let text = ''
    await upstream.forward(
      request,
      async (part) => void (text += part.type === 'chunk' ? Buffer.from(part.bytes).toString() : ''),
      signal(),
    )
    return text
  }
  expect(await sent('http://api.example')).toBe('proxied http://api.example/v1/models')
  expect(await sent(`http://127.0.0.1:${port}`)).toContain('origin got /v1/models')
})
