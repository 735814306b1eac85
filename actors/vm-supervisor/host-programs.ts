/** Programs of the host's that the supervisor starts. */
import { type ChildProcess, spawn } from 'node:child_process'
import { maxStderr } from './limits.ts'

/** The supervisor's own environment is empty; programs are looked for where systems keep them. */
export const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin' }

/** A short program's exit code and output; null when it is not there. */
export function run(
  command: string,
  args: readonly string[],
  path: string = environment.PATH,
  limitMs = 10_000,
): Promise<{ code: number | null; output: string } | null> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: path },
      cwd: '/',
      timeout: limitMs,
      killSignal: 'SIGKILL',
    })
    let output = ''
    const keep = (bytes: Buffer): void => {
      output = (output + bytes.toString('utf8')).slice(0, maxStderr)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', () => resolve(null))
    child.on('close', (code) => resolve({ code, output }))
  })
}

export type Exit = { code: number | null; signal: string | null; stderr: string }

/** How it ended, and the end of what it wrote about that. Resolves also when it could not be started. */
export function exitOf(child: ChildProcess): Promise<Exit> {
  let stderr = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    stderr = (stderr + bytes.toString('utf8')).slice(-maxStderr)
  })
  for (const stream of child.stdio) stream?.on('error', () => {})
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: null, signal: null, stderr: error.message }))
    child.on('exit', (code, signal) => {
      // What it wrote last may still be under way.
      setTimeout(() => resolve({ ...unwrapped(code, signal), stderr }), 20)
    })
  })
}

/** bwrap reports its child's signal the way a shell does. */
function unwrapped(code: number | null, signal: string | null): { code: number | null; signal: string | null } {
  const names: Readonly<Record<number, string>> = { 134: 'SIGABRT', 137: 'SIGKILL', 139: 'SIGSEGV', 143: 'SIGTERM', 159: 'SIGSYS' }
  const name = code === null ? undefined : names[code]
  return name === undefined ? { code, signal } : { code: null, signal: name }
}

export function lastLine(text: string): string | null {
  return text.trim().split('\n').at(-1)?.slice(0, 500) || null
}
