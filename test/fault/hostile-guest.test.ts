/**
 * A guest that floods each of its ports, or whose agent goes: the host's side of a real link, with the guest in the test's hand. It ends the VM at
 * most; the host stays responsive, its memory, its log and its record bounded.
 */
import { duplexPair, type Duplex, PassThrough } from 'node:stream'
import * as Effect from 'effect/Effect'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Driver, Hypervisor, RunningVm } from '../../actors/vm-supervisor/driver.ts'
import { maxGuestLines, maxRefusalsTold, maxStages } from '../../actors/vm-supervisor/limits.ts'
import { type Ended, LiveVm } from '../../actors/vm-supervisor/live-vm.ts'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import { type GuestMessage, type HostMessage, parseHostMessage, protocolVersion } from '../../guest/wire.ts'
import { type EffectContext, fault } from '../../kernel/index.ts'

type Guest = {
  control: Duplex
  files: Duplex
  output: Duplex
  connections: Duplex
  console: PassThrough
  /** Closes the agent's end of the control port, as QEMU reports it. */
  agentGoes(): void
  ended: Promise<Ended>
  live(): LiveVm
  logs: string[]
  raised: { type: string }[]
  /** What the host said on the control port. */
  told: HostMessage[]
  /** It answers greetings from now on; resolves when it has, to one. */
  greets(): Promise<void>
}

/** A VM that has said it is ready. */
async function readyGuest(): Promise<Guest> {
  const guest = await newGuest()
  await guest.greets()
  return guest
}

/** A VM that runs and has said nothing. */
async function newGuest(): Promise<Guest> {
  const [control, guestControl] = duplexPair()
  const [files, guestFiles] = duplexPair()
  const [output, guestOutput] = duplexPair()
  const [connections, guestConnections] = duplexPair()
  const console = new PassThrough()
  let exit!: (how: { code: number | null; signal: string | null; stderr: string }) => void
  let agentGoes!: () => void
  const agentGone = new Promise<void>((resolve) => (agentGoes = resolve))
  const vm: RunningVm = {
    pid: 7,
    control,
    files,
    output,
    connections,
    console,
    agentGone,
    progress: async () => 0,
    pause: async () => {},
    resume: async () => {},
    save: async () => {},
    quit: async () => exit({ code: 0, signal: null, stderr: '' }),
    kill: () => exit({ code: null, signal: 'SIGKILL', stderr: '' }),
    exited: new Promise((resolve) => (exit = resolve)),
  }
  const driver = { launch: async () => vm } as unknown as Driver
  const logs: string[] = []
  const raised: { type: string }[] = []
  const context = {
    log: (level: string, message: string) => void logs.push(`${level} ${message}`),
    raise: (event: { type: string }) => void raised.push(event),
    request: () => Effect.fail(fault('overloaded', 'refused by the test')),
  } as unknown as EffectContext
  let live: LiveVm | null = null
  const abort = new AbortController()
  const spec = {
    hypervisor: {} as Hypervisor,
    accelerator: 'tcg',
    cpus: 1,
    memoryMiB: 1,
    imageDir: '/i',
    initrd: '/i',
    scratchDir: '/s',
    home: '/h',
    begin: { how: 'boot' },
  } as const
  const ended = LiveVm.run(
    driver,
    spec,
    '1',
    context,
    abort.signal,
    (held) => (live = held ?? live),
    (session) => (session === 'networked' ? 5 : null),
  )
  onTestFinished(() => abort.abort())
  const decoder = new FrameDecoder()
  const told: HostMessage[] = []
  let answers = false
  guestControl.on('data', (bytes: Uint8Array) => {
    for (const decoded of decoder.push(bytes)) {
      const message = decoded.ok ? parseHostMessage(decoded.frame.header) : null
      if (message !== null) told.push(message)
      if (message?.t === 'hello' && answers)
        say(guestControl, { t: 'ready', protocol: protocolVersion, epoch: message.epoch, agent: 'a', kernel: 'k', bootMs: 1, stages: {} })
      if (message?.t === 'ping') say(guestControl, { t: 'pong', n: message.n, busy: false })
    }
  })
  guestFiles.on('data', () => {})
  guestOutput.on('data', () => {})
  guestConnections.on('data', () => {})
  await expect.poll(() => live).not.toBeNull()
  const greets = async (): Promise<void> => {
    answers = true
    await expect.poll(() => raised.some(({ type }) => type === 'vm.handshake')).toBe(true)
  }
  const held = (): LiveVm => {
    if (live === null) throw new Error('no VM')
    return live
  }
  const ports = { control: guestControl, files: guestFiles, output: guestOutput, connections: guestConnections }
  return { ...ports, console, agentGoes, ended, live: held, logs, raised, told, greets }
}

const say = (port: Duplex, message: GuestMessage): boolean => port.write(encodeFrame(message))

/** Writes as fast as the host takes it. */
async function flood(port: Duplex, piece: Uint8Array, times: number): Promise<void> {
  for (let at = 0; at < times; at++) if (!port.write(piece)) await new Promise((resolve) => port.once('drain', resolve))
}

const mebibytes = 1024 * 1024
const frames = (message: object, count: number): Uint8Array =>
  Buffer.concat(Array.from({ length: count }, () => encodeFrame(message as GuestMessage)))

