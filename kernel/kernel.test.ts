import { existsSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { fault } from './errors.ts'
import { inspect } from './inspect.ts'
import { findJail } from './jail.ts'
import { maxFrameBytes } from './limits.ts'
import type { ActorEntry } from './placement.ts'
import { actor as probe } from './testing/probe/index.ts'
import { protocol } from './testing/probe/protocol.ts'
import { relay } from './testing/relay/index.ts'
import { startTestKernel, type TestKernel } from './testing/test-kernel.ts'
import type { Hop } from './trace.ts'
import type { Fault, Limits, Placement } from './types.ts'

const entry: ActorEntry = {
  manifest: probe.manifest,
  protocol,
  entry: new URL('./testing/probe/index.ts', import.meta.url).href,
  load: async () => probe,
}

const peerProtocol = {
  echo: { body: z.strictObject({ text: z.string() }), reply: z.unknown() },
  slow: { body: z.unknown(), reply: z.unknown(), deadlineMs: null },
}
let running: TestKernel | null = null
let hops: Hop[] = []

async function start(placement: Placement, seen: string[] = []): Promise<TestKernel> {
  const peer = {
    protocol: peerProtocol,
    script: (kind: string, body: { text: string }, from: { signal: AbortSignal }) => {
      seen.push(kind)
      if (kind === 'echo') return { heard: body.text }
      return new Promise((_, reject) =>
        from.signal.addEventListener('abort', () => (seen.push('aborted'), reject(fault('cancelled', 'aborted')))),
      )
    },
  }
  hops = []
  running = await startTestKernel({ actors: [entry], peers: { peer }, placement, onHop: (hop) => hops.push(hop) })
  return running
}

afterEach(async () => {
  await running?.stop()
  running = null
})

const refusal = (promise: Promise<unknown>): Promise<Fault> =>
  promise.then(
    (value) => Promise.reject(new Error(`answered: ${JSON.stringify(value)}`)),
    (error: Fault) => error,
  )

describe.each(['inline', 'thread', 'process'] as const)('%s placement', (placement) => {
  test('a trace goes on through the hops that a request causes, and nothing else is traced', async () => {
    const { test: caller } = await start(placement)
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    await caller.request('probe', 'ask', { slot: 'peer', kind: 'echo' }, { trace })
    await refusal(caller.request('probe', 'silent', {}, { trace: '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01' }))
    await caller.request('probe', 'ask', { slot: 'peer', kind: 'echo' })
    const [inner, outer, silent] = hops
    expect(hops).toHaveLength(3)
    expect(outer).toMatchObject({ parentId: '00f067aa0ba902b7', kind: 'ask', from: 'test', to: 'probe', error: null })
    expect(inner).toMatchObject({ traceId: outer?.traceId, parentId: outer?.spanId, kind: 'echo', from: 'probe', to: 'peer' })
    expect(silent).toMatchObject({ parentId: null, error: 'not-now' })
    expect(hops.every(({ startMs, endMs }) => endMs >= startMs)).toBe(true)
  })

  test('a request gets its reply, stamped with a badge the sender did not write', async () => {
    const { test: from } = await start(placement)
    const { body } = await from.request('probe', 'echo', { text: 'hello' })
    expect(body).toEqual({ text: 'hello', count: 1, from: 'test', session: null })
  })

  test('a body that does not match the schema is refused before the actor sees it', async () => {
    const { test: from } = await start(placement)
    const error = await refusal(from.request('probe', 'echo', { text: 1, more: 2 }))
    expect(error).toMatchObject({ code: 'malformed', cause: expect.stringContaining('text') as string })
    expect((await refusal(from.request('probe', 'nonsense', {}))).code).toBe('malformed')
    expect((await from.request('probe', 'echo', { text: 'x' })).body).toMatchObject({ count: 1 })
  })

  test('the kernel answers when the deadline passes, and a late reply finds nobody', async () => {
    const { test: from, kernel } = await start(placement)
    expect((await refusal(from.request('probe', 'never', {}, { deadlineMs: 30 }))).code).toBe('deadline')
    expect(kernel.deadLetters.counts).toEqual({})
  })

  test('what came one-way is answered to nobody', async () => {
    const { test: from, kernel, logs } = await start(placement)
    from.send('probe', 'echo', { text: 'unasked' })
    expect((await from.request('probe', 'echo', { text: 'asked' })).body).toMatchObject({ count: 2 })
    expect([logs, kernel.deadLetters.counts]).toEqual([[], {}])
  })

  test('a request the machine ignores in its state is refused', async () => {
    const { test: from } = await start(placement)
    expect((await refusal(from.request('probe', 'silent', {}, { deadlineMs: null }))).code).toBe('not-now')
  })

  test('a step that throws leaves no message and no state behind, and its request is refused', async () => {
    const seen: string[] = []
    const { test: from } = await start(placement, seen)
    expect((await refusal(from.request('probe', 'throws', {}))).code).toBe('internal')
    expect((await from.request('probe', 'echo', { text: 'x' })).body).toMatchObject({ count: 1 })
    expect(seen).toEqual([])
  })

  test('streamed parts arrive in order and before the reply, whatever the window', async () => {
    const { test: from } = await start(placement)
    for (const kind of ['stream', 'burst']) {
      const parts: unknown[] = []
      await from.request('probe', kind, kind === 'stream' ? { parts: 100 } : {}, { onPart: (part) => parts.push(part) })
      expect(parts).toEqual(Array.from({ length: 100 }, (_, n) => ({ n })))
    }
  })

  test('an actor cannot use a slot it does not hold, nor a kind its capability lacks', async () => {
    const { test: from, kernel } = await start(placement)
    expect((await from.request('probe', 'ask', { slot: 'peer', kind: 'echo' })).body).toEqual({ answer: { heard: 'asked' } })
    expect((await refusal(from.request('probe', 'ask', { slot: 'nothing', kind: 'echo' }))).code).toBe('no-capability')
    expect((await refusal(from.request('probe', 'ask', { slot: 'peer', kind: 'secret' }))).code).toBe('attenuated')
    expect(kernel.deadLetters.counts).toEqual({ 'no-capability': 1, attenuated: 1 })
  })

  test('a full mailbox refuses what comes next, at once and by name, and takes on more once it has room', async () => {
    running = await startTestKernel({ actors: [{ ...entry, manifest: { ...entry.manifest, grants: [], mailbox: 3 } }], placement })
    const { test: from, kernel } = running
    const asked = Array.from({ length: 5 }, (_, n) =>
      from.request('probe', 'echo', { text: String(n) }).then(
        ({ body }) => (body as { count: number }).count,
        (error: Fault) => [error.code, error.message],
      ),
    )
    from.send('probe', 'never', {})
    const full = ['overloaded', 'probe has too many messages waiting.']
    expect(await Promise.all(asked)).toEqual([1, 2, 3, full, full])
    expect(kernel.deadLetters.counts).toEqual({ overloaded: 3 })
    expect((await from.request('probe', 'echo', { text: 'room' })).body).toMatchObject({ count: 4 })
  })

  test('cancel reaches the target of the nested request too', async () => {
    const seen: string[] = []
    const { test: from, kernel } = await start(placement, seen)
    const abort = new AbortController()
    const pending = refusal(from.request('probe', 'ask', { slot: 'peer', kind: 'slow' }, { deadlineMs: null, signal: abort.signal }))
    await expect.poll(() => seen).toEqual(['slow'])
    abort.abort()
    expect((await pending).code).toBe('cancelled')
    await kernel.stop()
    await expect.poll(() => seen).toEqual(['slow', 'aborted'])
  })
})

test('what nobody catches in a thread ends that actor and no other; its requests are answered, and it comes back', async () => {
  const other = { ...entry, manifest: { ...entry.manifest, kind: 'other', grants: [] } }
  running = await startTestKernel({ actors: [{ ...entry, manifest: { ...entry.manifest, grants: [] } }, other], placement: 'thread' })
  const { test: from, kernel } = running
  const pending = refusal(from.request('probe', 'never', {}))
  expect(await refusal(from.request('probe', 'breaks', {}))).toMatchObject({ code: 'actor-down', cause: 'Error: nobody caught this' })
  expect(await pending).toMatchObject({ code: 'actor-down' })
  expect((await from.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ count: 1 })
  expect((await from.request('other', 'echo', { text: 'other' })).body).toMatchObject({ count: 1 })
  expect([kernel.actors.get('probe')?.incarnation, kernel.actors.get('other')?.incarnation]).toEqual([2, 1])
})

describe('process placement only', () => {
  test('what the manifest does not name is denied, as seen from inside', async () => {
    const inJail = 'bwrap' in (await findJail())
    const { test: from, kernel } = await start('process')
    const { body } = await from.request('probe', 'attempt', {})
    const denied = 'ERR_ACCESS_DENIED'
    expect(body).toEqual({
      results: {
        read: denied,
        readOwnCode: denied,
        write: denied,
        spawn: denied,
        connect: denied,
        // The jail tells where it stands.
        env: inJail ? 'ok 1' : 'ok 0',
        eval: expect.stringContaining('EvalError') as string,
      },
    })
    expect(existsSync('/tmp/bulkhead-probe-escape')).toBe(false)
    expect(kernel.actors.get('probe')?.facts).toEqual({
      'fs.read': false,
      'fs.write': false,
      net: false,
      child: false,
      worker: false,
      wasi: false,
      env: false,
      signal: !inJail,
      host: !inJail,
      interfaces: inJail ? false : (expect.any(Boolean) as boolean),
    })
  })

  test('an actor that takes more memory than it may have is ended for it and started anew', async () => {
    const { test: from, kernel } = await start('process')
    expect(await refusal(from.request('probe', 'hoard', { outsideMiB: null }))).toMatchObject({
      code: 'actor-down',
      // How V8's abort ends process 1 of a namespace, which heeds no signal of its own, is the processor's choice.
      cause: expect.stringMatching(/^ended by SIG(ABRT|SEGV|TRAP|ILL)$/),
    })
    expect((await from.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ count: 1 })
    expect(kernel.actors.get('probe')?.incarnation).toBe(2)
  })

  test('one that takes it outside the heap is ended by whoever looks, who says so; others serve meanwhile, and it comes back', async () => {
    const other = { ...entry, manifest: { ...entry.manifest, kind: 'other', grants: [] } }
    running = await startTestKernel({
      actors: [{ ...entry, manifest: { ...entry.manifest, grants: [], memoryMiB: 300 } }, other],
      placement: 'process',
    })
    const { test: from, kernel } = running
    const live = kernel.actors.get('probe')
    const bound = inspect(kernel).actors.find(({ id }) => id === 'probe')?.memory
    expect(bound).toMatchObject({ maxMiB: 300, watched: true, heldMiB: expect.any(Number) as number })
    // Less than where the system stops it: there Node may end by itself before anybody looks.
    const ended = refusal(from.request('probe', 'hoard', { outsideMiB: 400 }))
    expect((await from.request('other', 'echo', { text: 'meanwhile' })).body).toMatchObject({ count: 1 })
    const { code, cause = '' } = await ended
    expect([code, cause]).toEqual(['actor-down', expect.stringMatching(/^it held \d+ MiB of memory and may hold 300 MiB$/)])
    expect(Number(/held (\d+)/.exec(cause)?.[1])).toBeGreaterThan(300)
    expect((await from.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ count: 1 })
    expect([live?.incarnation, kernel.actors.get('other')?.incarnation]).toEqual([2, 1])
  })

  test('between two looks the system gives one no more than to its wall', async () => {
    const { test: from, kernel } = await start('process')
    const { wallMiB } = inspect(kernel).actors.find(({ id }) => id === 'probe')?.memory ?? {}
    const outgrow = async (outgrowMiB: number) => (await from.request('probe', 'attempt', { outgrowMiB })).body
    expect(await outgrow(16)).toMatchObject({ results: { outgrow: `ok ${16 * 1024 * 1024}` } })
    expect(wallMiB).toEqual(expect.any(Number))
    expect(await outgrow(wallMiB ?? 0)).toMatchObject({
      results: { outgrow: expect.stringMatching(/ALLOCATION_FAILED|allocation failed/) as string },
    })
  })

  test('what does not fit into a frame is refused to whoever sent it or waits for it: messages, answers, parts; nobody else notices', async () => {
    const long = 'x'.repeat(maxFrameBytes)
    const wide = { echo: { body: z.strictObject({ text: z.string() }), part: z.unknown(), reply: z.unknown() } }
    running = await startTestKernel({
      actors: [{ ...entry, protocol: { ...protocol, echo: wide.echo } }],
      peers: {
        peer: { protocol: wide, script: () => ({ heard: long }) },
        parts: { protocol: wide, script: (_kind, _body, { part }) => (part({ long }), new Promise(() => {})) },
      },
      placement: 'process',
    })
    const { test: from, kernel } = running
    const tooLong = { code: 'malformed', cause: expect.stringMatching(/^frame of \d+ bytes exceeds/) as string }
    const after = from.request('probe', 'echo', { text: 'behind it' })
    expect(await refusal(from.request('probe', 'echo', { text: long }))).toMatchObject(tooLong)
    expect((await after).body).toMatchObject({ text: 'behind it' })
    for (const slot of ['peer', 'parts']) {
      const asked = from.request('probe', 'ask', { slot, kind: 'echo' }, { caps: [{ slot }] })
      expect(await refusal(asked), slot).toMatchObject(tooLong)
    }
    expect((await from.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ text: 'after' })
    expect(kernel.actors.get('probe')?.incarnation).toBe(1)
    expect(kernel.deadLetters.counts).toMatchObject({ malformed: 1 })
  })

  test.each([false, true])(
    'a step that does not fit into a frame is refused where it was meant for, and the actor goes on (asking: %s)',
    async (ask) => {
      const { test: from, kernel } = await start('process')
      expect(await refusal(from.request('probe', 'long', { characters: maxFrameBytes, ask }))).toMatchObject({
        code: 'malformed',
        cause: expect.stringMatching(/^frame of \d+ bytes exceeds/) as string,
      })
      expect((await from.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ text: 'after' })
      expect(kernel.actors.get('probe')?.incarnation).toBe(1)
    },
  )

  test('kill -9: the open request is answered actor-down, the actor is restarted and serves again with fresh state', async () => {
    const { test: from, kernel } = await start('process')
    await from.request('probe', 'echo', { text: 'before' })
    const restarts: unknown[] = []
    void from.request('kernel', 'watch-restarts', {}, { onPart: (part) => restarts.push(part) }).catch(() => {})
    const pending = refusal(from.request('probe', 'never', {}))
    const live = kernel.actors.get('probe')
    await expect.poll(() => live?.outstanding.size).toBe(0)
    process.kill(live?.port?.pid ?? 0, 'SIGKILL')
    expect(await pending).toMatchObject({ code: 'actor-down', cause: 'ended by SIGKILL' })
    expect((await from.request('probe', 'echo', { text: 'after' })).body).toMatchObject({ count: 1 })
    expect(live?.incarnation).toBe(2)
    expect(restarts).toEqual([{ id: 'probe' }])
  })
})

describe('stopping', () => {
  test('one that does not end when it is told is ended at its own deadline, and those before it after that', async () => {
    const manifest = { ...entry.manifest, grants: [], stopMs: 50 }
    const actors = ['first', 'second'].map((kind) => ({ ...entry, manifest: { ...manifest, kind } }))
    running = await startTestKernel({
      actors,
      placement: 'process',
      supervision: [{ strategy: 'one-for-all', children: ['first', 'second'] }],
    })
    const { kernel, test: from } = running
    await from.request('second', 'echo', { text: 'it runs' })
    const [first, second] = ['first', 'second'].map((kind) => kernel.actors.get(kind))
    // It hears nothing any more; only a kill ends it.
    process.kill(second?.port?.pid ?? 0, 'SIGSTOP')
    const stopping = kernel.stop()
    expect([first?.state, second?.state]).toEqual(['running', 'stopping'])
    await stopping
    expect([first?.state, second?.state, kernel.actors.size]).toEqual(['stopped', 'stopped', 0])
  })

  test.each(['inline', 'thread', 'process'] as const)('an actor that is still loading stops, and stopping ends (%s)', async (placement) => {
    const { kernel } = await start(placement)
    await kernel.stop()
    const singleton = kernel.startInstance({ ...entry, manifest: { ...entry.manifest, placement } }, 'probe:2', {})
    await kernel.stopInstance('probe:2')
    const again = kernel.startInstance({ ...entry, manifest: { ...entry.manifest, placement } }, 'probe:3', {})
    // Its port exists, its code has not loaded.
    await expect.poll(() => kernel.actors.get('probe:3')?.port ?? null, { interval: 1 }).not.toBeNull()
    await kernel.stopInstance('probe:3')
    await Promise.all([singleton, again])
    expect([...kernel.actors.keys()]).toEqual([])
  })
})

test('actors that share a fate go down right to left and come up left to right, with their requests answered', async () => {
  const kinds = ['first', 'second', 'third']
  const noted: string[] = []
  running = await startTestKernel({
    actors: kinds.map((kind) => relay(kind, () => {})),
    replay: false,
    supervision: [{ strategy: 'rest-for-one', children: kinds }],
  })
  const { kernel, test: from } = running
  kernel.onRestart((id) => noted.push(id))
  kernel.actors.get('second')?.port?.kill()
  expect((await from.request('third', 'note', { grant: 0, n: 1 })).body).toEqual({ handled: 1 })
  expect(noted).toEqual(['second', 'third'])
  expect(kinds.map((kind) => kernel.actors.get(kind)?.incarnation)).toEqual([1, 2, 2])
  await running.stop()
  expect([...kernel.actors.keys()]).toEqual([])
})

describe('capabilities in messages', () => {
  test('a delegated capability is narrower, and dies with what it came from before the next delivery', async () => {
    const { test: from } = await start('inline')
    const derived = await from.request('kernel', 'derive', {}, { caps: [{ slot: 'peer', limits: { kinds: ['echo'] } }] })
    const [slot] = derived.slots
    expect((await from.request('probe', 'ask', { slot: '-', kind: 'echo' }, { caps: [{ slot: slot as string }] })).body).toEqual({
      answer: { heard: 'asked' },
    })
    expect((await refusal(from.request('probe', 'ask', { slot: '-', kind: 'slow' }, { caps: [{ slot: slot as string }] }))).code).toBe(
      'attenuated',
    )
    expect((await from.request('kernel', 'revoke', derived.body)).body).toEqual({ revoked: 4 })
    expect((await refusal(from.request('probe', 'ask', { slot: '-', kind: 'echo' }, { caps: [{ slot: slot as string }] }))).code).toBe(
      'revoked',
    )
  })

  test('a capability for one use serves one message', async () => {
    const { test: from } = await start('inline')
    const caps = [{ slot: 'peer', limits: { uses: 1 } }]
    const { slots } = await from.request('kernel', 'derive', {}, { caps })
    const slot = slots[0] as string
    expect((await from.request(slot, 'echo', { text: 'one' })).body).toEqual({ heard: 'one' })
    expect((await refusal(from.request(slot, 'echo', { text: 'two' }))).code).toBe('expired')
  })

  test('bytes, rate and wall time are budgets of the grant: used up, they refuse and name the limit', async () => {
    const { test: from, kernel } = await start('inline')
    const narrowed = async (limits: Limits) =>
      (await from.request('kernel', 'derive', {}, { caps: [{ slot: 'peer', limits }] })).slots[0] as string
    const bytes = await narrowed({ quota: { bytes: 40 } })
    await from.request(bytes, 'echo', { text: 'x'.repeat(10) })
    expect(await refusal(from.request(bytes, 'echo', { text: 'x'.repeat(30) }))).toMatchObject({ code: 'quota', rule: 'quota bytes 40' })
    const rate = await narrowed({ rate: { messages: 1, perMs: 3_600_000 } })
    await from.request(rate, 'echo', { text: 'one' })
    expect(await refusal(from.request(rate, 'echo', { text: 'two' }))).toMatchObject({
      code: 'quota',
      retryAfterMs: expect.any(Number) as number,
    })
    const time = await narrowed({ quota: { ms: 20 } })
    expect(await refusal(from.request(time, 'slow', {}))).toMatchObject({ code: 'quota', rule: 'quota ms 20' })
    expect(await refusal(from.request(time, 'echo', { text: 'x' }))).toMatchObject({ code: 'quota' })
    expect(kernel.deadLetters.counts).toEqual({ quota: 3 })
  })

  test('a receiver charges tokens and processes; processes come back when the request ends', async () => {
    const { test: from } = await start('inline')
    const { slots } = await from.request(
      'kernel',
      'derive',
      {},
      { caps: [{ slot: 'probe', limits: { quota: { tokens: 5, processes: 1 } } }] },
    )
    const slot = slots[0] as string
    const open = refusal(from.request(slot, 'spend', { quota: 'processes', amount: 1, answer: false }, { deadlineMs: 200 }))
    await expect.poll(async () => (await refusal(from.request(slot, 'echo', { text: 'x' }))).rule).toBe('quota processes 1')
    expect((await open).code).toBe('deadline')
    await from.request(slot, 'spend', { quota: 'tokens', amount: 6, answer: true })
    expect(await refusal(from.request(slot, 'echo', { text: 'x' }))).toMatchObject({ code: 'quota', rule: 'quota tokens 5' })
  })

  test('what was found out about a slot ends with it: a name that leads elsewhere, a target that is another', async () => {
    const { test: from, kernel } = await start('inline')
    const asked = async (slot: string) => (await from.request(slot, 'echo', { text: 'x' })).body
    const native = (says: string) => ({
      id: 'other',
      protocol: { echo: { body: z.strictObject({ text: z.literal(says === 'second' ? 'y' : 'x') }), reply: z.unknown() } },
      handle: async () => ({ body: { says } }),
    })
    kernel.addNative(native('first'))
    const me = kernel.endpoint('me', [{ name: 'to', target: 'other', limits: {}, reason: 'test' }])
    expect((await me.request('to', 'echo', { text: 'x' })).body).toEqual({ says: 'first' })
    kernel.addNative(native('second'))
    expect((await refusal(me.request('to', 'echo', { text: 'x' }))).code).toBe('malformed')
    expect((await me.request('to', 'echo', { text: 'y' })).body).toEqual({ says: 'second' })
    const again = kernel.endpoint('me', [{ name: 'to', target: 'peer', limits: {}, reason: 'test' }])
    expect((await again.request('to', 'echo', { text: 'x' })).body).toEqual({ heard: 'x' })
    expect(await asked('peer')).toEqual({ heard: 'x' })
    kernel.removeNative('peer')
    expect((await refusal(me.request('to', 'echo', { text: 'x' }))).code).toBe('revoked')
    expect((await refusal(from.request('peer', 'echo', { text: 'x' }))).code).toBe('revoked')
  })

  const named = (kind: string, strategy: 'permanent' | 'temporary'): ActorEntry => ({
    ...entry,
    manifest: { ...entry.manifest, kind, grants: [], restart: { strategy } },
  })

  test('one-way messages an actor leaves behind when it ends for good are dead letters', async () => {
    running = await startTestKernel({ actors: [named('brief', 'temporary')] })
    const { kernel, test: from } = running
    from.send('brief', 'never', {})
    from.send('brief', 'never', {})
    kernel.actors.get('brief')?.port?.kill()
    await expect.poll(() => kernel.actors.has('brief')).toBe(false)
    expect(kernel.deadLetters.counts).toEqual({ 'actor-down': 2 })
    expect((await refusal(from.request('brief', 'echo', { text: 'x' }))).code).toBe('actor-down')
  })

  test.each([true, false])('an actor with many messages waiting leaves others their turn (message log: %s)', async (replay) => {
    running = await startTestKernel({ actors: [named('busy', 'permanent'), named('other', 'permanent')], replay })
    const { test: from } = running
    const order: string[] = []
    for (let n = 0; n < 500; n++) from.send('busy', 'never', {})
    const asked = ['busy', 'other'].map((to) => from.request(to, 'echo', { text: to }).then(() => order.push(to)))
    await Promise.all(asked)
    expect(order).toEqual(['other', 'busy'])
  })

  test('revoking refuses what waits, at once, and cancel overtakes what waits', async () => {
    const { test: from, kernel } = await start('inline')
    const derived = await from.request('kernel', 'derive', {}, { caps: [{ slot: 'probe' }] })
    const live = kernel.actors.get('probe')
    const order: string[] = []
    live?.port?.kill()
    await expect.poll(() => live?.state).not.toBe('running')
    const abort = new AbortController()
    const asked = [
      refusal(from.request(derived.slots[0] as string, 'echo', { text: 'one' })).then(({ code }) => order.push(code)),
      from.request('probe', 'echo', { text: 'two' }).then(() => order.push('two')),
      refusal(from.request('probe', 'echo', { text: 'three' }, { signal: abort.signal })).then(({ code }) => order.push(code)),
    ]
    abort.abort()
    await from.request('kernel', 'revoke', derived.body)
    await Promise.all(asked)
    expect(order).toEqual(['cancelled', 'revoked', 'two'])
  })
})
