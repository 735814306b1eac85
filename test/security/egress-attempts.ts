/**
 * Attempts to reach something that is not allowed, as one Python program that runs in the workspace: names that only look like the allowed
 * one, addresses in every spelling, requests that can be read in two ways; each by CONNECT, by SOCKS5, as a plain proxy request and straight.
 * It prints how many it tried and which of them got an answer of the origin.
 */

/** `allowed` and `port`: what the session may reach; whatever else answers is a way round. */
export function attempts(allowed: string, port: number): string {
  return `
import socket, json
from concurrent.futures import ThreadPoolExecutor
ALLOWED, PORT = ${JSON.stringify(allowed)}, ${port}
PROXY = ("127.0.0.1", 1080)
tries = []
def attempt(what, act): tries.append((what, act))
def answered(one):
    what, act = one
    try:
        return what if b"the page" in act() else None
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
def straight(host, inner):
    return lambda: talk(socket.create_connection((host, PORT), 10), inner)

A = ALLOWED.encode()
names = [b"evil" + A, A + b".evil.com", b"x." + A, A.split(b".", 1)[1], b"." + A, A + b"..", b"-" + A, A + b"\\0.evil.com", b"evil.com\\0." + A,
         b"a" * 64 + b"." + A, b"user@" + A, A + b"@evil.com", b"evil.com#" + A, b"evil.com\\\\." + A, b"evil.com%2e" + A, A + b"%00", b"localhost", b"*", b"*." + A]
addresses = [b"127.0.0.1", b"127.1", b"2130706433", b"0x7f000001", b"0177.0.0.1", b"0x7f.1", b"0", b"0.0.0.0", b"00000127.0.0.1", b"127.0.0.1.", b"10.0.0.1",
             b"172.16.0.1", b"192.168.0.1", b"100.64.0.1", b"169.254.169.254", b"192.0.0.1", b"198.18.0.1", b"224.0.0.1", b"240.0.0.1", b"255.255.255.255", b"256.1.1.1",
             b"1.2.3.4.5", b"[::1]", b"[::]", b"[::ffff:127.0.0.1]", b"[::127.0.0.1]", b"[64:ff9b::7f00:1]", b"[64:ff9b:1::7f00:1]", b"[2002:7f00:1::]", b"[2001::1]",
             b"[fe80::1]", b"[fe80::1%lo]", b"[fec0::1]", b"[fd00::1]", b"[fd00:ec2::254]", b"[ff02::1]", b"168.63.129.16", b"100.100.100.200"]
P = str(PORT).encode()
for host in names + addresses:
    attempt("connect " + repr(host), connect(host + b":" + P, request(host + b":" + P)))
    if len(host) < 256: attempt("socks " + repr(host), socks(3, bytes([len(host)]) + host, PORT, request(A + b":" + P)))
    attempt("plain " + repr(host), plain(b"http://" + host + b":" + P + b"/stolen", host + b":" + P))
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
# Side by side: what takes long is the way through the machine's ports.
with ThreadPoolExecutor(16) as pool: through = [what for what in pool.map(answered, tries) if what is not None]
print(json.dumps({"tried": len(tries), "through": through}))
`
}
