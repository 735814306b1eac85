/** The SDK's stdio transport over a process that was started, and will be ended, by us: jailed, and with its whole tree. */
import { type JSONRPCMessage, ReadBuffer, serializeMessage, type Transport } from '@modelcontextprotocol/client'
import { maxLineBytes } from './limits.ts'
import type { ServerProcess } from './process.ts'

export function processTransport({ stdin, stdout, exited, end }: ServerProcess): Transport {
  const buffer = new ReadBuffer({ maxBufferSize: maxLineBytes })
  const transport: Transport = {
    async start() {
      stdout.on('data', (chunk: Buffer) => {
        try {
          buffer.append(chunk)
          for (let message = next(); message !== null; message = next()) transport.onmessage?.(message)
        } catch (error) {
          // A line that is too long cannot be skipped: what follows would be half of it.
          transport.onerror?.(asError(error))
          void end()
        }
      })
      void exited.then(() => transport.onclose?.())
    },
    send(message) {
      return new Promise((resolve, reject) => {
        if (!stdin.writable) return reject(new Error('the server has closed its input'))
        stdin.write(serializeMessage(message), (error) => (error ? reject(error) : resolve()))
      })
    },
    close: end,
  }
  /** Lines that are no JSON-RPC are what a program printed by mistake: told, and skipped. */
  function next(): JSONRPCMessage | null {
    for (;;) {
      try {
        return buffer.readMessage()
      } catch (error) {
        transport.onerror?.(asError(error))
      }
    }
  }
  return transport
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
