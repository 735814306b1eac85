/**
 * `bulkhead shell`: this terminal becomes one in the workspace. Once that has begun, every key goes there, Ctrl-C as well; before, Ctrl-C gives
 * up waiting. However it ends, the terminal is as it was.
 */
import type { ReadStream } from 'node:tty'
import { fault } from '../kernel/index.ts'
import type { Daemon, ShellShown } from './connection.ts'
import type { Opened } from './events.ts'
import { exitCodes } from './exit-codes.ts'
import { maxTypedBytes } from './limits.ts'

export type ShellIo = {
  stdin: NodeJS.ReadableStream & Partial<Pick<ReadStream, 'isTTY' | 'setRawMode'>> & { unref?(): void }
  stdout: NodeJS.WritableStream & { columns?: number; rows?: number }
  /** What kind of terminal this is. */
  term: string
  progress(text: string): void
  settle(): void
  shown(to: (shown: ShellShown) => void): void
}

type Ending = { exitCode: number | null; signal: string | null }
type Listed = { session: string; open: boolean }

/** Of a terminal that cannot say. */
const usual = { cols: 80, rows: 24 }
const ctrlC = 3
const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
}

/** @returns the exit code: the shell's own, as a shell would report it */
export async function shell(daemon: Daemon, asked: { session: string | null; command: string | null }, io: ShellIo): Promise<number> {
  const session = await chosen(daemon, asked.session)
  const name = Math.random().toString(36).slice(2, 12)
  const abort = new AbortController()
  const keys = typed(daemon, name, abort)
  let last = (): void => {}
  const shownAll = new Promise<void>((resolve) => (last = resolve))
  io.shown(({ shell: which, data, started, vm, ended: over }) => {
    if (which !== name) return
    if (vm) io.progress(`workspace: ${vm.progress ?? vm.detail}`)
    if (started) {
      io.settle()
      // It may have another size by now than when it was asked for.
      resized()
      keys.begin()
    }
    if (data !== undefined) io.stdout.write(Buffer.from(data, 'base64'))
    if (over) last()
  })
  const size = () => ({ cols: io.stdout.columns || usual.cols, rows: io.stdout.rows || usual.rows })
  const resized = (): void => void daemon.call('shell/resize', { shell: name, ...size() }).catch(() => {})
  const raw = io.stdin.isTTY === true
  const restore = (): void => void (raw && io.stdin.setRawMode?.(false))
  const ended = (): void => abort.abort()
  if (raw) io.stdin.setRawMode?.(true)
  process.once('exit', restore)
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, ended)
  io.stdin.on('data', keys.press)
  io.stdin.on('end', keys.end)
  io.stdout.on('resize', resized)
  try {
    const terminal = {
      shell: name,
      session,
      ...size(),
      ...(asked.command ? { command: asked.command } : {}),
      ...(io.term === '' ? {} : { term: io.term }),
    }
    const { exitCode, signal } = await daemon.call<Ending>('shell/open', terminal, abort.signal)
    await Promise.race([shownAll, daemon.closed])
    return signal === null ? (exitCode ?? exitCodes.failed) : 128 + (signalNumbers[signal] ?? 0)
  } catch (error) {
    if (abort.signal.aborted) return exitCodes.interrupted
    throw error
  } finally {
    io.settle()
    restore()
    process.off('exit', restore)
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, ended)
    io.stdin.off('data', keys.press)
    io.stdin.off('end', keys.end)
    io.stdout.off('resize', resized)
    io.stdin.pause()
  }
}

/** The one asked for, opened if it is not; else the newest that is open; else a new one. */
async function chosen(daemon: Daemon, wanted: string | null): Promise<string> {
  const { sessions } = await daemon.call<{ sessions: Listed[] }>('sessions')
  const found = wanted === null ? sessions.find(({ open }) => open) : sessions.find(({ session }) => session === wanted)
  if (found?.open) return found.session
  if (wanted !== null && !found)
    throw fault('no-such-session', `There is no session ${wanted}.`, {
      remedy: 'Leave the name out for a new one, or start one with `bulkhead --session`.',
    })
  return (await daemon.call<Opened>('open', found ? { session: found.session } : {})).session
}

/** What is typed, on its way: one call at a time, what comes meanwhile together in the next. */
function typed(daemon: Daemon, name: string, abort: AbortController) {
  let waiting: Buffer[] = []
  let begun = false
  let over = false
  let busy = false
  /** The next call's worth; null when there is nothing to say. */
  const next = (): { data: string; end?: true } | null => {
    if (waiting.length === 0 && !over) return null
    const bytes = Buffer.concat(waiting)
    waiting = bytes.length > maxTypedBytes ? [bytes.subarray(maxTypedBytes)] : []
    return { data: bytes.subarray(0, maxTypedBytes).toString('base64'), ...(over && waiting.length === 0 ? { end: true } : {}) }
  }
  const flush = async (): Promise<void> => {
    if (busy || !begun) return
    busy = true
    for (let piece = next(); piece !== null; piece = next()) {
      const sent = await daemon.call('shell/input', { shell: name, ...piece }).then(
        () => true,
        // It ended: the call that opened it says so.
        () => false,
      )
      if (!sent || piece.end) return
    }
    busy = false
  }
  return {
    begin(): void {
      begun = true
      void flush()
    },
    press: (bytes: Buffer | string): void => {
      const piece = Buffer.from(bytes)
      if (!begun && piece.includes(ctrlC)) return abort.abort()
      waiting.push(piece)
      void flush()
    },
    end: (): void => {
      over = true
      void flush()
    },
  }
}
