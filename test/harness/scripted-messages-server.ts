/**
 * A Messages API on loopback that says what a test wrote down: one entry of the script for each request, in the real wire format
 * (server-sent events when the request asks for a stream). Every request is kept, headers and all.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Block =
  | { type: 'text'; text: string; citations?: readonly Citation[] }
  | { type: 'tool_use' | 'server_tool_use'; id: string; name: string; input: unknown }
  | { type: 'web_search_tool_result'; tool_use_id: string; caller: { type: 'direct' }; content: readonly Page[] | SearchError }
type Citation = { type: 'web_search_result_location'; url: string; title: string; cited_text: string; encrypted_index: string }
type Page = { type: 'web_search_result'; url: string; title: string; page_age: string | null; encrypted_content: string }
type SearchError = { type: 'web_search_tool_result_error'; error_code: string }
export type Failure = { status: number; error: string; message: string }
/** What the assistant says next: its blocks, or an HTTP failure; or a function that decides when it has seen the request. */
export type Turn =
  | readonly Block[]
  | Failure
  | ((request: RecordedRequest) => Promise<readonly Block[] | Failure> | readonly Block[] | Failure)

export type RecordedRequest = { method: string; path: string; headers: Readonly<Record<string, string>>; body: MessagesBody }
export type MessagesBody = {
  model?: string
  stream?: boolean
  system?: unknown
  messages: { role: string; content: unknown }[]
  tools?: { name: string; type?: string; [field: string]: unknown }[]
}
export type ToolResult = { text: string; isError: boolean }

export type ScriptedServer = {
  baseUrl: string
  /** Requests for messages so far, oldest first. */
  requests: readonly RecordedRequest[]
  /** Anything else that was asked of it, as `GET /path`. */
  strays: readonly string[]
  /** Replaces what is left of the script. */
  script(turns: readonly Turn[]): void
  close(): Promise<void>
}

let nextId = 1

export function say(text: string): Block {
  return { type: 'text', text }
}

export function use(name: string, input: unknown, id = `toolu_${String(nextId++).padStart(6, '0')}`): Block {
  return { type: 'tool_use', id, name, input }
}

/** One search of the API's own tool and what it found: pages as `[title, url]`, or the code of an error. */
export function searched(query: string, found: readonly (readonly [title: string, url: string])[] | string): Block[] {
  const id = `srvtoolu_${String(nextId++).padStart(6, '0')}`
  const content =
    typeof found === 'string'
      ? { type: 'web_search_tool_result_error' as const, error_code: found }
      : found.map(([title, url]) => ({ type: 'web_search_result' as const, url, title, page_age: null, encrypted_content: `enc-${id}` }))
  return [
    { type: 'server_tool_use', id, name: 'web_search', input: { query } },
    { type: 'web_search_tool_result', tool_use_id: id, caller: { type: 'direct' }, content },
  ]
}

/** A sentence that rests on pages found before. */
export function cite(text: string, ...pages: readonly (readonly [title: string, url: string])[]): Block {
  const citations = pages.map(([title, url]) => ({
    type: 'web_search_result_location' as const,
    url,
    title,
    cited_text: text.slice(0, 150),
    encrypted_index: 'enc',
  }))
  return { type: 'text', text, citations }
}

/** The tool results a request carries in its last message, by the id of the call. */
export function toolResults({ body }: RecordedRequest): Map<string, ToolResult> {
  const content = body.messages.at(-1)?.content
  const blocks = (Array.isArray(content) ? content : []) as { type: string; tool_use_id: string; is_error?: boolean; content: unknown }[]
  return new Map(
    blocks
      .filter(({ type }) => type === 'tool_result')
      .map((block) => [block.tool_use_id, { text: textOf(block.content), isError: block.is_error === true }]),
  )
}

/** The key a request was made with: the API takes it in either header. */
export function credentialOf(request: RecordedRequest | undefined): string | undefined {
  return request?.headers['x-api-key'] ?? request?.headers.authorization?.replace(/^Bearer /, '')
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  return Array.isArray(content) ? (content as { text?: string }[]).map(({ text = '' }) => text).join('') : ''
}

export async function startScriptedServer(turns: readonly Turn[] = []): Promise<ScriptedServer> {
  let left = [...turns]
  const requests: RecordedRequest[] = []
  const strays: string[] = []
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => sendFailure(response, { status: 500, error: 'api_error', message: String(error) }))
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method = '', url = '' } = request
    if (method !== 'POST' || url.split('?')[0] !== '/v1/messages') {
      strays.push(`${method} ${url}`)
      return sendFailure(response, { status: 404, error: 'not_found_error', message: `${method} ${url}` })
    }
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
    const recorded: RecordedRequest = {
      method,
      path: url,
      headers,
      body: JSON.parse(Buffer.concat(chunks).toString('utf8')) as MessagesBody,
    }
    requests.push(recorded)
    const turn = left.shift() ?? { status: 400, error: 'invalid_request_error', message: 'The script is over.' }
    const said = typeof turn === 'function' ? await turn(recorded) : turn
    if ('status' in said) sendFailure(response, said)
    else if (recorded.body.stream) sendStream(response, recorded.body.model ?? '', said)
    else sendWhole(response, recorded.body.model ?? '', said)
  }

  // A connection ended here for being idle may end just as the next request leaves on it: its client ends it.
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    strays,
    script(next) {
      left = [...next]
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function sendFailure(response: ServerResponse, { status, error, message }: Failure): void {
  response.writeHead(status, { 'content-type': 'application/json', 'request-id': `req_${nextId++}` })
  response.end(JSON.stringify({ type: 'error', error: { type: error, message } }))
}

function messageOf(model: string, content: readonly Block[]): Record<string, unknown> {
  return {
    id: `msg_${nextId++}`,
    type: 'message',
    role: 'assistant',
    model,
    content,
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 11, output_tokens: 1 },
  }
}

function stopReason(blocks: readonly Block[]): string {
  return blocks.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn'
}

function sendWhole(response: ServerResponse, model: string, blocks: readonly Block[]): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ ...messageOf(model, blocks), stop_reason: stopReason(blocks) }))
}

function sendStream(response: ServerResponse, model: string, blocks: readonly Block[]): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'request-id': `req_${nextId++}`,
  })
  const send = (type: string, data: object) => response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`)
  send('message_start', { message: messageOf(model, []) })
  send('ping', {})
  for (const [index, block] of blocks.entries()) {
    if (block.type === 'web_search_tool_result') {
      send('content_block_start', { index, content_block: block })
      send('content_block_stop', { index })
      continue
    }
    const empty =
      block.type === 'text' ? { type: 'text', text: '', ...(block.citations ? { citations: [] } : {}) } : { ...block, input: {} }
    send('content_block_start', { index, content_block: empty })
    for (const citation of block.type === 'text' ? (block.citations ?? []) : [])
      send('content_block_delta', { index, delta: { type: 'citations_delta', citation } })
    const whole = block.type === 'text' ? block.text : JSON.stringify(block.input)
    for (const piece of pieces(whole)) {
      send('content_block_delta', {
        index,
        delta: block.type === 'text' ? { type: 'text_delta', text: piece } : { type: 'input_json_delta', partial_json: piece },
      })
    }
    send('content_block_stop', { index })
  }
  send('message_delta', { delta: { stop_reason: stopReason(blocks), stop_sequence: null }, usage: { output_tokens: 7 } })
  send('message_stop', {})
  response.end()
}

/** Cut where no JSON token and no word ends, as the real API does. */
function pieces(text: string): string[] {
  return text.match(/[^]{1,17}/gu) ?? []
}
