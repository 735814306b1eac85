/** Runs the system's own tools (mount, nsenter, date …) for the agent: no shell, bounded in time. */
import { execFile } from 'node:child_process'
import { toolMs } from './limits.ts'

/** Rejects with what the tool wrote to stderr, in one line. */
export function runTool(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: toolMs, killSignal: 'SIGKILL', maxBuffer: 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const said = stderr.trim().replaceAll('\n', '; ')
      reject(new Error(said === '' ? (error.killed ? `${command} did not end within ${toolMs} ms` : error.message) : said))
    })
  })
}
