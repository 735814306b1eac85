/**
 * What programs of the workspace can reach, tried from inside: by name and by address, on any port, with and without proxy variables; and
 * that nothing else leaves by any way we know. Again after the VM was restarted.
 */
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWorkspace, type Workspace } from '../harness/network.ts'

let workspace: Workspace
let page: http.Server
let echo: net.Server
let pagePort: number
let echoPort: number
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
  for (const server of [page, echo]) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  }
  pagePort = (page.address() as AddressInfo).port
  echoPort = (echo.address() as AddressInfo).port
  workspace = await startWorkspace()
  for (const session of ['open', 'other', 'closed']) await workspace.attach(session)
  await workspace.network('open', ['a.example', '203.0.113.7', 'x.private.example'])
  await workspace.network('other', ['b.example'])
})
afterAll(async () => {
  await workspace?.stop()
  page.closeAllConnections()
  page.close()
  echo.close()
})

/** A Python program, as one shell word. */
const python = (code: string) => `python3 - <<'PYTHON'\n${code}\nPYTHON`
const direct = "--noproxy '*'"

/** Tries them all from inside, as a session that may reach nothing, and counts what arrived anywhere. */
async function carriesNothing(): Promise<void> {
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
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW, 3))
attempt("vsock to the host", lambda: socket.socket(40, socket.SOCK_STREAM).connect((2, 1024)))
attempt("vsock to the hypervisor", lambda: socket.socket(40, socket.SOCK_STREAM).connect((0, 1)))
attempt("tun", lambda: os.open("/dev/net/tun", os.O_RDWR))
for path in ["/dev/vport1p0", "/dev/vport1p1", "/dev/vport1p2", "/dev/vport1p3", "/dev/hvc0", "/dev/ttyS0", "/dev/mem", "/dev/port", "/dev/vda", "/dev/vdb", "/dev/fuse", "/dev/vhost-vsock", "/sys/firmware/qemu_fw_cfg/by_name"]:
    attempt(path, lambda: os.open(path, os.O_RDWR if path.startswith("/dev") else os.O_RDONLY))
print(tried, out)`),
  )
  expect(ran.stdout.trim(), ran.stderr).toMatch(/^\d+ \[\]$/)
  expect(Number.parseInt(ran.stdout, 10)).toBeGreaterThan(45)
  expect({ seen: seen.length, echoed }).toEqual({ seen: before.seen, echoed: before.echoed })
  expect(workspace.lookedUp()).toEqual([])
  expect((await workspace.decisions()).length).toBe(before.decisions)
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
  test('none of them carries a byte', carriesNothing)
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

test('a rule cuts what is open', async () => {
  const running = workspace.exec('open', `curl -sSN -m 120 ${direct} http://a.example:${pagePort}/drip`)
  await expect.poll(() => seen.at(-1)).toContain('/drip')
  await workspace.rule({ change: 'deny', pattern: 'a.example' })
  const ran = await running
  expect(ran.exitCode).not.toBe(0)
  expect(ran.stderr).toContain('deny a.example (egress rules)')
  await workspace.rule({ change: 'forget', pattern: 'a.example' })
})

test('all of it holds after the VM was restarted', async () => {
  await workspace.restart()
  const ran = await workspace.exec(
    'open',
    `curl -sS ${direct} http://a.example:${pagePort}/x; curl -sS -m 60 ${direct} http://b.example:${pagePort}/`,
  )
  expect(ran).toMatchObject({ stdout: 'the page\n', stderr: expect.stringContaining('bulkhead: no connection to b.example') })
  expect((await workspace.exec('closed', `curl -sS -m 60 ${direct} http://a.example:${pagePort}/`)).exitCode).not.toBe(0)
  await carriesNothing()
})
