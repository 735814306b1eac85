/** What egress costs: tunnels against a direct connection and against another proxy, decisions, a cut, and a download in the workspace. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { createPolicyHolder } from '../actors/egress/access.ts'
import { createDecisionLog } from '../actors/egress/decision-log.ts'
import { compileEgressPolicy } from '../actors/egress/egress-policy.ts'
import { relay } from '../actors/egress/relay.ts'
import { inputsWith } from '../actors/egress/testing/access.ts'
import { startWorkspace } from '../test/harness/network.ts'
import { checkout } from '../test/harness/product.ts'
import { figure, type Figure, median, type Samples, type Target } from './report.ts'
import { alternate } from './sampling.ts'

const MiB = 1024 * 1024
/** One measurement of throughput: enough that starting it does not count. */
const volume = 256 * MiB
const manyStreams = 64
const connectionsPerSample = 1_000
const decisionsPerSample = 200_000
const manyRules = 10_000
const tunnelsAtOnce = 10_000
const fewRules = 10

const atLeastTimesPeer = (factor: number): Target => ({
  text: `at least ${factor} × the peer`,
  better: 'higher',
  keeps: (_, ratio) => ratio !== null && ratio >= factor,
})
const atLeast = (limit: number, unit: string): Target => ({
  text: `at least ${limit} ${unit}`,
  better: 'higher',
  keeps: (value) => value >= limit,
})
const lower = (text: string, keeps: Target['keeps']): Target => ({ text, better: 'lower', keeps })

type Way = { port: number; through: ((socket: Socket) => Promise<void>) | null }

export async function egress(runs: number, told: (text: string) => void): Promise<Figure[]> {
  const parts = await Promise.all(['origin', 'own', 'srt'].map((name) => part(name)))
  const [origin, own, srt] = parts.map(({ said }) => said) as [number, number, number]
  const ways = {
    direct: { port: origin, through: null },
    own: { port: own, through: (socket: Socket) => connectThrough(socket, `origin.example:${origin}`) },
    srt: { port: srt, through: (socket: Socket) => connectThrough(socket, `localhost:${origin}`) },
  } satisfies Record<string, Way>
  let added = { own: Number.NaN, srt: Number.NaN }
  try {
    const samples = await alternate(
      runs,
      {
        directOne: () => throughput(ways.direct, 1),
        ownOne: () => throughput(ways.own, 1),
        srtOne: () => throughput(ways.srt, 1),
        directMany: () => throughput(ways.direct, manyStreams),
        ownMany: () => throughput(ways.own, manyStreams),
        srtMany: () => throughput(ways.srt, manyStreams),
        ownNew: async () => (added = await addedToNew(ways)).own,
        // Of the same moment.
        srtNew: async () => added.srt,
        fewRules: async () => decisions(fewRules, 'new').wall,
        manyRules: async () => decisions(manyRules, 'new').wall,
        manyRulesProcessor: async () => decisions(manyRules, 'new').processor,
        knownHosts: async () => decisions(manyRules, 'known').wall,
        afterCut: bytesAfterCut,
        atOnce: () => heldAtOnce(origin),
      },
      told,
    )
    const direct = (taken: Samples) => ({ name: 'direct', samples: taken })
    const other = (taken: Samples) => ({ name: '@anthropic-ai/sandbox-runtime', samples: taken })
    const flat = lower('no slower with 1,000 times the rules (at least 0.5 ×)', (_, ratio) => ratio !== null && ratio >= 0.5)
    return [
      figure({
        name: 'tunnel, 1 stream, beside direct',
        unit: 'MiB/s',
        target: atLeastTimesPeer(0.6),
        own: samples.ownOne,
        peer: direct(samples.directOne),
      }),
      figure({
        name: 'tunnel, 1 stream, beside another proxy',
        unit: 'MiB/s',
        target: atLeastTimesPeer(1),
        own: samples.ownOne,
        peer: other(samples.srtOne),
      }),
      figure({
        name: 'tunnel, 64 streams, beside direct',
        unit: 'MiB/s',
        target: atLeastTimesPeer(0.6),
        own: samples.ownMany,
        peer: direct(samples.directMany),
      }),
      figure({
        name: 'tunnel, 64 streams, beside another proxy',
        unit: 'MiB/s',
        target: atLeastTimesPeer(1),
        own: samples.ownMany,
        peer: other(samples.srtMany),
      }),
      figure({
        name: 'new connection, added p50',
        unit: 'ms',
        target: lower('at most 1 ms', (value) => value <= 1),
        own: samples.ownNew,
      }),
      figure({
        name: 'new connection, added p50, beside another proxy',
        unit: 'ms',
        target: lower('at most the peer', (_, ratio) => ratio !== null && ratio <= 1),
        own: samples.ownNew,
        peer: other(samples.srtNew),
      }),
      figure({
        name: 'decisions with 10,000 rules, each about another host',
        unit: '1/s',
        target: atLeast(500_000, '1/s'),
        own: samples.manyRules,
      }),
      figure({
        name: 'decisions with 10,000 rules, each about another host, of processor time',
        unit: '1/s',
        target: atLeast(500_000, '1/s'),
        own: samples.manyRulesProcessor,
      }),
      figure({
        name: 'decisions with 10,000 rules, about the same few hosts',
        unit: '1/s',
        target: atLeast(500_000, '1/s'),
        own: samples.knownHosts,
      }),
      figure({
        name: 'decisions with 10,000 rules, beside 10',
        unit: '1/s',
        target: { ...flat, better: 'higher' },
        own: samples.manyRules,
        peer: { name: '10 rules', samples: samples.fewRules },
      }),
      figure({
        name: 'bytes forwarded after a rule cut the tunnel',
        unit: 'B',
        target: lower('none', (value) => value === 0),
        own: samples.afterCut,
      }),
      figure({
        name: 'tunnels open at once, each of which then carries',
        unit: 'tunnels',
        target: atLeast(tunnelsAtOnce, 'tunnels'),
        own: samples.atOnce,
      }),
      ...(await inWorkspace(runs, told)),
    ]
  } finally {
    for (const { stop } of parts) stop()
  }
}

