/** A file as it grows, for programs that can only write their output to one. */
import { open } from 'node:fs/promises'
import { followPollMs } from './limits.ts'

/** Hands on what is appended, from the beginning; makes the file. Returns what stops it. */
export async function followFile(path: string, take: (bytes: Uint8Array) => void): Promise<() => void> {
  const file = await open(path, 'w+', 0o600)
  const buffer = Buffer.alloc(64 * 1024)
  let stopped = false
  let at = 0
  const read = async (): Promise<void> => {
    try {
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at)
        if (bytesRead === 0) break
        at += bytesRead
        take(Uint8Array.prototype.slice.call(buffer, 0, bytesRead))
      }
    } catch {
      stopped = true
    }
    if (stopped) await file.close().catch(() => {})
    else timer = setTimeout(() => void read(), followPollMs)
  }
  let timer = setTimeout(() => void read(), 0)
  return () => {
    stopped = true
    clearTimeout(timer)
    void read()
  }
}
