/**
 * What the egress bench lets talk to each other, each in a process of its own as in life: `origin` answers with as many bytes as it is asked
 * for, `own` is this product's relay behind a proxy door, `srt` the proxy of `@anthropic-ai/sandbox-runtime`. Prints its port and serves
 * until its stdin ends. `held PORT COUNT` opens as many tunnels at once, has each carry a byte, and prints how many did.
 */
import net, { type AddressInfo, type Server } from 'node:net'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { accessTo } from '../actors/egress/testing/access.ts'
import { createAuthority } from '../actors/egress/authority.ts'
import { limits } from '../actors/egress/limits.ts'
import { relay } from '../actors/egress/relay.ts'
import { createTunnels } from '../actors/egress/tunnels.ts'
import { checkout } from '../test/harness/product.ts'

const piece = Buffer.alloc(256 * 1024, 'x')

/** Sends what the first eight bytes ask for, then ends. */
function origin(): Server {
  return net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (asked: Buffer) => {
      let left = Number(asked.readBigUInt64BE(0))
      const more = (): void => {
        while (left > 0) {
          const bytes = left >= piece.length ? piece : piece.subarray(0, left)
          left -= bytes.length
          if (!socket.write(bytes)) return void socket.once('drain', more)
        }
        socket.end()
      }
      more()
    })
  })
}

async function own(): Promise<Server> {
  const access = await accessTo(['origin.example'])
  const web = { resolve: async () => [{ address: '127.0.0.1', family: 4 as const }], addressPolicy: () => () => 'public' as const }
  const { signal } = new AbortController()
  return net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void relay(socket, null, { web, access, signal }))
}

async function srt(): Promise<Server> {
  const file = join(checkout, 'node_modules', '@anthropic-ai', 'sandbox-runtime', 'dist', 'sandbox', 'http-proxy.js')
  const { createHttpProxyServer } = (await import(pathToFileURL(file).href)) as {
    createHttpProxyServer(options: { filter(port: number, host: string): boolean }): Server
  }
  return createHttpProxyServer({ filter: (_port, host) => host === 'localhost' })
}

/** As the workspace's tunnels are: their clients are another actor's, by `feed`. No session may have them all. */
async function held(port: number, wanted: number): Promise<number> {
  const tunnels = createTunnels(
    { resolve: async () => [{ address: '127.0.0.1', family: 4 as const }], addressPolicy: () => () => 'public' as const },
    createAuthority(),
  )
  const access = accessTo(['origin.example'])
  const end = new AbortController()
  const open = async (at: number) => {
    const id = `bench s-${Math.floor(at / limits.sessionTunnels)} ${at}`
    const stands = Promise.withResolvers<boolean>()
    const carries = Promise.withResolvers<boolean>()
    const ended = tunnels.open(id, { host: 'origin.example', port }, access, end.signal, async (part) => {
      if (part.type === 'open') stands.resolve(true)
      if (part.type === 'data') carries.resolve(true)
    })
    void ended.then(() => [stands, carries].forEach(({ resolve }) => resolve(false)))
    return { id, carries: carries.promise, stands: await stands.promise }
  }
  const all: Awaited<ReturnType<typeof open>>[] = []
  // As many at a time as wait at a server's door.
  while (all.length < wanted) {
    const from = all.length
    all.push(...(await Promise.all(Array.from({ length: Math.min(200, wanted - from) }, (_, at) => open(from + at)))))
  }
  const standing = all.filter(({ stands }) => stands)
  const asked = Buffer.alloc(8)
  asked.writeBigUInt64BE(1n)
  for (const { id } of standing) void tunnels.feed(id, asked)
  const carried = await Promise.all(standing.map(({ carries }) => carries))
  end.abort()
  return carried.filter(Boolean).length
}

const parts: Readonly<Record<string, () => Server | Promise<Server>>> = { origin, own, srt }
if (process.argv[2] === 'held') {
  process.stdout.write(`${await held(Number(process.argv[3]), Number(process.argv[4]))}\n`)
  process.exit(0)
}
const server = await parts[process.argv[2] ?? '']?.()
if (!server) throw new TypeError('One of: origin, own, srt.')
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
process.stdin.resume().on('end', () => process.exit(0))
