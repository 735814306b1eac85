/** The Messages API's wire format, answers only: message JSON, its event stream, and errors. Pure. */

export type Block =
  | { type: 'text'; text: string }
  | { type: 'tool_use' | 'server_tool_use'; id: string; name: string; input: Record<string, unknown> }
  | { type: 'web_search_tool_result'; tool_use_id: string; content: { type: 'web_search_tool_result_error'; error_code: string } }
export type StopReason = 'end_turn' | 'tool_use' | 'max_tokens'
export type Message = {
  id: string
  type: 'message'
  role: 'assistant'
  model: string
  content: Block[]
  stop_reason: StopReason
  stop_sequence: null
  usage: Usage
}
type Usage = {
  input_tokens: number
  cache_creation_input_tokens: number
  cache_read_input_tokens: number
  output_tokens: number
  service_tier: 'standard'
}

export type ApiErrorType = 'invalid_request_error' | 'authentication_error' | 'not_found_error' | 'request_too_large' | 'api_error'

/** What the practice model calls itself, whatever model was asked for. */
export const practiceModelName = 'bulkhead-practice'

/** Characters of text in one delta. Small, so that streaming is seen to stream. */
const deltaChars = 24

export function message(id: string, content: Block[], stop: StopReason, inputTokens: number): Message {
  const usage = {
    input_tokens: inputTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: tokensOf(content),
    service_tier: 'standard',
  } as const
  return { id, type: 'message', role: 'assistant', model: practiceModelName, content, stop_reason: stop, stop_sequence: null, usage }
}

/** The same message as server-sent events, one string each, in the order the API sends them. */
export function* eventStream(whole: Message): Generator<string> {
  const { stop_reason, stop_sequence, usage } = whole
  yield frame('message_start', {
    message: { ...whole, content: [], stop_reason: null, stop_sequence: null, usage: { ...usage, output_tokens: 1 } },
  })
  yield frame('ping', {})
  for (const [index, block] of whole.content.entries()) {
    const empty = block.type === 'text' ? { type: 'text', text: '' } : 'input' in block ? { ...block, input: {} } : block
    yield frame('content_block_start', { index, content_block: empty })
    for (const delta of deltas(block)) yield frame('content_block_delta', { index, delta })
    yield frame('content_block_stop', { index })
  }
  yield frame('message_delta', { delta: { stop_reason, stop_sequence }, usage: { output_tokens: usage.output_tokens } })
  yield frame('message_stop', {})
}

export function errorBody(
  type: ApiErrorType,
  text: string,
  requestId: string,
): { type: 'error'; error: { type: ApiErrorType; message: string }; request_id: string } {
  return { type: 'error', error: { type, message: text }, request_id: requestId }
}

/** About four characters a token, as the API's own rule of thumb has it. */
export function tokensOf(value: unknown): number {
  return Math.max(1, Math.ceil(JSON.stringify(value).length / 4))
}

function* deltas(block: Block): Generator<Record<string, unknown>> {
  if (block.type === 'text') {
    for (const text of slices(block.text)) yield { type: 'text_delta', text }
    return
  }
  // A result arrives whole.
  if (!('input' in block)) return
  yield { type: 'input_json_delta', partial_json: '' }
  for (const partial_json of slices(JSON.stringify(block.input))) yield { type: 'input_json_delta', partial_json }
}

/** By code points: a surrogate pair cut in two would not survive UTF-8. */
function* slices(text: string): Generator<string> {
  const points = Array.from(text)
  for (let at = 0; at < points.length; at += deltaChars) yield points.slice(at, at + deltaChars).join('')
}

function frame(event: string, data: Record<string, unknown>): string {
  return `event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`
}
