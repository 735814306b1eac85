import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { client, type ClientConnection, ndJsonStream } from '@agentclientprotocol/sdk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { mint } from '../../kernel/capabilities.ts'
import { fault } from '../../kernel/errors.ts'
import type { NativeFrom } from '../../kernel/kernel.ts'
import type { ActorEntry } from '../../kernel/placement.ts'
import { startTestKernel, type TestKernel } from '../../kernel/testing/test-kernel.ts'
import type { Hop } from '../../kernel/trace.ts'
import { protocol as consentProtocol } from '../consent/protocol.ts'
import { protocol as conversationProtocol } from '../conversation/protocol.ts'
import { protocol as vmProtocol } from '../vm-supervisor/protocol.ts'
import { actor } from './index.ts'

const entry: ActorEntry = {
  manifest: actor.manifest,
  protocol: actor.protocol,
  entry: new URL('./index.ts', import.meta.url).href,
  load: async () => actor,
}
const result = { status: 'done' as const, text: 'hi', toolCalls: 0 }
type Turn = (from: NativeFrom) => Promise<object>

let it: TestKernel
let server: Server
let dir: string
let turn: Turn
let closed: string[]
let terminal: (body: unknown, from: NativeFrom) => Promise<{ body: object }>
let typed: object[]
let hops: Hop[]
/** Connections the gateway has lost. */
let left: number
const open = new Set<Socket>()

async function start(placement: 'inline' | 'process'): Promise<void> {
  closed = []
  typed = []
  turn = async (from) => {
    from.part({ type: 'model', name: 'practice', practice: true })
    from.part({ type: 'text', text: 'hi' })
    return result
  }
  hops = []
  it = await startTestKernel({ actors: [entry], placement, onHop: (hop) => hops.push(hop) })
  const { kernel } = it
  kernel.addNative({
    id: 'consent',
    protocol: consentProtocol,
    handle: async (kind: string, body: { session?: string; folders?: object[] }) => {
      if (kind === 'close') closed.push(body.session ?? '')
      if (kind !== 'open') return { body: kind === 'grants' ? { grants: [] } : {} }
      const session = body.session ?? 's-1'
      if (session === 'bad') throw fault('overloaded', 'full')
      return {
        body: { session, folders: [], hosts: [], approve: 'ask', resumed: false },
        caps: [mint(kernel.tables, 'conversation:x', { session }, 'test')],
      }
    },
  })
  kernel.addNative({
    id: 'conversation:x',
    protocol: conversationProtocol,
    handle: async (_kind, _body, from) => ({ body: await turn(from) }),
  })
  kernel.addNative({
    id: 'vm-supervisor',
    protocol: vmProtocol,
    handle: (kind, body, from) => {
      if (kind === 'shell') return terminal(body, from)
      if (kind === 'input' || kind === 'resize') {
        const { bytes, ...rest } = body as { bytes?: Uint8Array }
        typed.push({ kind, ...rest, ...(bytes ? { text: Buffer.from(bytes).toString() } : {}) })
        return Promise.resolve({ body: {} })
      }
      if (kind !== 'watch') return Promise.reject(fault('workspace-unavailable', 'off'))
      from.part({ type: 'status', status: { state: 'off' } })
      return new Promise((_, reject) => from.signal.addEventListener('abort', () => reject(fault('cancelled', 'x'))))
    },
  })
  dir = mkdtempSync(join(tmpdir(), 'gateway-'))
  let conn = 0
  left = 0
  server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.once('close', () => (left += 1))
    return it.test.send('gateway', 'connection', { conn: ++conn, door: 'local' }, { conn, socket })
  })
  await new Promise<void>((resolve) => server.listen(join(dir, 's'), resolve))
}

afterEach(async () => {
  for (const socket of open) socket.destroy()
  server.close()
  await it.stop()
  rmSync(dir, { recursive: true })
})

type Told = { type: string; seq: number; ts: string }
type Peer = {
  connection: ClientConnection
  socket: Socket
  events: Told[]
  updates: unknown[]
  resolved: unknown[]
  shells: object[]
  call(method: string, params?: object, signal?: AbortSignal): Promise<unknown>
}

