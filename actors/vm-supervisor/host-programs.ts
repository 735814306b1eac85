/** Programs of the host's that the supervisor starts. */
import { spawn } from 'node:child_process'
import { maxStderr } from './limits.ts'

/** The supervisor's own environment is empty; programs are looked for where systems keep them. */
export const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin' }

/** A short program's exit code and output; null when it is not there. */
export function run(command: string, args: readonly string[]): Promise<{ code: number | null; output: string } | null> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
      cwd: '/',
      timeout: 10_000,
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
