import { duplexPair, type Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import {
  creditPiece,
  type GuestMessage,
  type HostMessage,
  initialCredit,
  inputWindow,
  type OutputMessage,
  parseHostMessage,
  protocolVersion,
} from '../../guest/wire.ts'
import { fault } from '../../kernel/index.ts'
import { helloEveryMs, outputTailBytes } from './limits.ts'
import { ControlLink } from './link-control.ts'
import { OutputLink } from './link-output.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const silent = { onText: async () => {} }
const exitOf = (id: number): GuestMessage => ({
  t: 'exit',
  id,
  code: 0,
  signal: null,
  timedOut: false,
  oom: false,
  durationMs: 1,
  cwd: '/x',
  piped: 0,
})

/** A guest that records what it is told and says what the test wants. */
function fakeGuest() {
  const [host, guest] = duplexPair()
  const heard: HostMessage[] = []
  const payloads: string[] = []
  const decoder = new FrameDecoder()
  guest.on('data', (chunk: Uint8Array) => {
    for (const decoded of decoder.push(chunk)) {
      if (!decoded.ok) throw new Error(decoded.reason)
      const message = parseHostMessage(decoded.frame.header)
      if (!message) throw new Error('the guest would not take this')
      heard.push(message)
      payloads.push(new TextDecoder().decode(decoded.frame.payload))
    }
  })
  return {
    host: host as Duplex,
    guest: guest as Duplex,
    heard,
    payloads,
    say: (message: GuestMessage, payload?: Uint8Array) => guest.write(encodeFrame(message, payload)),
  }
}

function connected() {
  const fake = fakeGuest()
  const [host, carrier] = duplexPair()
  const ordered: unknown[] = []
  const decoder = new FrameDecoder()
  carrier.on('data', (chunk: Uint8Array) => {
    for (const decoded of decoder.push(chunk)) if (decoded.ok) ordered.push(decoded.frame.header)
  })
  const gone = (): void => link.end(fault('workspace-unavailable', 'gone'))
  const outputs = new OutputLink(host, gone, gone)
  const link: ControlLink = new ControlLink(fake.host, outputs, () => {}, gone)
  const write = (message: OutputMessage, payload?: Uint8Array): unknown => carrier.write(encodeFrame(message, payload))
  return { ...fake, link, outputs, carrier, write, ordered }
}

describe('control link', () => {
  it('greets until the agent answers for this boot', async () => {
    const { link, say, heard } = connected()
    const ready = link.greet('2', helloEveryMs)
    await turn()
    say({ t: 'ready', protocol: protocolVersion, epoch: '1', agent: 'a', kernel: 'k', bootMs: 1, stages: {} })
    await expect.poll(() => heard.length).toBeGreaterThan(1)
    say({ t: 'ready', protocol: protocolVersion, epoch: '2', agent: 'a', kernel: 'k', bootMs: 7, stages: {} })
    expect((await ready).bootMs).toBe(7)
  })

  it('greets a guest whose port is still to come once that is there, and not before; and again if it gives no answer', async () => {
    const { link, say, heard } = connected()
    let open!: () => void
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    const ready = link.greet('1', 100, opened)
    await turn()
    expect(heard).toEqual([])
    open()
    await turn()
    expect(heard).toEqual([{ t: 'hello', epoch: '1' }])
    await expect.poll(() => heard.length).toBe(2)
    say({ t: 'ready', protocol: protocolVersion, epoch: '1', agent: 'a', kernel: 'k', bootMs: 1, stages: {} })
    await ready
  })

  it('greets a guest whose port nobody told of as well, after a while', async () => {
    const { link, say, heard } = connected()
    const ready = link.greet('1', 50, new Promise(() => {}))
    await expect.poll(() => heard.length).toBe(1)
    say({ t: 'ready', protocol: protocolVersion, epoch: '1', agent: 'a', kernel: 'k', bootMs: 1, stages: {} })
    await ready
  })

  it('refuses an agent of another protocol', async () => {
    const { link, say } = connected()
    const ready = link.greet('1', helloEveryMs)
    say({ t: 'ready', protocol: 9, epoch: '1', agent: 'a', kernel: 'k', bootMs: 1, stages: {} })
    await expect(ready).rejects.toMatchObject({ code: 'workspace-unavailable', cause: `agent 9, supervisor ${protocolVersion}` })
  })

  it('streams two commands at once, text whole, and gives credit only for what was consumed', async () => {
    const { link, say, write, heard, ordered, payloads } = connected()
    const got: string[] = []
    let open!: () => void
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const one = link.exec(
      { session: 's', command: 'echo ü', cwd: null, timeoutMs: 5 },
      {
        onText: async (stream, text) => {
          await gate
          got.push(`${stream}:${text}`)
        },
      },
    )
    const two = link.exec({ session: 's', command: 'b', cwd: '/d', timeoutMs: 5 }, silent)
    await turn()
    expect(heard).toMatchObject([
      { t: 'exec', session: 's' },
      { t: 'exec', cwd: '/d' },
    ])
    expect(payloads[0]).toBe('echo ü')
    const [first, second] = heard.map((message) => (message as { id: number }).id) as [number, number]
    const ue = bytes('ü')
    write({ t: 'out', id: first, stream: 'stdout' }, ue.subarray(0, 1))
    write({ t: 'out', id: first, stream: 'stderr' }, new Uint8Array(creditPiece).fill(33))
    write({ t: 'out', id: first, stream: 'stdout' }, ue.subarray(1))
    say(exitOf(second))
    await two.done
    // Half a character is consumed, the text after it is not; what is less than a piece waits for more.
    expect(ordered).toEqual([])
    open()
    await expect.poll(() => ordered).toEqual([{ t: 'credit', id: first, bytes: 1 + creditPiece }])
    say(exitOf(first))
    expect(await one.done).toEqual({ exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/x', outputFile: null })
    expect([...new Set(got.map((text) => text.replace(/!+/, '!')))]).toEqual(['stderr:!', 'stdout:ü'])
  })

  it('a command is over when its output is here, whichever port is quicker', async () => {
    const { link, say, write, heard } = connected()
    let got = ''
    const exec = link.exec({ session: 's', command: 'x', cwd: null, timeoutMs: 5 }, { onText: async (_, text) => void (got += text) })
    let over = false
    void exec.done.then(() => (over = true))
    await turn()
    const { id } = heard[0] as { id: number }
    write({ t: 'out', id, stream: 'stdout' }, bytes('ab'))
    say({ ...exitOf(id), piped: 5 } as GuestMessage)
    await turn()
    expect(over).toBe(false)
    write({ t: 'out', id, stream: 'stderr' }, bytes('cde'))
    await exec.done
    expect(got).toBe('abcde')
  })

  it('the output port answers, and its end is the end of the link', async () => {
    const { link, outputs, write, ordered, carrier } = connected()
    const proof = outputs.echo()
    await expect.poll(() => ordered).toEqual([{ t: 'echo', id: 1 }])
    write({ t: 'echo', id: 7 })
    write({ t: 'echo', id: 1 })
    await proof
    const unanswered = outputs.echo()
    carrier.write(new Uint8Array(16).fill(255))
    await link.closed
    await expect(unanswered).rejects.toThrow(/output port/)
  })

  it('kills in the guest', async () => {
    const { link, heard } = connected()
    link.exec({ session: 's', command: 'sleep', cwd: null, timeoutMs: 5 }, silent).kill()
    await turn()
    expect(heard.at(-1)).toMatchObject({ t: 'signal', signal: 'SIGKILL' })
  })

  it('passes on the first part and the end of a long output, and says where all of it is', async () => {
    const { link, say, heard } = connected()
    let passed = ''
    const notes: string[] = []
    const exec = link.exec({ session: 's', command: 'yes', cwd: null, timeoutMs: 5, keep: true }, {
      onText: async (stream, text) => {
        if (stream === 'stderr') notes.push(text)
        else passed += text
      },
      maxBytes: 2 * initialCredit,
    }) // biome-ignore format: as a call
    await turn()
    const { id, keep } = heard[0] as { id: number; keep: boolean }
    expect(keep).toBe(true)
    say({ t: 'kept', id, path: '/run/outputs/1' })
    for (const letter of 'abcdef') {
      for (let sent = 0; sent < initialCredit; sent += creditPiece)
        say({ t: 'out', id, stream: 'stdout' }, new Uint8Array(creditPiece).fill(letter.charCodeAt(0)))
      await turn()
    }
    expect(exec.keptAt()).toBe('/run/outputs/1')
    say(exitOf(id))
    expect((await exec.done).outputFile).toBe('/run/outputs/1')
    expect([...new Set(passed)].join('')).toBe('abf')
    expect(passed.length).toBeGreaterThanOrEqual(2 * initialCredit + outputTailBytes)
    expect(notes).toEqual([
      `\n[bulkhead: ${6 * initialCredit - passed.length} bytes of output are left out here; all of it is in /run/outputs/1 in the workspace]\n`,
    ])
  })

  it('a terminal: its bytes as they are, its size, its input no faster than it is taken', async () => {
    const { link, say, heard, payloads } = connected()
    const got: Uint8Array[] = []
    let started = 0
    const exec = link.exec({ session: 's', command: 'bash', cwd: null, timeoutMs: 0, tty: { cols: 80, rows: 24 }, env: { TERM: 'vt100' } }, {
      onText: async () => {},
      onBytes: async (piece) => void got.push(piece),
      onStarted: () => started++,
      maxBytes: Number.POSITIVE_INFINITY,
    }) // biome-ignore format: as a call
    await turn()
    const { id } = heard[0] as { id: number }
    expect(heard[0]).toMatchObject({ tty: { cols: 80, rows: 24 }, env: { TERM: 'vt100' } })
    say({ t: 'started', id, pid: 1 })
    say({ t: 'out', id, stream: 'stdout' }, new Uint8Array([27, 0xc3]))
    exec.resize({ cols: 100, rows: 30 })
    let taken = false
    const written = exec.input(new Uint8Array(inputWindow + 10).fill(7), true).then(() => (taken = true))
    await turn()
    expect(started).toBe(1)
    expect(got.map((piece) => [...piece])).toEqual([[27, 0xc3]])
    const inputs = () => heard.filter((message) => message.t === 'stdin')
    const sent = () => heard.reduce((sum, message, at) => sum + (message.t === 'stdin' ? (payloads[at]?.length ?? 0) : 0), 0)
    expect(heard.find((message) => message.t === 'resize')).toEqual({ t: 'resize', id, cols: 100, rows: 30 })
    expect(sent()).toBe(inputWindow)
    // More than was sent cannot have been taken.
    say({ t: 'took', id, bytes: 2 ** 40 })
    await turn()
    expect(sent()).toBe(inputWindow + 10)
    expect(inputs().at(-1)).toMatchObject({ end: true })
    expect(taken).toBe(false)
    say({ t: 'took', id, bytes: 10 })
    await written
    const late = exec.input(new Uint8Array(3), false)
    say(exitOf(id))
    await expect(late).rejects.toMatchObject({ code: 'not-found' })
  })

  it('a thousand commands at once: each its own output and its own end, in whatever order', async () => {
    const { link, say, heard } = connected()
    const got = Array.from({ length: 1_000 }, () => '')
    const runs = got.map((_, at) =>
      link.exec(
        { session: 's', command: `echo ${at}`, cwd: null, timeoutMs: 5 },
        { onText: async (_stream, text) => void (got[at] += text) },
      ),
    )
    await turn()
    const ids = heard.map((message) => (message as { id: number }).id)
    expect(new Set(ids).size).toBe(1_000)
    for (const half of [0, 1])
      for (const [at, id] of ids.entries()) say({ t: 'out', id, stream: 'stdout' }, bytes(half === 0 ? `${at}` : '!'))
    for (const [at, id] of [...ids.entries()].toReversed()) say({ ...exitOf(id), code: at % 256 } as GuestMessage)
    const results = await Promise.all(runs.map(({ done }) => done))
    expect(results.map(({ exitCode }) => exitCode)).toEqual(ids.map((_, at) => at % 256))
    expect(got).toEqual(ids.map((_, at) => `${at}!`))
  })

  it('ends with a guest that ignores its credit', async () => {
    const { link, say, heard } = connected()
    const exec = link.exec({ session: 's', command: 'yes', cwd: null, timeoutMs: 5 }, { onText: () => new Promise(() => {}) })
    exec.done.catch(() => {})
    await turn()
    const { id } = heard[0] as { id: number }
    for (let sent = 0; sent < initialCredit; sent += creditPiece) say({ t: 'out', id, stream: 'stdout' }, new Uint8Array(creditPiece))
    say({ t: 'out', id, stream: 'stdout' }, new Uint8Array(1))
    expect((await link.closed).cause).toMatch(/more output/)
    await expect(exec.done).rejects.toMatchObject({ code: 'workspace-unavailable' })
  })

  it('ends with a guest that sends what is no frame, and ignores ids it was not given', async () => {
    const { link, say, guest } = connected()
    say(exitOf(77))
    say({ t: 'out', id: 78, stream: 'stdout' }, bytes('x'))
    say({ t: 'pong', n: 99, busy: false })
    guest.write(new Uint8Array(16).fill(255))
    expect((await link.closed).cause).toMatch(/no frame/)
    await expect(link.ping(1)).rejects.toMatchObject({ code: 'workspace-unavailable' })
  })

  it('reports sessions and commands the guest refuses', async () => {
    const { link, say, heard } = connected()
    const session = link.session('s', 20_000, [])
    const exec = link.exec({ session: 's', command: 'x', cwd: '/none', timeoutMs: 5 }, silent)
    await turn()
    say({ t: 'failed', re: 'session', session: 's', code: 'mount-failed', message: 'no' })
    say({ t: 'failed', re: 'exec', id: (heard[1] as { id: number }).id, code: 'bad-cwd', message: 'gone' })
    await expect(session).rejects.toMatchObject({ code: 'exec-failed', cause: 'mount-failed: no' })
    await expect(exec.done).rejects.toMatchObject({ cause: 'bad-cwd: gone' })
  })

  it('fails everything when the VM goes', async () => {
    const { link, host } = connected()
    const exec = link.exec({ session: 's', command: 'x', cwd: null, timeoutMs: 5 }, silent)
    const ping = link.ping(1)
    host.destroy()
    await expect(exec.done).rejects.toMatchObject({ code: 'workspace-unavailable' })
    await expect(ping).rejects.toMatchObject({ code: 'workspace-unavailable' })
  })
})

describe('a hostile agent', () => {
  const id = fc.constantFrom(-1, 0, 1, 2, 3, 1e9, '1', null)
  const text = fc.constantFrom('s', '../x', '', 'x'.repeat(200), '__proto__', null)
  /** The right words with wrong, repeated, contradicting or missing fields. */
  const words = fc.record(
    {
      t: fc.constantFrom(
        'ready',
        'sessioned',
        'unsessioned',
        'failed',
        'started',
        'out',
        'exit',
        'pong',
        'awake',
        'warmed',
        'log',
        'nonsense',
      ),
      id,
      n: id,
      session: text,
      epoch: fc.constantFrom('1', '2', 'none', null),
      stream: fc.constantFrom('stdout', 'stderr', 'stdin'),
      code: fc.constantFrom(0, 256, null, 'failed'),
      signal: fc.constantFrom(null, 'SIGKILL', 9),
      timedOut: fc.boolean(),
      oom: fc.boolean(),
      busy: fc.boolean(),
      durationMs: id,
      piped: id,
      cwd: fc.constantFrom('/x', 'x', '/x\0', null),
      problem: text,
      message: text,
      level: fc.constantFrom('info', 'error', 'fatal'),
      protocol: fc.constantFrom(protocolVersion, 9),
      re: fc.constantFrom('session', 'exec', 'x'),
    },
    { requiredKeys: ['t'] },
  )
  const frame = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.tuple(words, fc.uint8Array({ maxLength: 300 })).map(([said, payload]) => encodeFrame(said as never, payload)),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }) },
  )

  it('cannot make the host throw, answer for another command, or pass on more than it was allowed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 40 }), fc.integer({ min: 1, max: 50 }), async (frames, piece) => {
        const { link, guest, carrier } = connected()
        let passed = 0
        const exec = link.exec(
          { session: 's', command: 'x', cwd: null, timeoutMs: 5 },
          {
            onText: async (_, said) => {
              passed += said.length
            },
          },
        )
        const other = link.exec({ session: 's', command: 'y', cwd: null, timeoutMs: 5 }, silent)
        const settled = [exec.done, other.done, link.ping(1), link.wake(1), link.session('s', 20_000, [])].map((one) =>
          one.then(
            (value) => ({ value }),
            (error: { code?: string }) => ({ error }),
          ),
        )
        const stream = Buffer.concat(frames)
        for (let at = 0; at < stream.length; at += piece * 7)
          for (const port of [guest, carrier]) port.write(stream.subarray(at, at + piece * 7))
        await turn()
        link.end(fault('workspace-unavailable', 'over'))
        for (const result of await Promise.all(settled)) if ('error' in result) expect(result.error.code).toMatch(/^[a-z-]+$/)
        expect(passed).toBeLessThanOrEqual(initialCredit + 2 * stream.length)
      }),
      { numRuns: 150 },
    )
  })
})
