/** Lines from stdin, one at a time when asked for. Nothing is read before somebody asks, so a `run` that asks nothing leaves stdin alone. */
import { createInterface, type Interface } from 'node:readline'
import type { Readable } from 'node:stream'

export type Lines = {
  /** The next line; null at the end of input, or when `signal` aborts first. */
  next(signal?: AbortSignal): Promise<string | null>
  close(): void
}

export function linesOf(input: Readable): Lines {
  const queue: string[] = []
  const waiting: ((line: string | null) => void)[] = []
  let ended = false
  let reader: Interface | null = null

  function open(): void {
    reader = createInterface({ input, terminal: false })
    reader.on('line', (line) => {
      const first = waiting.shift()
      if (first) first(line)
      else queue.push(line)
    })
    reader.on('close', () => {
      ended = true
      for (const resolve of waiting.splice(0)) resolve(null)
    })
  }

  return {
    next(signal) {
      if (!reader) open()
      const line = queue.shift()
      if (line !== undefined) return Promise.resolve(line)
      if (ended || signal?.aborted) return Promise.resolve(null)
      return new Promise((resolve) => {
        const settle = (value: string | null) => {
          signal?.removeEventListener('abort', giveUp)
          resolve(value)
        }
        const giveUp = () => {
          waiting.splice(waiting.indexOf(settle), 1)
          resolve(null)
        }
        waiting.push(settle)
        signal?.addEventListener('abort', giveUp, { once: true })
      })
    },
    close() {
      reader?.close()
      if (reader) input.destroy()
    },
  }
}
