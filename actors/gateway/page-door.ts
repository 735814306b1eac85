/**
 * The door for browsers: HTTP and WebSocket on connections to a loopback port, which anything on the machine and, through a browser,
 * any web page can open. Nothing on it is believed but the token.
 *
 *   GET /…         Host is ours, Origin absent or ours            -> a file of the page; they hold no secret
 *   GET /acp (WS)  Host and Origin ours, token in the subprotocol -> a client
 *   anything else  -> 403 (or 404, 405), logged
 *
 * The page gets the token in the fragment of its address, which no browser sends anywhere. There are no cookies: they would be shared
 * with every other port of the host.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { maxHeaderBytes, maxLineBytes, pageRequestMs } from './limits.ts'
import type { PageFiles } from './page-files.ts'

/**
 * Node's HTTP, not by `import`: that reads every name it exports, one of them undici's WebSocket, which is loaded for it. 50 ms of each start and
 * several MiB, for nothing (Node 26).
 */
const { createServer } = process.getBuiltinModule('node:http')

export type PageDoor = {
  /** Serves a live connection until it ends. `joined` is called when it proved to be a client. */
  serve(socket: Socket, joined: (client: WebSocket) => void): void
}

/** Where the socket of a client speaks from: its own path, so that nothing else is ever upgraded. */
const clientPath = '/acp'
const tokenPrefix = 'tok.'

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' blob:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

const headers: Readonly<Record<string, string>> = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
  // Each request is a connection handed over by the daemon; keeping them open would only hold places.
  connection: 'close',
}

export function createPageDoor(options: {
  port: number
  token: string
  files(): PageFiles | null
  refused(reason: string, request: { method: string; path: string; host: string; origin: string }): void
}): PageDoor {
  const hosts = [`127.0.0.1:${options.port}`, `localhost:${options.port}`, `[::1]:${options.port}`]
  const secret = digest(options.token)
  const clients = new WeakMap<Duplex, (client: WebSocket) => void>()
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxLineBytes,
    // Compression would let a few bytes grow past what was checked.
    perMessageDeflate: false,
    // The token's subprotocol is never sent back.
    handleProtocols: () => 'acp',
  })

  /** Why a request is not served, or null. A rebound name or another page's script fails here whatever else it knows. */
  function objection(request: IncomingMessage, upgrade: boolean): string | null {
    const { host = '', origin } = request.headers
    if (!hosts.includes(host)) return 'wrong-host'
    if (origin === undefined ? upgrade : origin !== `http://${host}`) return 'wrong-origin'
    return upgrade && !proves(request) ? 'wrong-token' : null
  }

  function proves(request: IncomingMessage): boolean {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    const token = offered.find((name) => name.startsWith(tokenPrefix))?.slice(tokenPrefix.length) ?? ''
    // Compared as digests: of one length, and in a time that says nothing.
    return offered.includes('acp') && timingSafeEqual(digest(token), secret)
  }

  function refuse(request: IncomingMessage, reason: string): void {
    const { method = '', url = '', headers: given } = request
    const plain = (text: string) => text.slice(0, 200)
    options.refused(reason, {
      method,
      path: plain(url.split('?')[0] ?? ''),
      host: plain(given.host ?? ''),
      origin: plain(given.origin ?? ''),
    })
  }

  const server = createServer({ maxHeaderSize: maxHeaderBytes }, (request, response) => {
    const reason = objection(request, false)
    if (reason) {
      refuse(request, reason)
      return send(response, 403, 'text/plain', `${reason}\n`)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'text/plain', 'GET only\n')
    const files = options.files()
    if (!files) return send(response, 503, 'text/plain', 'The page is not built yet. What to do: run `npm start -- setup`, then reload.\n')
    const { pathname } = new URL(request.url ?? '/', 'http://page')
    const file = files.get(pathname === '/' ? '/index.html' : pathname)
    if (!file) return send(response, 404, 'text/plain', 'There is no such file.\n')
    return send(response, 200, file.type, request.method === 'HEAD' ? '' : file.bytes)
  })

  server.on('upgrade', (request, socket, head) => {
    const reason = request.url === clientPath ? objection(request, true) : 'wrong-path'
    const joined = clients.get(socket)
    if (reason || !joined) {
      refuse(request, reason ?? 'internal')
      socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n${reason ?? 'internal'}\n`)
      return
    }
    sockets.handleUpgrade(request, socket, head, (client) => {
      ;(socket as Socket).setTimeout(0)
      joined(client)
    })
  })
  server.on('clientError', (_error, socket) => void socket.destroy())

  return {
    serve(socket, joined) {
      clients.set(socket, joined)
      socket.on('error', () => socket.destroy())
      // Not idle time: a request that trickles in has this long as well.
      const timer = setTimeout(() => socket.destroy(), pageRequestMs)
      socket.once('close', () => clearTimeout(timer))
      clients.set(socket, (client) => {
        clearTimeout(timer)
        joined(client)
      })
      server.emit('connection', socket)
      socket.resume()
    },
  }
}

function send(response: ServerResponse, status: number, type: string, body: string | Uint8Array): void {
  response.writeHead(status, { ...headers, 'content-type': type })
  response.end(body)
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
