/** Answers of the Messages API as its event stream, for tests. */

type Block =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string; signature: string }
  | { type: 'tool_use'; id: string; name: string; input: unknown }
export type ScriptedAnswer = { content: Block[]; stopReason?: string; stopDetails?: unknown }

export const say = (text: string, stopReason = 'end_turn'): ScriptedAnswer => ({ content: [{ type: 'text', text }], stopReason })
export const use = (...calls: [id: string, name: string, input: unknown][]): ScriptedAnswer => ({
  content: calls.map(([id, name, input]) => ({ type: 'tool_use', id, name, input })),
  stopReason: 'tool_use',
})

/** The bytes, cut into pieces of `size` so that events and characters straddle them. */
export function answerBytes({ content, stopReason = 'end_turn', stopDetails = null }: ScriptedAnswer, size = 37): Uint8Array[] {
  const lines: string[] = []
  const send = (event: { type: string; [key: string]: unknown }): void =>
    void lines.push(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  send({
    type: 'message_start',
    message: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'scripted',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 10, output_tokens: 0 },
    },
  })
  for (const [index, block] of content.entries()) {
    if (block.type === 'text') {
      send({ type: 'content_block_start', index, content_block: { type: 'text', text: '' } })
      for (const piece of block.text.match(/.{1,5}/gsu) ?? [])
        send({ type: 'content_block_delta', index, delta: { type: 'text_delta', text: piece } })
    } else if (block.type === 'thinking') {
      send({ type: 'content_block_start', index, content_block: { type: 'thinking', thinking: '', signature: '' } })
      send({ type: 'content_block_delta', index, delta: { type: 'thinking_delta', thinking: block.thinking } })
      send({ type: 'content_block_delta', index, delta: { type: 'signature_delta', signature: block.signature } })
    } else {
      send({ type: 'content_block_start', index, content_block: { type: 'tool_use', id: block.id, name: block.name, input: {} } })
      for (const piece of JSON.stringify(block.input).match(/.{1,9}/gsu) ?? [])
        send({ type: 'content_block_delta', index, delta: { type: 'input_json_delta', partial_json: piece } })
    }
    send({ type: 'content_block_stop', index })
    send({ type: 'ping' })
  }
  send({
    type: 'message_delta',
    delta: { stop_reason: stopReason, stop_sequence: null, stop_details: stopDetails },
    usage: { output_tokens: 7 },
  })
  send({ type: 'message_stop' })
  const bytes = new TextEncoder().encode(lines.join(''))
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.slice(index * size, (index + 1) * size))
}
