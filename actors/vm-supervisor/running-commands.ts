/** Commands under way, as effects see them: what is sent to them by name, and what the background ones wrote. One supervisor per process. */
import { asFault, type EffectContext, fault, type Fault } from '../../kernel/index.ts'
import type { SignalName, TerminalSize } from '../../guest/wire.ts'
import { jobOutputBytes, jobStopMs } from './limits.ts'
import type { ExecHandle } from './link-control.ts'
import type { LiveVm } from './live-vm.ts'
import type { Order, Waiting } from './state.ts'
import { UnreadOutput } from './unread-output.ts'

export type Outcome = { type: string; [key: string]: unknown }
export type Steering =
  | { act: 'input'; bytes: Uint8Array; end: boolean }
  | ({ act: 'resize' } & TerminalSize)
  | { act: 'signal'; signal: SignalName }
  /** Asked to end first, and made to when it does not. */
  | { act: 'stop' }

type Job = { unread: UnreadOutput; handle: ExecHandle | null; file: string | null }

/**
 * What a command makes in a connected folder is the member's, like what tools make there: it has the rights the member's own new files get, which
 * the daemon was started with. Windows has no such thing.
 */
const newFiles = process.platform === 'win32' ? {} : { umask: process.umask() }

const named = new Map<string, ExecHandle>()
const jobs = new Map<string, Job>()

const keyOf = (session: string, handle: string): string => `${session}/${handle}`

export async function runCommand(live: LiveVm, order: Waiting, context: EffectContext, signal: AbortSignal): Promise<Outcome> {
  const { request, session, handle: name, tty } = order
  const part = (body: unknown): Promise<void> => context.part(request, body)
  const begun = name === null ? {} : { onStarted: () => void part({ type: 'started' }).catch(() => {}) }
  const handle = live.control.exec(
    { ...order, ...newFiles, trace: context.trace, stdin: name !== null, keep: tty === null },
    tty === null
      ? { onText: (type, text) => part({ type, text }), ...begun }
      : { onText: async () => {}, onBytes: (bytes) => part({ type: 'output', bytes }), maxBytes: Number.POSITIVE_INFINITY, ...begun },
  )
  signal.addEventListener('abort', handle.kill, { once: true })
  const tell = (text: string): void => {
    if (tty === null) void part({ type: 'stderr', text }).catch(() => {})
  }
  const release = live.listen(session, tell)
  if (name !== null) named.set(keyOf(session, name), handle)
  try {
    return { type: 'exited', ...(await handle.done) }
  } catch (error) {
    return ended(error)
  } finally {
    release()
    if (name !== null && named.get(keyOf(session, name)) === handle) named.delete(keyOf(session, name))
  }
}

/** Goes on whoever asked for it; its output waits to be asked for. Those who wait for its end hear of it once the machine knows (`settleJobs`). */
export async function runJob(live: LiveVm, name: string, order: Order, trace: string | null): Promise<Outcome> {
  const job = jobOf(name)
  const handle = live.control.exec(
    { ...order, ...newFiles, trace, stdin: true, keep: true },
    { onText: async (_, text) => job.unread.add(text), maxBytes: Number.POSITIVE_INFINITY },
  )
  job.handle = handle
  const key = keyOf(order.session, name)
  named.set(key, handle)
  const release = live.listen(order.session, (text) => job.unread.add(text))
  try {
    const result = await handle.done
    job.file = result.outputFile
    return { type: 'exited', ...result }
  } catch (error) {
    return ended(error)
  } finally {
    job.handle = null
    named.delete(key)
    release()
  }
}

export async function readJob(name: string, waitMs: number, signal: AbortSignal): Promise<Outcome> {
  const job = jobOf(name)
  if (waitMs > 0) await job.unread.ended(waitMs, signal)
  return { type: 'read', job: name, ...job.unread.take(), outputFile: job.file ?? job.handle?.keptAt() ?? null }
}

/** Jobs the machine knows to be over are so for those who wait; those that nobody remembers are forgotten. */
export function settleJobs(over: readonly string[], forgotten: readonly string[]): void {
  for (const name of over) jobOf(name).unread.end()
  for (const name of forgotten) {
    jobs.get(name)?.unread.end()
    jobs.delete(name)
  }
}

export async function steer(session: string, name: string, steering: Steering): Promise<Outcome> {
  const handle = named.get(keyOf(session, name))
  if (handle === undefined)
    return {
      type: 'failed',
      error: fault('not-found', `No command of the session is called ${name} and still runs.`, { remedy: 'List those that do.' }),
    }
  try {
    if (steering.act === 'input') await handle.input(steering.bytes, steering.end)
    else if (steering.act === 'resize') handle.resize({ cols: steering.cols, rows: steering.rows })
    else if (steering.act === 'signal') handle.signal(steering.signal)
    else await stop(handle)
    return { type: 'done' }
  } catch (error) {
    return { type: 'failed', error: asFault(error) }
  }
}

async function stop(handle: ExecHandle): Promise<void> {
  handle.signal('SIGTERM')
  const timer = setTimeout(() => handle.kill(), jobStopMs)
  await handle.done.then(
    () => {},
    () => {},
  )
  clearTimeout(timer)
}

function ended(error: unknown): Outcome {
  const reason: Fault = asFault(error)
  return { type: reason.code === 'workspace-unavailable' ? 'lost' : 'failed', error: reason }
}

function jobOf(name: string): Job {
  const known = jobs.get(name)
  if (known) return known
  const job: Job = { unread: new UnreadOutput(jobOutputBytes), handle: null, file: null }
  jobs.set(name, job)
  return job
}
