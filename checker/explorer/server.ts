/**
 * Serves the explorer on loopback: a page, its script (types stripped as it is served, so that nothing has to be built) and the walk as JSON.
 * It shows models, never a member's data, and changes nothing; even so it answers only requests that name this very host, so that no other
 * site's page can read it.
 */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import type { AddressInfo } from 'node:net'
import type { Walk } from './walk.ts'

const file = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')

/** Steps a path in an address may have. */
const maxPath = 500

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export type Explorer = { url: string; close(): Promise<void> }

export async function serveExplorer(walk: Walk, port = 0): Promise<Explorer> {
  const server = createServer((request, response) => {
    try {
      answer(walk, request, response)
    } catch (error) {
      const wrong = error instanceof RangeError
      send(
        response,
        wrong ? 400 : 500,
        'application/json',
        JSON.stringify({ error: error instanceof Error ? error.message : String(error) }),
      )
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const { port: open } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${open}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function answer(walk: Walk, request: IncomingMessage, response: ServerResponse): void {
  const { port } = request.socket.address() as AddressInfo
  if (request.headers.host !== `127.0.0.1:${port}` && request.headers.host !== `localhost:${port}`)
    return send(response, 421, 'text/plain', 'Not this host.')
  if (request.method !== 'GET') return send(response, 405, 'text/plain', 'Only GET.')
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  switch (pathname) {
    case '/':
      return send(response, 200, 'text/html; charset=utf-8', file('page.html'))
    case '/page.css':
      return send(response, 200, 'text/css; charset=utf-8', file('page.css'))
    case '/page.js':
      return send(response, 200, 'text/javascript; charset=utf-8', stripTypeScriptTypes(file('page.ts')))
    case '/overview':
      return send(response, 200, 'application/json', JSON.stringify(walk.overview()))
    case '/place':
      return send(response, 200, 'application/json', JSON.stringify(walk.place(pathOf(searchParams.get('path') ?? ''))))
    default:
      return send(response, 404, 'text/plain', 'There is nothing here.')
  }
}

function pathOf(text: string): number[] {
  const path = text === '' ? [] : text.split('.').map(Number)
  if (path.length > maxPath || path.some((index) => !Number.isInteger(index) || index < 0))
    throw new RangeError('A path is numbers with dots between them.')
  return path
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  })
  response.end(body)
}
