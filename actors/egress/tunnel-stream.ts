/**
 * A tunnel's client end as a stream, where the client is another actor: what it sends arrives by `feed`, what it gets leaves by `send`.
 * Both wait: `feed` resolves when the tunnel has room again, `send` when the actor has.
 */
import { Duplex } from 'node:stream'
import { limits } from './limits.ts'

export type TunnelStream = Duplex & {
  /** Bytes from the actor; null when it sends no more. Resolves at once when the tunnel is over: nothing waits for it then. */
  feed(bytes: Uint8Array | null): Promise<void>
}

async function settle(work: Promise<void>, done: (error?: Error | null) => void): Promise<void> {
  let failed: Error | null = null
  try {
    await work
  } catch (error) {
    failed = error instanceof Error ? error : new Error(String(error))
  }
  done(failed)
}

/** `send`: bytes for the actor in pieces of at most `limits.partBytes`; null when there are no more. */
export function createTunnelStream(send: (bytes: Uint8Array | null) => Promise<void>): TunnelStream {
  /** Those who wait for room, in the order of their bytes. */
  let waiting: (() => void)[] = []
  const release = (): void => {
    for (const go of waiting.splice(0)) go()
  }
  const stream = new Duplex({
    allowHalfOpen: true,
    readableHighWaterMark: limits.tunnelWindow,
    writableHighWaterMark: limits.tunnelWindow,
    read: release,
    write(bytes: Uint8Array, _encoding, done) {
      void settle(sendAll(bytes), done)
    },
    final(done) {
      void settle(send(null), done)
    },
    destroy(error, done) {
      release()
      done(error)
    },
  }) as TunnelStream
  async function sendAll(bytes: Uint8Array): Promise<void> {
    // Copies: what was given is used again when all has left, and whoever gets a part may keep it for longer.
    for (let at = 0; at < bytes.byteLength; at += limits.partBytes) await send(new Uint8Array(bytes.subarray(at, at + limits.partBytes)))
  }
  stream.feed = (bytes) => {
    if (stream.destroyed || stream.readableEnded) return Promise.resolve()
    if (stream.push(bytes) || bytes === null) return Promise.resolve()
    return new Promise((resolve) => waiting.push(resolve))
  }
  return stream
}
