import { duplexPair, type Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import { type GuestMessage, type HostMessage, parseHostMessage } from '../../guest/wire.ts'
import { fault } from '../../kernel/index.ts'
import { jobOutputBytes } from './limits.ts'
import { ControlLink } from './link-control.ts'
import { OutputLink } from './link-output.ts'
import { readJob, runJob, settleJobs, steer } from './running-commands.ts'
import { UnreadOutput } from './unread-output.ts'

const never = new AbortController().signal
const order = { session: 's', command: 'x', cwd: null, timeoutMs: 5, env: {} }

/** A VM that is only its control port, with a guest that says what the test wants. */
function fakeVm() {
  const [host, guest] = duplexPair()
  const heard: HostMessage[] = []
  const decoder = new FrameDecoder()
  guest.on('data', (chunk: Uint8Array) => {
    for (const decoded of decoder.push(chunk)) if (decoded.ok) heard.push(parseHostMessage(decoded.frame.header) as HostMessage)
  })
  const control = new ControlLink(
    host as Duplex,
    new OutputLink(
      duplexPair()[0],
      () => {},
      () => {},
    ),
    () => {},
    () => {},
  )
  return {
    live: { control, listen: () => () => {} } as unknown as Parameters<typeof runJob>[0],
    heard,
    control,
    say: (message: GuestMessage, payload?: Uint8Array) => guest.write(encodeFrame(message, payload)),
    idOf: async (): Promise<number> => {
      await expect.poll(() => heard[0]).toBeDefined()
      return (heard[0] as { id: number }).id
    },
  }
}

const exit = (id: number): GuestMessage => ({
  t: 'exit',
  id,
  code: 3,
  signal: null,
  timedOut: false,
  oom: false,
  durationMs: 1,
  cwd: '/',
  piped: 0,
})

describe('a background command', () => {
  it('gives what it wrote since the last time, and its end to those who wait', async () => {
    const { live, say, idOf } = fakeVm()
    const running = runJob(live, 'job-1', order, null)
    const id = await idOf()
    say({ t: 'out', id, stream: 'stdout' }, Buffer.from('early\n'))
    await expect.poll(async () => (await readJob('job-1', 0, never))['output']).toBe('early\n')
    const waiting = readJob('job-1', 60_000, never)
    say({ t: 'kept', id, path: '/run/outputs/1' })
    say({ t: 'out', id, stream: 'stderr' }, Buffer.from('late\n'))
    say(exit(id))
    expect(await running).toMatchObject({ type: 'exited', exitCode: 3 })
    settleJobs(['job-1'], [])
    expect(await waiting).toMatchObject({ type: 'read', output: 'late\n', missed: 0, outputFile: '/run/outputs/1' })
    expect(await steer('s', 'job-1', { act: 'signal', signal: 'SIGTERM' })).toMatchObject({ type: 'failed', error: { code: 'not-found' } })
    settleJobs([], ['job-1'])
  })

  it('is lost with its VM; one that never ran is over for those who wait as well', async () => {
    const { live, control, idOf } = fakeVm()
    const running = runJob(live, 'job-2', order, null)
    await idOf()
    const readers = [readJob('job-2', 60_000, never), readJob('job-3', 60_000, never)]
    control.end(fault('workspace-unavailable', 'gone'))
    expect(await running).toMatchObject({ type: 'lost' })
    settleJobs(['job-2', 'job-3'], [])
    expect(await Promise.all(readers)).toMatchObject([{ output: '' }, { output: '' }])
  })

  it('is reached by its name, in its own session only', async () => {
    const { live, heard, say, idOf } = fakeVm()
    const running = runJob(live, 'job-4', order, null)
    const id = await idOf()
    expect(await steer('other', 'job-4', { act: 'signal', signal: 'SIGKILL' })).toMatchObject({ error: { code: 'not-found' } })
    expect(await steer('s', 'job-4', { act: 'signal', signal: 'SIGKILL' })).toEqual({ type: 'done' })
    await expect.poll(() => heard.at(-1)).toEqual({ t: 'signal', id, signal: 'SIGKILL' })
    say(exit(id))
    await running
  })
})

describe('output nobody has asked for', () => {
  it('is bounded; what is lost is the oldest, and counted', () => {
    const unread = new UnreadOutput(jobOutputBytes)
    for (let at = 0; at < 100; at++) unread.add(String(at % 10).repeat(1_000))
    const { output, missed } = unread.take()
    expect(output.length).toBe(jobOutputBytes)
    expect(missed).toBe(100_000 - jobOutputBytes)
    expect(output.endsWith('9'.repeat(1_000))).toBe(true)
    expect(unread.take()).toEqual({ output: '', missed: 0 })
  })
})
