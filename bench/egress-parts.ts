/**
 * What the egress bench lets talk to each other, each in a process of its own as in life: `origin` answers with as many bytes as it is asked
 * for, `own` is this product's relay behind a proxy door, `srt` the proxy of `@anthropic-ai/sandbox-runtime`. Prints its port and serves
 * until its stdin ends.
 */
import net, { type AddressInfo, type Server } from 'node:net'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { accessTo } from '../actors/egress/testing/access.ts'
import { relay } from '../actors/egress/relay.ts'
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

const parts: Readonly<Record<string, () => Server | Promise<Server>>> = { origin, own, srt }
const server = await parts[process.argv[2] ?? '']?.()
if (!server) throw new TypeError('One of: origin, own, srt.')
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
process.stdin.resume().on('end', () => process.exit(0))