async function connected(
  answer: (params: unknown, signal: AbortSignal) => Promise<string | null> | string | null = () => null,
  name = 'terminal',
): Promise<Peer> {
  const socket = connect(join(dir, 's'))
  open.add(socket)
  const events: Told[] = []
  const updates: unknown[] = []
  const resolved: unknown[] = []
  const shells: object[] = []
  const told = (params: unknown) => params as Told
  const connection = client({ name })
    .onRequest('session/request_permission', async ({ params, signal }) => {
      const optionId = await answer(params, signal)
      return { outcome: optionId === null ? { outcome: 'cancelled' } : { outcome: 'selected', optionId } }
    })
    .onNotification('session/update', ({ params }) => void updates.push(params.update))
    .onNotification('_bulkhead/event', told, ({ params }) => void events.push(params))
    .onNotification('_bulkhead/shell', told, ({ params }) => void shells.push(params))
    .onNotification('_bulkhead/vm', told, ({ params }) => void events.push(params))
    .onNotification('_bulkhead/permission_resolved', told, ({ params }) => void resolved.push(params))
    .connect(ndJsonStream(Writable.toWeb(socket) as WritableStream<Uint8Array>, Readable.toWeb(socket) as ReadableStream<Uint8Array>))
  await connection.agent.request('initialize', { protocolVersion: 65535, clientInfo: { name, version: '1' } })
  const call = (method: string, params: object = {}, signal?: AbortSignal) =>
    connection.agent.request(method, params, signal ? { cancellationSignal: signal } : {})
  return { connection, socket, events, updates, resolved, shells, call }
}

const until = async (ready: () => boolean): Promise<void> => {
  while (!ready()) await new Promise((resolve) => setTimeout(resolve, 5))
}
/** The SDK hands a response over before notifications that came ahead of it on the wire. */
const ended = (peer: Peer) => until(() => peer.events.at(-1)?.type === 'result')
/** The fault a refused call carries, or its JSON-RPC error; null when it was answered. */
const faultOf = (promise: Promise<unknown>): Promise<{ code: unknown } | null> =>
  promise.then(
    () => null,
    (error: { code: number; data?: { fault?: { code: string } } }) => error.data?.fault ?? error,
  )