const floods = [
  ['control', 'words of its agent', frames({ t: 'log', level: 'error', message: 'x'.repeat(200) }, 1_000)],
  ['control', 'answers to nothing', frames({ t: 'pong', n: 99, busy: true }, 1_000)],
  ['control', 'output of commands that are not there', frames({ t: 'out', id: 99, stream: 'stdout' }, 1_000)],
  ['control', 'messages of no kind', frames({ t: 'nonsense', deep: { __proto__: 1 } }, 1_000)],
  [
    'files',
    'requests to folders nobody connected',
    Buffer.concat(Array.from({ length: 500 }, () => encodeFrame({ c: 's/data#1', op: 'msg' }, version()))),
  ],
  [
    'connections',
    'connections of sessions that are not there',
    frames({ net: 'open', n: 1, session: 's', to: { host: 'a.example', port: 80 } }, 1_000),
  ],
  ['output', 'output of commands that are not there', frames({ t: 'out', id: 99, stream: 'stdout' }, 1_000)],
  ['files', 'ends of what never began', frames({ c: 's/data#1', op: 'close' }, 1_000)],
  ['console', 'its console', Buffer.from('bulkhead: mounted 1.0\n'.repeat(3_000))],
] as const

describe('a guest that floods', () => {
  it.each(floods)('%s with %s: the host answers meanwhile, and keeps little of it', async (port, _, piece) => {
    const guest = await readyGuest()
    const rss = process.memoryUsage().rss
    const times = Math.ceil((4 * mebibytes) / piece.length)
    const flooding = flood(guest[port], piece, times)
    // Round trips on the control port while it goes on: what serves them serves everything else.
    for (let at = 0; at < 5; at++) await guest.live().control.ping(Date.now())
    await flooding
    await guest.live().control.ping(Date.now())
    expect(guest.logs.length).toBeLessThan(maxGuestLines + 10)
    expect(guest.raised.filter(({ type }) => type === 'vm.progress').length).toBeLessThanOrEqual(maxStages)
    expect(process.memoryUsage().rss - rss).toBeLessThan(200 * mebibytes)
  })

  it.each(floods)(
    '%s with %s before it was ever heard: it is greeted and adopted yet, and little of it is kept',
    async (port, _, piece) => {
      const guest = await newGuest()
      const rss = process.memoryUsage().rss
      await flood(guest[port], piece, Math.ceil((4 * mebibytes) / piece.length))
      await guest.greets()
      await guest.live().control.ping(Date.now())
      expect(guest.logs.length).toBeLessThan(maxGuestLines + 10)
      expect(guest.raised.filter(({ type }) => type === 'vm.progress').length).toBeLessThanOrEqual(maxStages)
      expect(process.memoryUsage().rss - rss).toBeLessThan(200 * mebibytes)
    },
  )

  it.each(['control', 'files', 'output', 'connections'] as const)(
    '%s with half a frame, and then no more: the VM is ended',
    async (port) => {
      const guest = await readyGuest()
      guest[port].write(encodeFrame({ t: 'log', level: 'info', message: 'x'.repeat(100) }).subarray(0, 50))
      guest[port].end()
      expect(await guest.ended).toMatchObject({ signal: 'SIGKILL', detail: expect.stringMatching(/\w/) })
    },
  )

  it.each(['control', 'files', 'output', 'connections'] as const)(
    '%s with what is no frame: the VM is ended, with the reason',
    async (port) => {
      const guest = await readyGuest()
      for (let at = 0; at < 64; at++) guest[port].write(Buffer.alloc(64 * 1024, 0xff))
      expect(await guest.ended).toMatchObject({ signal: 'SIGKILL', detail: expect.stringContaining('no frame') })
    },
  )

  it('connections that are refused: its command hears of some, and that there were more', async () => {
    const guest = await readyGuest()
    const told: string[] = []
    guest.live().listen('networked', (text) => told.push(text))
    const to = { host: 'a.example', port: 80 }
    for (let n = 1; n <= 1_000; n++) guest.connections.write(encodeFrame({ net: 'open', n, session: 'networked', to }))
    await expect.poll(() => told.length).toBe(maxRefusalsTold + 1)
    await guest.live().control.ping(Date.now())
    expect([told.length, told.at(-1)]).toEqual([maxRefusalsTold + 1, expect.stringContaining('more connections were refused')])
  })
})

describe('the host’s clock', () => {
  it.each([
    ['forward', 3_600_000],
    ['back', -3_600_000],
  ])('that steps %s is told to the running guest at once, and once', async (_, stepMs) => {
    const guest = await readyGuest()
    const real = Date.now.bind(Date)
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => real() + stepMs)
    onTestFinished(() => clock.mockRestore())
    const wakes = () => guest.told.flatMap((message) => (message.t === 'wake' ? [message.ms] : []))
    await expect.poll(() => wakes().length, { timeout: 60_000 }).toBe(1)
    expect(Math.abs((wakes()[0] ?? 0) - real() - stepMs)).toBeLessThan(60_000)
    // The pings tell it as well.
    await guest.live().control.ping(Date.now())
    expect(wakes()).toHaveLength(1)
  })
})

describe('the guest’s agent', () => {
  it('that ends takes the VM along: commands end with it, and a new one is made', async () => {
    const guest = await readyGuest()
    const running = guest.live().control.exec({ session: 's', command: 'x', cwd: null, timeoutMs: 5 }, { onText: async () => {} }).done
    const refused = running.catch((error: { code: string; cause: string }) => error)
    guest.agentGoes()
    expect(await guest.ended).toMatchObject({ signal: 'SIGKILL', detail: expect.stringContaining('the guest agent ended') })
    expect(await refused).toMatchObject({ code: 'workspace-unavailable' })
  })
})

/** Tversion of 9P2000.L. */
function version(): Uint8Array {
  const name = Buffer.from('9P2000.L')
  const frame = Buffer.alloc(13 + name.length)
  frame.writeUInt32LE(frame.length, 0)
  frame[4] = 100
  frame.writeUInt16LE(0xffff, 5)
  frame.writeUInt32LE(65_536, 7)
  frame.writeUInt16LE(name.length, 11)
  name.copy(frame, 13)
  return frame
}
