/** Runs the host's packaging tools for the image builder: bounded output, cancel of the whole process group, failures as faults. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type Fault, fault } from '../../kernel/index.ts'

/** Lines of a failed tool's messages that go into the fault. */
const keptLines = 12
/** As the C library words it in the locale the tools run in, and as Node names it. */
export const noSpace = /No space left on device|ENOSPC/
/** How long a cancelled tool may tidy up (mmdebstrap unmounts and removes its tree) before it is killed. */
const tidyMs = 10_000

export type CommandOptions = {
  /** What the step does, for the fault's message: 'download packages'. */
  step: string
  signal?: AbortSignal | undefined
  env?: Record<string, string>
  cwd?: string
  /** Each line the tool writes to stderr, or to `statusFd` 3 when it is asked to (apt). */
  onLine?: (line: string) => void
  remedy?: string
}

/** Standard output of the tool as bytes. Rejects with `image-failed`, `disk-full`, or `cancelled`. */
export function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(cancelled())
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...toolEnvironment(), ...options.env },
      // Its own process group, so that a cancel reaches what the tool started.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    })
    const stdout: Buffer[] = []
    const last: string[] = []
    const listen = (stream: NodeJS.ReadableStream, keep: boolean): void => {
      createInterface({ input: stream }).on('line', (line) => {
        if (keep && line.trim() !== '') last.push(line.slice(0, 500))
        if (last.length > keptLines) last.shift()
        options.onLine?.(line)
      })
    }
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
    if (child.stderr !== null) listen(child.stderr, true)
    const status = child.stdio[3]
    if (status && 'readable' in status) listen(status as NodeJS.ReadableStream, false)

    const signalGroup = (signal: NodeJS.Signals): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal)
      } catch {
        // It is gone already.
      }
    }
    let killer: NodeJS.Timeout | undefined
    const abort = (): void => {
      signalGroup('SIGTERM')
      killer = setTimeout(() => signalGroup('SIGKILL'), tidyMs)
    }
    options.signal?.addEventListener('abort', abort, { once: true })
    const ended = (): void => {
      clearTimeout(killer)
      options.signal?.removeEventListener('abort', abort)
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      ended()
      const cause = error.code === 'ENOENT' ? `${command} is not installed.` : error.message
      reject(fault('image-failed', `Could not ${options.step}.`, { cause }))
    })
    child.on('close', (code, signal) => {
      ended()
      if (options.signal?.aborted) return reject(cancelled())
      if (code === 0) return resolve(Buffer.concat(stdout))
      const cause = last.length > 0 ? last.join('\n') : `${command} ended with ${signal ?? `code ${code}`}.`
      const message = `Could not ${options.step}.`
      if (noSpace.test(cause)) return reject(diskFull(message, cause))
      reject(fault('image-failed', message, { cause, ...(options.remedy === undefined ? {} : { remedy: options.remedy }) }))
    })
  })
}

export function diskFull(message: string, cause: string): Fault {
  return fault('disk-full', message, {
    cause,
    remedy: 'Free some space where images are kept, or set XDG_CACHE_HOME to a larger disk; then repeat: finished steps are kept.',
  })
}

export function cancelled(): ReturnType<typeof fault> {
  return fault('cancelled', 'Building the workspace image was cancelled.', { remedy: 'Start it again; finished steps are kept.' })
}

/** Fixed search path (the caller may have none), plus the proxy settings the tools know. */
function toolEnvironment(): Record<string, string> {
  const environment: Record<string, string> = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C.UTF-8',
    HOME: '/',
  }
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    const value = process.env[name]
    if (value !== undefined) environment[name] = value
  }
  return environment
}