describe.each(['inline', 'process'] as const)('%s', (placement) => {
  beforeEach(() => start(placement))

  test('a terminal: what it shows and what is typed, its own client only, gone with its client', async () => {
    const ending = { exitCode: 7, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/', outputFile: null }
    let end: (() => void) | null = null
    const given: unknown[] = []
    terminal = (body, from) => {
      given.push(body)
      from.part({ type: 'vm', state: 'restoring', detail: 'Starting.' })
      from.part({ type: 'started' })
      from.part({ type: 'output', bytes: new Uint8Array([27, 0xff]) })
      return new Promise((resolve, reject) => {
        end = () => resolve({ body: ending })
        from.signal.addEventListener('abort', () => {
          given.push('cancelled')
          reject(fault('cancelled', 'x'))
        })
      })
    }
    const peer = await connected()
    const other = await connected()
    const opened = peer.call('_bulkhead/shell/open', { shell: 'a', session: 's-1', cols: 80, rows: 24, term: 'vt100' })
    await until(() => peer.shells.length === 3)
    expect(peer.shells).toEqual([
      { shell: 'a', vm: { state: 'restoring', detail: 'Starting.' } },
      { shell: 'a', started: true },
      { shell: 'a', data: 'G/8=' },
    ])
    const [{ handle }] = given as [{ handle: string }]
    await peer.call('_bulkhead/shell/input', { shell: 'a', data: 'bHMN' })
    expect(typed).toEqual([{ kind: 'input', session: 's-1', handle, text: 'ls\r', end: false }])
    expect(await faultOf(other.call('_bulkhead/shell/input', { shell: 'a', data: 'bHMN' }))).toMatchObject({ code: 'not-found' })
    ;(end as (() => void) | null)?.()
    expect(await opened).toEqual(ending)
    await until(() => peer.shells.length === 4)
    expect(peer.shells.at(-1)).toEqual({ shell: 'a', ended: true })
    expect(await faultOf(peer.call('_bulkhead/shell/input', { shell: 'a', data: '' }))).toMatchObject({ code: 'not-found' })
    peer.call('_bulkhead/shell/open', { shell: 'b', session: 's-1', cols: 80, rows: 24 }).catch(() => {})
    await until(() => given.length === 2)
    peer.socket.destroy()
    await until(() => given.at(-1) === 'cancelled')
  })

  test('a turn in our own events: numbered, stamped, ended by a result', async () => {
    const peer = await connected()
    expect(await peer.call('_bulkhead/open')).toMatchObject({ session: 's-1' })
    expect(await peer.call('_bulkhead/prompt', { session: 's-1', text: 'x', turn: 't1' })).toEqual(result)
    await ended(peer)
    expect(peer.events.map(({ seq, type }) => [seq, type])).toEqual([
      [1, 'session'],
      [2, 'prompt'],
      [3, 'session'],
      [4, 'text'],
      [5, 'result'],
    ])
    expect(peer.events[2]).toMatchObject({ model: { name: 'practice', practice: true }, turn: 't1' })
    for (const { ts } of peer.events) expect(new Date(ts).toISOString()).toBe(ts)
  })

  test('the same turn in ACP', async () => {
    const peer = await connected()
    const { sessionId } = await peer.connection.agent.request('session/new', { cwd: '/tmp', mcpServers: [] })
    expect(await peer.connection.agent.request('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'x' }] })).toMatchObject({
      stopReason: 'end_turn',
    })
    expect(peer.updates).toEqual([{ sessionUpdate: 'agent_message_chunk', content: { type: 'text', text: 'hi' } }])
    expect(peer.events).toEqual([])
  })
})

describe('inline', () => {
  beforeEach(() => start('inline'))

  test('the version asked for is not echoed', async () => {
    const peer = await connected()
    expect(await peer.connection.agent.request('initialize', { protocolVersion: 65535 })).toMatchObject({ protocolVersion: 1 })
  })

  test("refusals carry the fault; bad parameters and unknown methods get JSON-RPC's own codes", async () => {
    const peer = await connected()
    expect(await faultOf(peer.call('_bulkhead/open', { session: 'bad' }))).toMatchObject({ code: 'overloaded', remedy: expect.any(String) })
    expect(await faultOf(peer.call('_bulkhead/vm/start'))).toMatchObject({ code: 'workspace-unavailable' })
    expect(await faultOf(peer.call('_bulkhead/prompt', { session: 'none', text: 'x' }))).toMatchObject({ code: 'no-such-session' })
    for (const [method, params, code] of [
      ['_bulkhead/prompt', { session: 1 }, -32602],
      ['_bulkhead/open', { more: 1 }, -32602],
      ['_bulkhead/nonsense', {}, -32601],
    ] as const)
      expect((await faultOf(peer.call(method, params)))?.code, method).toBe(code)
  })

  test('an overlong line and a line that is no JSON', async () => {
    const peer = await connected()
    peer.socket.write('{nonsense\n')
    expect(await peer.call('_bulkhead/status')).toMatchObject({ clients: 1, running: 0 })
    peer.socket.write(`{"jsonrpc":"2.0","method":"${'x'.repeat(5 * 1024 * 1024)}`)
    await peer.connection.closed
    expect((await connected()).connection.signal.aborted).toBe(false)
  })

  test('a prompt is part of the trace in its _meta; one that is none, or none at all, begins a new one', async () => {
    const peer = await connected()
    const { sessionId } = await peer.connection.agent.request('session/new', { cwd: '/tmp', mcpServers: [] })
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const prompt = (meta: object) =>
      peer.connection.agent.request('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'x' }], ...meta })
    hops = []
    await prompt({ _meta: { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, other: 1 } })
    await prompt({ _meta: { traceparent: 'nonsense' } })
    await prompt({})
    const [given, wrong, none] = hops.filter(({ kind }) => kind === 'prompt')
    expect(given).toMatchObject({ traceId, parentId: '00f067aa0ba902b7' })
    expect([wrong?.parentId, none?.parentId]).toEqual([null, null])
    expect(new Set([given, wrong, none].map((hop) => hop?.traceId)).size).toBe(3)
  })

  test('cancel ends the turn as cancelled with what was said; a second prompt meanwhile is refused', async () => {
    turn = (from) => {
      from.part({ type: 'text', text: 'half' })
      return new Promise(() => {})
    }
    const peer = await connected()
    await peer.call('_bulkhead/open')
    const prompt = peer.call('_bulkhead/prompt', { session: 's-1', text: 'x' })
    await until(() => peer.events.some(({ type }) => type === 'text'))
    expect(await faultOf(peer.call('_bulkhead/prompt', { session: 's-1', text: 'y' }))).toMatchObject({ code: 'session-busy' })
    expect(await peer.call('_bulkhead/status')).toMatchObject({ running: 1 })
    await peer.call('_bulkhead/cancel', { session: 's-1' })
    expect(await prompt).toMatchObject({ status: 'cancelled', text: 'half' })
    await ended(peer)
    expect(peer.events.at(-1)).toMatchObject({ type: 'result', status: 'cancelled' })
  })

  test('closing a session tells whoever prompted in it that its turn is over', async () => {
    let aborted = false
    turn = (from) => {
      from.part({ type: 'text', text: 'half' })
      return new Promise(() => from.signal.addEventListener('abort', () => (aborted = true)))
    }
    const [first, second] = [await connected(), await connected()]
    for (const peer of [first, second]) await peer.call('_bulkhead/open', { session: 's-1' })
    const prompt = first.call('_bulkhead/prompt', { session: 's-1', text: 'x' })
    await until(() => second.events.some(({ type }) => type === 'text'))
    await second.call('_bulkhead/close', { session: 's-1' })
    expect(await prompt).toMatchObject({ status: 'cancelled', text: 'half' })
    await until(() => aborted)
    expect(closed).toEqual(['s-1'])
  })

  test('a question that nobody has in front of them ends with the turn that waited for someone to come', async () => {
    let asked: Promise<unknown> = Promise.resolve()
    turn = (from) => {
      asked = ask()
      return new Promise((resolve) => from.signal.addEventListener('abort', () => resolve(result)))
    }
    let shown = false
    const first = await connected(() => {
      shown = true
      return new Promise(() => {})
    })
    await first.call('_bulkhead/open')
    void first.call('_bulkhead/prompt', { session: 's-1', text: 'x', stays: true }).catch(() => {})
    await until(() => shown)
    const second = await connected()
    first.socket.destroy()
    while (((await second.call('_bulkhead/status')) as { clients: number }).clients > 1);
    await second.call('_bulkhead/cancel', { session: 's-1' })
    expect(await asked).toMatchObject({ code: 'no-one-to-ask' })
  })

  test('ACP cancel is the stop reason cancelled, not an error', async () => {
    turn = () => new Promise(() => {})
    const peer = await connected()
    const { sessionId } = await peer.connection.agent.request('session/new', { cwd: '/tmp', mcpServers: [] })
    const prompt = peer.connection.agent.request('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'x' }] })
    await until(() => (it.kernel.actors.get('gateway')?.refs.size ?? 0) > 0)
    await peer.connection.agent.notify('session/cancel', { sessionId })
    expect(await prompt).toEqual({ stopReason: 'cancelled' })
  })

  test('the turn ends when the client that started it leaves', async () => {
    let aborted = false
    turn = (from) => new Promise(() => from.signal.addEventListener('abort', () => (aborted = true)))
    const peer = await connected()
    await peer.call('_bulkhead/open')
    void peer.call('_bulkhead/prompt', { session: 's-1', text: 'x' }).catch(() => {})
    await until(() => (it.kernel.actors.get('gateway')?.refs.size ?? 0) > 0)
    peer.socket.destroy()
    await until(() => aborted)
    expect(aborted).toBe(true)
  })

  test('a turn that stays outlives its client; its question waits for whoever comes', async () => {
    let answered: unknown = null
    turn = async () => {
      answered = await ask()
      return result
    }
    const first = await connected(() => (first.socket.destroy(), new Promise(() => {})))
    await first.call('_bulkhead/open')
    void first.call('_bulkhead/prompt', { session: 's-1', text: 'x', stays: true }).catch(() => {})
    await until(() => left === 1)
    expect(answered).toBe(null)
    const late = await connected(() => 'deny')
    await late.call('_bulkhead/open', { session: 's-1' })
    await ended(late)
    expect(answered).toMatchObject({ option: 'deny' })
  })

  test('replay: what happened, from a number on', async () => {
    const peer = await connected()
    await peer.call('_bulkhead/open')
    await peer.call('_bulkhead/prompt', { session: 's-1', text: 'x' })
    await ended(peer)
    const replayed = (await peer.call('_bulkhead/replay', { session: 's-1' })) as { events: Told[] }
    expect(replayed).toMatchObject({ seq: 5, complete: true })
    expect(replayed.events.map(({ type }) => type)).toEqual(['session', 'prompt', 'session', 'text', 'result'])
    expect(((await peer.call('_bulkhead/replay', { session: 's-1', after: 4 })) as { events: Told[] }).events).toMatchObject([
      { type: 'result' },
    ])
    expect(await faultOf(peer.call('_bulkhead/replay', { session: 'none' }))).toMatchObject({ code: 'no-such-session' })
  })

  test('taking a grant back is told to everyone who watches', async () => {
    const [first, second] = [await connected(), await connected()]
    for (const peer of [first, second]) await peer.call('_bulkhead/open', { session: 's-1' })
    await first.call('_bulkhead/revoke', { session: 's-1', grant: '1' })
    await until(() => second.events.some(({ type }) => type === 'grants'))
    expect(first.events.at(-1)).toMatchObject({ type: 'grants', passing: true })
  })

  test('without a loopback port there is no page to tell of', async () => {
    const peer = await connected()
    expect(await faultOf(peer.call('_bulkhead/page'))).toMatchObject({ code: 'not-found' })
  })

  test('sessions nobody watches stay for a while, the longest unwatched end first', async () => {
    for (const session of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const peer = await connected()
      await peer.call('_bulkhead/open', { session })
      peer.socket.destroy()
      if (session === 'd') {
        const back = await connected()
        await back.call('_bulkhead/open', { session: 'a' })
      }
    }
    await until(() => closed.length > 0)
    expect(closed).toEqual(['b'])
  })

  test('a failed turn says why before it ends', async () => {
    turn = async () => {
      throw fault('model-unreachable', 'no way')
    }
    const peer = await connected()
    await peer.call('_bulkhead/open')
    expect(await peer.call('_bulkhead/prompt', { session: 's-1', text: 'x' })).toMatchObject({
      status: 'failed',
      error: { code: 'model-unreachable' },
    })
    await ended(peer)
    expect(peer.events.slice(-2).map(({ type }) => type)).toEqual(['error', 'result'])
  })

  test('watching the workspace runs until it is cancelled', async () => {
    const peer = await connected()
    const stop = new AbortController()
    const watch = faultOf(peer.call('_bulkhead/vm/watch', {}, stop.signal))
    await until(() => peer.events.length > 0)
    stop.abort()
    expect(await watch).toMatchObject({ code: 'cancelled' })
  })

  const question = {
    session: 's-1',
    id: 'ask:1',
    tool: 'Write',
    title: 'Write report.md',
    detail: '+ total',
    options: [
      { id: 'allow-once', label: 'Allow once', scope: 'once' },
      { id: 'allow-session', label: 'Allow for this session: write in sales/', scope: 'session' },
      { id: 'deny', label: 'Deny', scope: null },
    ],
  }
  const ask = (signal?: AbortSignal) =>
    it.test.request('gateway', 'ask-member', question, signal ? { signal } : {}).then(
      ({ body }) => body,
      (error: unknown) => error,
    )

  test('nobody watches: refused', async () => {
    expect(await ask()).toMatchObject({ code: 'no-one-to-ask' })
  })

  test('the first answer wins, the others see whose it was', async () => {
    let shown: unknown = null
    let withdrawn = false
    const first = await connected((params) => ((shown = params), 'allow-session'), 'page')
    const second = await connected((_, signal) => new Promise(() => signal.addEventListener('abort', () => (withdrawn = true))))
    await first.call('_bulkhead/open')
    await second.call('_bulkhead/open', { session: 's-1' })
    expect(await ask()).toEqual({ option: 'allow-session', by: 'member (page)' })
    expect(shown).toMatchObject({
      options: [{ kind: 'allow_once' }, { kind: 'allow_always', name: 'Allow for this session: write in sales/' }, { kind: 'reject_once' }],
      _meta: { bulkhead: { detail: '+ total' } },
    })
    await until(() => withdrawn && second.resolved.length > 0)
    expect(second.resolved).toEqual([{ session: 's-1', id: 'ask:1', option: 'allow-session', by: 'member (page)' }])
    expect(first.resolved).toEqual([])
  })

  test('all decline or leave: refused; an unknown option does not count as an answer', async () => {
    const declining = await connected(() => null)
    const leaving = await connected(() => (leaving.socket.destroy(), new Promise(() => {})))
    const wrong = await connected(() => 'allow-everything')
    for (const peer of [declining, leaving, wrong]) await peer.call('_bulkhead/open')
    const answer = ask()
    expect(await answer).toMatchObject({ code: 'no-one-to-ask' })
  })

  test('a client that comes later sees an open question', async () => {
    const silent = await connected(() => new Promise(() => {}))
    await silent.call('_bulkhead/open')
    const answer = ask()
    const late = await connected(() => 'deny')
    await late.call('_bulkhead/open')
    expect(await answer).toMatchObject({ option: 'deny' })
  })

  test('a withdrawn question is taken down', async () => {
    let withdrawn = false
    let shown = false
    const peer = await connected(
      (_, signal) => ((shown = true), new Promise(() => signal.addEventListener('abort', () => (withdrawn = true)))),
    )
    await peer.call('_bulkhead/open')
    const stop = new AbortController()
    const answer = ask(stop.signal)
    await until(() => shown)
    stop.abort()
    expect(await answer).toMatchObject({ code: 'cancelled' })
    await until(() => withdrawn)
  })
})
