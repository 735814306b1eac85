import { duplexPair, type Duplex } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  encodeFrame,
  FrameDecoder,
  type GuestMessage,
  type HostMessage,
  initialCredit,
  parseHostMessage,
  protocolVersion,
} from '../../guest/wire.ts'
import { fault } from '../../kernel/index.ts'
import { maxFilesInFlight, maxOutputBytes } from './limits.ts'
import { ControlLink } from './link-control.ts'
import { FilesLink, type Gate } from './link-files.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const turn = () => new Promise((resolve) => setTimeout(resolve, 5))
const exitOf = (id: number): GuestMessage => ({
  t: 'exit',
  id,
  code: 0,
  signal: null,
  timedOut: false,
  oom: false,
  durationMs: 1,
  cwd: '/x',
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
  const link: ControlLink = new ControlLink(
    fake.host,
    () => {},
    () => link.end(fault('workspace-unavailable', 'gone')),
  )
  return { ...fake, link }
}

describe('control link', () => {
  it('greets until the agent answers for this boot', async () => {
    const { link, say, heard } = connected()
    const ready = link.greet('2')
    await turn()
    say({ t: 'ready', protocol: protocolVersion, epoch: '1', agent: 'a', kernel: 'k', bootMs: 1, stages: {} })
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(heard.length).toBeGreaterThan(1)
    say({ t: 'ready', protocol: protocolVersion, epoch: '2', agent: 'a', kernel: 'k', bootMs: 7, stages: {} })
    expect((await ready).bootMs).toBe(7)
  })

  it('refuses an agent of another protocol', async () => {
    const { link, say } = connected()
    const ready = link.greet('1')
    say({ t: 'ready', protocol: 9, epoch: '1', agent: 'a', kernel: 'k', bootMs: 1, stages: {} })
    await expect(ready).rejects.toMatchObject({ code: 'workspace-unavailable', cause: `agent 9, supervisor ${protocolVersion}` })
  })

  it('streams two commands at once, text whole, and gives credit only for what was consumed', async () => {
    const { link, say, heard, payloads } = connected()
    const got: string[] = []
    let open!: () => void
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const one = link.exec({ session: 's', command: 'echo ü', cwd: null, timeoutMs: 5 }, async (stream, text) => {
      await gate
      got.push(`${stream}:${text}`)
    })
    const two = link.exec({ session: 's', command: 'b', cwd: '/d', timeoutMs: 5 }, async () => {})
    await turn()
    expect(heard).toMatchObject([
      { t: 'exec', session: 's' },
      { t: 'exec', cwd: '/d' },
    ])
    expect(payloads[0]).toBe('echo ü')
    const [first, second] = heard.map((message) => (message as { id: number }).id) as [number, number]
    const ue = bytes('ü')
    say({ t: 'out', id: first, stream: 'stdout' }, ue.subarray(0, 1))
    say({ t: 'out', id: first, stream: 'stderr' }, bytes('!'))
    say({ t: 'out', id: first, stream: 'stdout' }, ue.subarray(1))
    say(exitOf(second))
    await two.done
    // Half a character holds nothing back; the text after it does.
    expect(heard.filter((message) => message.t === 'credit')).toMatchObject([{ bytes: 1 }])
    say(exitOf(first))
    open()
    expect(await one.done).toEqual({ exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/x' })
    expect(got).toEqual(['stderr:!', 'stdout:ü'])
  })

  it('kills in the guest', async () => {
    const { link, heard } = connected()
    link.exec({ session: 's', command: 'sleep', cwd: null, timeoutMs: 5 }, async () => {}).kill()
    await turn()
    expect(heard.at(-1)).toMatchObject({ t: 'signal', signal: 'SIGKILL' })
  })

  it('drops what is over the cap with one note, and lets the command end', async () => {
    const { link, say, heard } = connected()
    let passed = 0
    const notes: string[] = []
    const exec = link.exec({ session: 's', command: 'yes', cwd: null, timeoutMs: 5 }, async (stream, text) => {
      if (stream === 'stderr') notes.push(text)
      else passed += text.length
    })
    await turn()
    const { id } = heard[0] as { id: number }
    const piece = new Uint8Array(initialCredit).fill(120)
    for (let sent = 0; sent < maxOutputBytes + 3 * initialCredit; sent += initialCredit) {
      say({ t: 'out', id, stream: 'stdout' }, piece)
      await turn()
    }
    say(exitOf(id))
    await exec.done
    expect(passed).toBe(maxOutputBytes)
    expect(notes).toHaveLength(1)
  })

  it('ends with a guest that ignores its credit', async () => {
    const { link, say, heard } = connected()
    const exec = link.exec({ session: 's', command: 'yes', cwd: null, timeoutMs: 5 }, () => new Promise(() => {}))
    exec.done.catch(() => {})
    await turn()
    const { id } = heard[0] as { id: number }
    say({ t: 'out', id, stream: 'stdout' }, new Uint8Array(initialCredit))
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
    const exec = link.exec({ session: 's', command: 'x', cwd: '/none', timeoutMs: 5 }, async () => {})
    await turn()
    say({ t: 'failed', re: 'session', session: 's', code: 'mount-failed', message: 'no' })
    say({ t: 'failed', re: 'exec', id: (heard[1] as { id: number }).id, code: 'bad-cwd', message: 'gone' })
    await expect(session).rejects.toMatchObject({ code: 'exec-failed', cause: 'mount-failed: no' })
    await expect(exec.done).rejects.toMatchObject({ cause: 'bad-cwd: gone' })
  })

  it('fails everything when the VM goes', async () => {
    const { link, host } = connected()
    const exec = link.exec({ session: 's', command: 'x', cwd: null, timeoutMs: 5 }, async () => {})
    const ping = link.ping(1)
    host.destroy()
    await expect(exec.done).rejects.toMatchObject({ code: 'workspace-unavailable' })
    await expect(ping).rejects.toMatchObject({ code: 'workspace-unavailable' })
  })
})

/** A T-message of that tag: size, type 100, tag. */
const message = (tag: number) => new Uint8Array([7, 0, 0, 0, 100, tag, 0])

function files(gate: Partial<Gate>) {
  const [host, guest] = duplexPair()
  const heard: { header: unknown; payload: number[] }[] = []
  const decoder = new FrameDecoder()
  guest.on('data', (chunk: Uint8Array) => {
    for (const decoded of decoder.push(chunk))
      if (decoded.ok) heard.push({ header: decoded.frame.header, payload: [...decoded.frame.payload] })
  })
  const closed: string[] = []
  const whole: Gate = { ask: async (_conn, frame) => frame, close: (conn) => closed.push(conn), ...gate }
  let revoked = false
  const link = new FilesLink(host, '3', (session, folder) => (!revoked && session === 's' && folder === 'data' ? whole : null))
  const revoke = () => {
    revoked = true
  }
  return { link, revoke, heard, closed, ask: (c: string, frame: Uint8Array) => guest.write(encodeFrame({ c, op: 'msg' }, frame)), guest }
}

describe('files link', () => {
  it('asks the gate of that folder, under a connection name of this boot', async () => {
    const conns: string[] = []
    const { ask, heard } = files({
      ask: async (conn, frame) => {
        conns.push(conn)
        return frame
      },
    })
    ask('s/data#1', message(5))
    await turn()
    expect(conns).toEqual(['3:s/data#1'])
    expect(heard).toEqual([{ header: { c: 's/data#1', op: 'msg' }, payload: [...message(5)] }])
  })

  it('answers for gates that refuse, and for folders that were never connected', async () => {
    const { ask, heard } = files({ ask: async () => Promise.reject(fault('revoked', 'gone')) })
    ask('s/data#1', message(5))
    ask('other/data#1', message(6))
    ask('s/else#1', message(7))
    await turn()
    const errno = heard.map(({ payload }) => ({ tag: payload[5], errno: payload[7] }))
    expect(errno).toEqual(expect.arrayContaining([{ tag: 5, errno: 13 }, { tag: 6, errno: 13 }, { tag: 7, errno: 13 }])) // biome-ignore format: short
  })

  it('asks no gate any more for a connection whose folder was taken away, also one with files open', async () => {
    const asked: string[] = []
    const { ask, heard, revoke } = files({
      ask: async (conn, frame) => {
        asked.push(conn)
        return frame
      },
    })
    ask('s/data#1', message(5))
    await turn()
    revoke()
    for (const tag of [6, 7, 8]) ask('s/data#1', message(tag))
    await turn()
    expect(asked).toHaveLength(1)
    expect(heard.slice(1).map(({ payload }) => ({ type: payload[4], tag: payload[5], errno: payload[7] }))).toEqual(
      [6, 7, 8].map((tag) => ({ type: 7, tag, errno: 13 })),
    )
  })

  it('does not pass on an answer to another question', async () => {
    const { ask, heard } = files({ ask: async () => message(99) })
    ask('s/data#1', message(5))
    await turn()
    expect(heard[0]?.payload.slice(4)).toEqual([7, 5, 0, 5, 0, 0, 0])
  })

  it('closes a connection that sends what is no 9P message', async () => {
    const { ask, heard, closed } = files({})
    ask('s/data#1', message(1))
    await turn()
    ask('s/data#1', new Uint8Array([1, 2, 3]))
    await turn()
    expect(heard.at(-1)?.header).toEqual({ c: 's/data#1', op: 'close' })
    expect(closed).toEqual(['3:s/data#1'])
  })

  it('stops reading while too many questions are open, and tells the gates when it ends', async () => {
    const open: (() => void)[] = []
    const { ask, closed, link } = files({ ask: (_conn, frame) => new Promise((resolve) => open.push(() => resolve(frame))) })
    for (let i = 0; i < maxFilesInFlight + 20; i++) {
      ask('s/data#1', message(i))
      await turn()
    }
    expect(open.length).toBe(maxFilesInFlight)
    for (const answer of open.splice(0)) answer()
    await turn()
    expect(open.length).toBe(20)
    link.end()
    expect(closed).toEqual(['3:s/data#1'])
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
        const { link, guest } = connected()
        let passed = 0
        const exec = link.exec({ session: 's', command: 'x', cwd: null, timeoutMs: 5 }, async (_, said) => {
          passed += said.length
        })
        const other = link.exec({ session: 's', command: 'y', cwd: null, timeoutMs: 5 }, async () => {})
        const settled = [exec.done, other.done, link.ping(1), link.wake(1), link.session('s', 20_000, [])].map((one) =>
          one.then(
            (value) => ({ value }),
            (error: { code?: string }) => ({ error }),
          ),
        )
        const stream = Buffer.concat(frames)
        for (let at = 0; at < stream.length; at += piece * 7) guest.write(stream.subarray(at, at + piece * 7))
        await turn()
        link.end(fault('workspace-unavailable', 'over'))
        for (const result of await Promise.all(settled)) if ('error' in result) expect(result.error.code).toMatch(/^[a-z-]+$/)
        expect(passed).toBeLessThanOrEqual(initialCredit + stream.length)
      }),
      { numRuns: 150 },
    )
  })
})
