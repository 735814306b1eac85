/**
 * The practice model as a Messages API on loopback (I/O): same paths, headers, stream and errors as the real one, so that the
 * real SDK and the real forwarding code are used without a key. It holds nothing between requests.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { http } from '../node-http.ts'
import { answer } from './answer.ts'
import { checkRequest } from './request.ts'
import { searchAnswer } from './web-search.ts'
import { readTranscript } from './transcript.ts'
import { type ApiErrorType, errorBody, eventStream, message, practiceModelName, tokensOf } from './wire.ts'

/** As the real API: larger bodies are refused with 413. */
const maxBodyBytes = 32 * 1024 * 1024
const statuses: Record<ApiErrorType, number> = {
  invalid_request_error: 400,
  authentication_error: 401,
  not_found_error: 404,
  request_too_large: 413,
  api_error: 500,
}

class ApiError extends Error {
  readonly type: ApiErrorType
  constructor(type: ApiErrorType, text: string) {
    super(text)
    this.type = type
  }
}

/** Listens on 127.0.0.1, any port. `key` is made up for this start: other users of the machine cannot talk to it. */
export async function startPracticeModel(): Promise<{ baseUrl: string; key: string; close(): Promise<void> }> {
  const key = `sk-practice-${randomBytes(16).toString('hex')}`
  const server = http.createServer((request, response) => {
    const requestId = `req_practice_${randomBytes(8).toString('hex')}`
    response.setHeader('request-id', requestId)
    serve(request, response, key).catch((error: unknown) => {
      if (response.headersSent) {
        response.destroy()
        return
      }
      const known = error instanceof ApiError ? error : new ApiError('api_error', 'Internal server error')
      json(response, statuses[known.type], errorBody(known.type, known.message, requestId))
    })
  })
  // A connection ended here for being idle may end just as the next request leaves on it: its client ends it.
  server.keepAliveTimeout = 0
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { baseUrl: `http://127.0.0.1:${port}`, key, close }
}

async function serve(request: IncomingMessage, response: ServerResponse, key: string): Promise<void> {
  const { authorization, 'x-api-key': plain } = request.headers
  if (authorization !== `Bearer ${key}` && plain !== key) throw new ApiError('authentication_error', 'invalid x-api-key')
  if (!request.headers['anthropic-version']) throw new ApiError('invalid_request_error', 'anthropic-version: header is required')
  const path = new URL(request.url ?? '/', 'http://localhost').pathname
  const route = `${request.method} ${path}`
  const model = { type: 'model', id: practiceModelName, display_name: 'Practice model', created_at: '2026-01-01T00:00:00Z' }
  if (route === 'GET /v1/models') return json(response, 200, { data: [model], has_more: false, first_id: model.id, last_id: model.id })
  if (route === `GET /v1/models/${model.id}`) return json(response, 200, model)
  if (route === 'POST /v1/messages/count_tokens') {
    const { messages, system, tools } = checked(await body(request), 'count')
    return json(response, 200, { input_tokens: tokensOf([messages, system, tools]) })
  }
  if (route !== 'POST /v1/messages') throw new ApiError('not_found_error', `Not found: ${path}`)

  const asked = checked(await body(request), 'answer')
  const stem = callStem(asked.messages)
  const { content, stop } = searchAnswer(asked, stem) ?? answer(readTranscript(asked), { maxTokens: asked.max_tokens, stem })
  const whole = message(
    `msg_practice_${randomBytes(12).toString('hex')}`,
    content,
    stop,
    tokensOf([asked.messages, asked.system, asked.tools]),
  )
  if (!asked.stream) return json(response, 200, whole)
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  for (const event of eventStream(whole)) {
    if (!response.write(event)) await Promise.race([once(response, 'drain'), once(response, 'close')])
    if (response.destroyed) return
  }
  response.end()
}

/** Transcripts only grow, so their hash does not repeat in a conversation, and the same request gets the same ids. */
function callStem(messages: unknown): string {
  return `toolu_practice_${createHash('sha256').update(JSON.stringify(messages)).digest('hex').slice(0, 16)}`
}

function checked(parsed: unknown, purpose: 'answer' | 'count') {
  const result = checkRequest(parsed, purpose)
  if (!result.ok) throw new ApiError('invalid_request_error', result.message)
  return result.request
}

async function body(request: IncomingMessage): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > maxBodyBytes) throw new ApiError('request_too_large', 'Request exceeds the maximum size')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new ApiError('invalid_request_error', 'The request body is not valid JSON')
  }
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}
