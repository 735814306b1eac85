/** A page's WebSocket as the stream of JSON-RPC messages the ACP SDK speaks on: one message a frame, held to a rate and a backlog. */
import type { AnyMessage, Stream } from '@agentclientprotocol/sdk'
import type { WebSocket } from 'ws'
import { maxPageBurst, maxPageMessagesPerSecond, maxUnsentBytes } from './limits.ts'

/** WebSocket close codes: what was sent is not understood, breaks a rule, or cannot be taken. */
const codes = { notUnderstood: 1007, againstRules: 1008, tooSlow: 1013 } as const

export function pageStream(client: WebSocket): Stream {
  let credit = maxPageBurst
  let last = performance.now()
  const readable = new ReadableStream<AnyMessage>({
    start(controller) {
      client.on('message', (data, binary) => {
        const now = performance.now()
        credit = Math.min(maxPageBurst, credit + ((now - last) / 1000) * maxPageMessagesPerSecond)
        last = now
        if (--credit < 0) return client.close(codes.againstRules, 'too many messages')
        if (binary) return client.close(codes.notUnderstood, 'text only')
        try {
          controller.enqueue(JSON.parse((data as Buffer).toString('utf8')) as AnyMessage)
        } catch {
          client.close(codes.notUnderstood, 'not JSON')
        }
      })
      // ws closes it with the fitting code itself.
      client.on('error', () => {})
      client.on('close', () => controller.close())
    },
    cancel: () => client.close(),
  })
  const writable = new WritableStream<AnyMessage>({
    write(message) {
      if (client.readyState !== client.OPEN) throw new Error('the page is gone')
      if (client.bufferedAmount > maxUnsentBytes) {
        client.close(codes.tooSlow, 'too slow')
        throw new Error('the page does not read')
      }
      client.send(JSON.stringify(message))
    },
    close: () => client.close(),
    abort: () => client.terminate(),
  })
  return { readable, writable }
}
