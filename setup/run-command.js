import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'

/** Lines of output kept for an error's cause; the log file has all of them. */
const tailLines = 100

/**
 * @typedef {{ code: number, tail: string[], missing: boolean }} CommandResult `code` is 128 + n after signal n, 127 when the program
 *   could not be started (`missing` then says whether it does not exist).
 * @typedef {{
 *   cwd?: string,
 *   env?: NodeJS.ProcessEnv,
 *   log?: string,
 *   interactive?: boolean,
 *   onLine?: (line: string) => void,
 *   onStart?: (pid: number) => void,
 *   signal?: AbortSignal,
 *   killAfterMs?: number,
 * }} CommandOptions `interactive` leaves stdin connected, for sudo's password; `onLine` gets each line of both outputs;
 *   `killAfterMs`: a program that `signal` asked to end is killed after this long, if it may be killed at any point.
 */

/**
 * Runs a program to its end. Never rejects: a failure is a result.
 * @param {readonly string[]} command program and arguments
 * @param {CommandOptions} [options]
 * @returns {Promise<CommandResult>}
 */
export function runCommand(
  [file = '', ...args],
  { cwd, env = process.env, log, interactive = false, onLine, onStart, signal, killAfterMs } = {},
) {
  return new Promise((resolve) => {
    /** @type {string[]} */
    const tail = []
    const logFile = openLog(log)
    logFile.write(`$ ${[file, ...args].join(' ')}`)
    const child = spawn(file, args, { cwd, env: withoutSecrets(env), stdio: [interactive ? 'inherit' : 'ignore', 'pipe', 'pipe'], signal })
    if (child.pid) onStart?.(child.pid)
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        logFile.write(line)
        if (line.trim()) tail.push(line)
        if (tail.length > tailLines) tail.shift()
        onLine?.(line)
      })
    }
    if (killAfterMs !== undefined) {
      signal?.addEventListener('abort', () => {
        const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs)
        child.once('close', () => clearTimeout(timer))
      })
    }
    const finish = (/** @type {CommandResult} */ result) => {
      logFile.close()
      resolve(result)
    }
    child.on('error', (error) => {
      if (child.pid === undefined)
        finish({ code: 127, tail: [error.message], missing: /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT' })
    })
    child.on('close', (code, name) => {
      if (child.pid !== undefined)
        finish({ code: code ?? 128 + constants.signals[/** @type {NodeJS.Signals} */ (name)], tail, missing: false })
    })
  })
}

/**
 * The log is for reading up afterwards: set-up goes on without it where it cannot be written.
 * @param {string | undefined} path
 * @returns {{ write(line: string): void, close(): void }}
 */
function openLog(path) {
  const nothing = { write() {}, close() {} }
  if (!path) return nothing
  try {
    mkdirSync(dirname(path), { recursive: true })
    const file = openSync(path, 'a')
    return { write: (line) => attempt(() => writeSync(file, `${line}\n`)), close: () => attempt(() => closeSync(file)) }
  } catch {
    return nothing
  }
}

/** @param {() => unknown} write */
function attempt(write) {
  try {
    write()
  } catch {
    // A full disk shows in what the program itself says.
  }
}

/**
 * Programs that set-up runs have no use for the model key.
 * @param {NodeJS.ProcessEnv} env
 */
function withoutSecrets(env) {
  const { ANTHROPIC_API_KEY: _, ...rest } = env
  return rest
}