/** Its first line is a number: the port it serves, or what it counted. */
async function part(...args: string[]): Promise<{ said: number; stop(): void }> {
  const child = spawn(process.execPath, [join(checkout, 'bench', 'egress-parts.ts'), ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { said: Number(String(line).trim()), stop: () => void child.kill() }
}

async function open({ port, through }: Way): Promise<Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  await through?.(socket)
  return socket
}

async function connectThrough(socket: Socket, to: string): Promise<void> {
  socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`)
  let head = ''
  while (!head.includes('\r\n\r\n')) head += String(((await once(socket, 'data')) as [Buffer])[0])
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(`The proxy said ${head.split('\r\n')[0]}`)
}

/** Asks for `bytes` on the socket and resolves when they have come. */
async function take(socket: Socket, bytes: number): Promise<void> {
  const asked = Buffer.alloc(8)
  asked.writeBigUInt64BE(BigInt(bytes))
  let got = 0
  socket.on('data', (more: Buffer) => (got += more.length))
  socket.resume()
  socket.write(asked)
  await once(socket, 'end')
  socket.destroy()
  if (got !== bytes) throw new Error(`${got} bytes came instead of ${bytes}.`)
}

/** MiB/s of all streams together; connections stand before the clock starts. */
async function throughput(way: Way, streams: number): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: streams }, () => open(way)))
  const begun = performance.now()
  await Promise.all(sockets.map((socket) => take(socket, volume / streams)))
  return volume / MiB / ((performance.now() - begun) / 1000)
}

/** In a process of its own, as egress is: each tunnel costs it one descriptor, and the machine's limit is per process. */
async function heldAtOnce(origin: number): Promise<number> {
  const { said, stop } = await part('held', String(origin), String(tunnelsAtOnce))
  stop()
  return said
}

/**
 * What each way adds to the p50 of connecting and getting one byte straight from the origin, ms. One connection by each way in turn, each way first
 * as often as the others: a moment in which the machine is busy with something else is all of theirs.
 */
async function addedToNew(ways: Readonly<Record<'direct' | 'own' | 'srt', Way>>): Promise<{ own: number; srt: number }> {
  const names = ['direct', 'own', 'srt'] as const
  const taken: Record<(typeof names)[number], number[]> = { direct: [], own: [], srt: [] }
  for (let at = 0; at < connectionsPerSample * names.length; at += 1) {
    const name = names[(at + Math.floor(at / names.length)) % names.length] ?? 'direct'
    const begun = performance.now()
    await take(await open(ways[name]), 1)
    taken[name].push(performance.now() - begun)
  }
  const direct = median(taken.direct)
  return { own: median(taken.own) - direct, srt: median(taken.srt) - direct }
}

/**
 * Decisions a second, with as many rules on each list; of time on the clock, and of time the processor was ours, which differ when others use
 * the machine. `new`: each about a host not asked about before. `known`: a few in turn, as one page's or program's are.
 */
function decisions(rules: number, hosts: 'new' | 'known'): { wall: number; processor: number } {
  const list = (name: string): string[] => Array.from({ length: rules }, (_, at) => `${at % 2 === 0 ? '*.' : ''}${name}${at}.example`)
  const policy = compileEgressPolicy(inputsWith({ member: { mode: 'list', allow: list('allowed'), deny: list('denied') } }))
  const bearer = policy.bearer({ session: 's-1', hosts: ['@member', '?'] })
  const names = ['x.y.allowed0', 'allowed1', 'denied1', 'nowhere', 'a.b.c.d.e.nowhere']
  const one = (at: number): string => (hosts === 'known' ? '' : at % names.length === 1 ? '' : `n${at}.`) + (names[at % names.length] ?? '')
  const targets = Array.from({ length: hosts === 'known' ? names.length : decisionsPerSample }, (_, at) => ({
    // As parsing leaves them: flat strings.
    host: Buffer.from(`${one(at)}.example`).toString('latin1'),
    port: 443,
  }))
  let allowed = 0
  const begun = { wall: performance.now(), processor: process.cpuUsage().user }
  for (let at = 0; at < decisionsPerSample; at += 1) {
    const target = targets[at % targets.length]
    if (target && bearer.decide(target).verdict === 'allow') allowed += 1
  }
  const wall = decisionsPerSample / ((performance.now() - begun.wall) / 1_000)
  const processor = decisionsPerSample / ((process.cpuUsage().user - begun.processor) / 1e6)
  if (allowed !== (2 * decisionsPerSample) / names.length) throw new Error(`${allowed} were allowed.`)
  return { wall, processor }
}

/** A client that writes without pause, a rule that denies its host: what the host still gets. */
async function bytesAfterCut(): Promise<number> {
  let heard = 0
  let gone: () => void = () => {}
  let flowing: () => void = () => {}
  const flows = new Promise<void>((resolve) => (flowing = resolve))
  const closed = new Promise<void>((resolve) => (gone = resolve))
  const server = net.createServer((socket) => {
    socket.on('data', (bytes) => {
      heard += bytes.length
      if (heard > 20 * 1024) flowing()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => gone())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const holder = createPolicyHolder(() => Promise.reject(new Error('not asked')), createDecisionLog())
  holder.apply(inputsWith({}))
  const access = await holder.access({ session: 's-1', hosts: ['a.example'] }, 'tunnel')
  const [near, far] = duplexPair({ allowHalfOpen: true })
  near.on('error', () => undefined)
  const web = { resolve: async () => [{ address: '127.0.0.1', family: 4 as const }], addressPolicy: () => () => 'public' as const }
  let forwarded = 0
  const connect = net.Socket.prototype.write
  const ended = relay(far, { host: 'a.example', port }, { web, access, signal: new AbortController().signal })
  const writing = setInterval(() => near.destroyed || near.write(Buffer.alloc(1024)), 1)
  try {
    await flows
    holder.apply(inputsWith({ member: { mode: 'list', allow: [], deny: ['a.example'] } }))
    // Counted at the door: whatever the relay still hands to a socket from here on.
    net.Socket.prototype.write = function (this: Socket, ...args: Parameters<typeof connect>) {
      if (this.remotePort === port) forwarded += (args[0] as unknown as Uint8Array).length
      return connect.apply(this, args)
    } as typeof connect
    near.write(Buffer.alloc(1024))
    await ended
    await closed
    return forwarded
  } finally {
    net.Socket.prototype.write = connect
    clearInterval(writing)
    near.destroy()
    server.close()
  }
}

/** 64 MiB through the gate into a program of the workspace, and as much out of it by the same machine's ports. */
async function inWorkspace(runs: number, told: (text: string) => void): Promise<Figure[]> {
  const size = 64 * MiB
  const name = 'workspace: 64 MiB download through the gate'
  const target = atLeastTimesPeer(0.4)
  // Made once: to make it takes as long as a sixth of a download, and is none of it.
  const body = Buffer.alloc(size, 'x')
  const page = http.createServer((_request, response) => void response.end(body))
  page.listen(0, '127.0.0.1')
  await once(page, 'listening')
  const { port } = page.address() as AddressInfo
  told('starting the workspace')
  const workspace = await startWorkspace()
  try {
    await workspace.attach('bench')
    await workspace.network('bench', ['a.example'])
    // In the guest's own time: how long starting a program takes is not the question.
    const seconds = async (command: string): Promise<number> => {
      const ran = await workspace.exec('bench', `TIMEFORMAT=%R; time { ${command}; } >/dev/null`)
      const value = Number(ran.stderr.trim().split('\n').at(-1))
      if (ran.exitCode !== 0 || !(value > 0)) throw new Error(ran.stderr.slice(-300))
      return value
    }
    const samples = await alternate(
      runs,
      {
        download: async () => 64 / (await seconds(`curl -sS --noproxy '*' -o /dev/null http://a.example:${port}/`)),
        ceiling: async () => {
          const ran = await workspace.exec('bench', 'TIMEFORMAT=%R; time head -c 67108864 /dev/zero')
          const taken = Number(ran.stderr.trim().split('\n').at(-1))
          if (!(taken > 0)) throw new Error(`no time was told: ${ran.stderr.slice(-200)}`)
          return 64 / taken
        },
      },
      told,
    )
    return [
      figure({
        name,
        unit: 'MiB/s',
        target,
        own: samples.download,
        peer: { name: "virtio-serial, a command's output to the host", samples: samples.ceiling },
      }),
    ]
  } catch (error) {
    const why = error instanceof Error ? error.message : JSON.stringify(error)
    return [figure({ name, unit: 'MiB/s', target, own: { values: [], why } })]
  } finally {
    await workspace.stop()
    page.close()
  }
}
