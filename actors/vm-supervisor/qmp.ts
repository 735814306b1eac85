/** QEMU's machine protocol: JSON objects, one a line, over a stream. Greeting, capabilities, then commands and events. */
import type { Duplex } from 'node:stream'
import { maxQmpLine } from './limits.ts'

export type QmpEvent = { event: string; data: Record<string, unknown> }

/** Cuts a byte stream into JSON objects; lines that are none are dropped. Throws a RangeError on a line over the limit. */
export class QmpDecoder {
  #text = ''
  readonly #decoder = new TextDecoder()

  push(bytes: Uint8Array): Record<string, unknown>[] {
    this.#text += this.#decoder.decode(bytes, { stream: true })
    const lines = this.#text.split('\n')
    this.#text = lines.pop() ?? ''
    if (this.#text.length > maxQmpLine || lines.some((line) => line.length > maxQmpLine)) throw new RangeError('QMP line too long')
    return lines.flatMap((line) => {
      try {
        const value: unknown = JSON.parse(line)
        return typeof value === 'object' && value !== null && !Array.isArray(value) ? [value as Record<string, unknown>] : []
      } catch {
        return []
      }
    })
  }
}

/** One connection. Commands are answered in order of their ids; after the stream ends every open and later command fails. */
export class QmpClient {
  readonly #stream: Duplex
  readonly #open = new Map<string, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #next = 1
  #closed: Error | null = null
  #greeted!: () => void
  #refused!: (error: Error) => void
  /** Resolves once QEMU accepts commands. */
  readonly ready: Promise<void>

  constructor(stream: Duplex, onEvent: (event: QmpEvent) => void) {
    this.#stream = stream
    const greeting = new Promise<void>((resolve, reject) => {
      this.#greeted = resolve
      this.#refused = reject
    })
    this.ready = greeting.then(() => this.execute('qmp_capabilities')).then(() => {})
    this.ready.catch(() => {})
    const decoder = new QmpDecoder()
    stream.on('data', (bytes: Uint8Array) => {
      try {
        for (const message of decoder.push(bytes)) this.#take(message, onEvent)
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)))
      }
    })
    stream.on('error', (error) => this.#close(error))
    stream.on('close', () => this.#close(new Error('QEMU closed its control socket')))
  }

  /** The command's `return` value. Rejects with QEMU's description of the error. */
  execute(command: string, args?: Record<string, unknown>): Promise<unknown> {
    if (this.#closed) return Promise.reject(this.#closed)
    const id = String(this.#next++)
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject })
      this.#stream.write(`${JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}), id })}\n`)
    })
  }

  #take(message: Record<string, unknown>, onEvent: (event: QmpEvent) => void): void {
    if ('QMP' in message) {
      this.#greeted()
      return
    }
    if (typeof message['event'] === 'string') {
      onEvent({ event: message['event'], data: (message['data'] ?? {}) as Record<string, unknown> })
      return
    }
    const waiting = this.#open.get(String(message['id']))
    if (!waiting) return
    this.#open.delete(String(message['id']))
    const error = message['error'] as { desc?: unknown } | undefined
    if (error) waiting.reject(new Error(typeof error.desc === 'string' ? error.desc : 'QMP error'))
    else waiting.resolve(message['return'])
  }

  #close(error: Error): void {
    if (this.#closed) return
    this.#closed = error
    this.#refused(error)
    for (const { reject } of this.#open.values()) reject(error)
    this.#open.clear()
  }
}
