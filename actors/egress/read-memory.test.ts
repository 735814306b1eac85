/** What hosts send passes through memory that is used again: every byte has to arrive as it was sent, whoever takes it and however slowly. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { createAuthority } from './authority.ts'
import { limits } from './limits.ts'
import { giveBack, quickReader } from './read-memory.ts'
import { relay } from './relay.ts'
import { accessTo } from './testing/access.ts'
import { createTunnels } from './tunnels.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})
const web = { resolve: async () => [{ address: '127.0.0.1', family: 4 as const }], addressPolicy: () => () => 'public' as const }
const sha = (...parts: readonly Uint8Array[]): string => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

async function serving(serve: (socket: Socket) => void): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    closing.push(() => socket.destroy())
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  closing.push(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Sends `content` and ends, to whoever connects. */
const sending = (content: Uint8Array): Promise<number> => serving((socket) => void socket.end(content))

describe('what a host sends', () => {
  test('reaches many clients that take it slowly, each as it was sent', async () => {
    const contents = Array.from({ length: 6 }, () => randomBytes(6 * 1024 * 1024 + 7))
    const got = await Promise.all(
      contents.map(async (content) => {
        const port = await sending(content)
        const access = await accessTo(['a.example'])
        const door = await serving((socket) => {
          void relay(socket, { host: 'a.example', port }, { web, access, signal: new AbortController().signal })
        })
        const client = net.connect({ port: door, host: '127.0.0.1', allowHalfOpen: true })
        closing.push(() => client.destroy())
        const hash = createHash('sha256')
        // Everyone else has a turn between two pieces.
        for await (const piece of client) {
          hash.update(piece as Buffer)
          await new Promise((resolve) => setImmediate(resolve))
        }
        client.end()
        return hash.digest('hex')
      }),
    )
    expect(got).toEqual(contents.map((content) => sha(content)))
  })

  test('is still the same in a part that another actor keeps, long after the next ones', async () => {
    const content = randomBytes(12 * 1024 * 1024 + 5)
    const port = await sending(content)
    const tunnels = createTunnels(web, createAuthority())
    const kept: Uint8Array[] = []
    const { signal } = new AbortController()
    const ended = tunnels.open('s-1 1', { host: 'a.example', port }, accessTo(['a.example']), signal, async (part) => {
      if (part.type === 'data') kept.push(part.bytes)
      if (part.type === 'end') void tunnels.feed('s-1 1', null)
    })
    expect(await ended).toBeNull()
    expect(kept.every(({ byteLength }) => byteLength <= limits.partBytes)).toBe(true)
    expect(sha(...kept)).toBe(sha(content))
  })
})

describe('memory', () => {
  /** Takes all that is sent; what `done` does not give back stays lent. */
  async function taken(content: Uint8Array, done: (bytes: Uint8Array) => void): Promise<{ pieces: Uint8Array[]; socket: Socket }> {
    const port = await sending(content)
    const socket = quickReader((reading) => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, ...reading }))
    closing.push(() => socket.destroy())
    const pieces: Uint8Array[] = []
    socket.on('data', (bytes: Uint8Array) => {
      pieces.push(bytes)
      done(bytes)
    })
    await once(socket, 'end')
    return { pieces, socket }
  }
  const large = (pieces: readonly Uint8Array[]): Uint8Array[] => pieces.filter(({ byteLength }) => byteLength > limits.smallReadBytes)

  test('has an end: a host nobody takes from is read in small pieces then, and quickly again when the connection is gone', async () => {
    const content = randomBytes(2.5 * limits.readMemoryBytes)
    const first = await taken(content, () => undefined)
    expect(sha(...first.pieces)).toBe(sha(content))
    expect(large(first.pieces).length).toBeGreaterThan(0)
    // One more may have been promised when the last within the limit came.
    expect(large(first.pieces).length).toBeLessThanOrEqual(limits.readMemoryBytes / limits.readBytes + 1)
    first.socket.destroy()
    await once(first.socket, 'close')
    expect(large((await taken(content, () => undefined)).pieces).length).toBeGreaterThan(0)
  })

  test('is used again: what was given back does for the next', async () => {
    const content = randomBytes(2 * limits.readMemoryBytes)
    const hash = createHash('sha256')
    const { pieces } = await taken(content, (bytes) => {
      hash.update(bytes)
      giveBack(bytes)
    })
    expect(hash.digest('hex')).toBe(sha(content))
    expect(new Set(large(pieces).map(({ buffer }) => buffer)).size).toBe(1)
  })
})
