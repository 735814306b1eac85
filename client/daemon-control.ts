/**
 * Starts, finds, replaces and stops the daemon.
 *
 *   connect -> serves, settings fit            -> use it
 *           -> serves, settings differ          -> lock; idle: stop it and start anew; busy: refuse `settings-differ`
 *           -> nobody                           -> lock; (somebody else was faster: use theirs); start it
 *
 * The daemon gets no argument and next to no environment: settings arrive on descriptor 3, secrets in an unlinked file on 4, and it
 * reports on 5.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { vaultName } from '../actors/egress/vault-name.ts'
import { fault, type Fault, isFault } from '../kernel/index.ts'
import { identify, isAlive, signalProcess } from '../setup/process-identity.js'
import { connectDaemon, type Daemon, type Handlers, loadProtocol } from './connection.ts'
import {
  type DaemonRecord,
  type DaemonSettings,
  fingerprint,
  readRecord,
  removeRecord,
  sameSettings,
  settingsOf,
  writeRecord,
} from './daemon-record.ts'
import { killMs, maxLogBytes, startMs, stopMs } from './limits.ts'
import { makePlaces, type Places } from './places.ts'
import { withStartLock } from './start-lock.ts'
import { version } from '../kernel/version.ts'

const checkout = fileURLToPath(new URL('..', import.meta.url))
const pollMs = 50

export type OpenOptions = {
  places: Places
  env: NodeJS.ProcessEnv
  /** Whether key, base URL and workspace must be those of this environment. Commands that only look need no such daemon. */
  match: boolean
  progress(text: string): void
  handlers?: Handlers
}

/** A line to a serving daemon, started or replaced as needed. Rejects with a `Fault`. */
export async function openDaemon(options: OpenOptions): Promise<Daemon> {
  const { places, env, handlers } = options
  makePlaces(places)
  const settings = settingsOf(env, places, await vaultKeyOf(places, env), `${version} ${checkout}`)
  const fits = () => !options.match || serves(places, settings)
  const running = await connectDaemon(places.socket, handlers)
  if (running && fits()) return running
  running?.close()
  return withStartLock(places.runtimeDir, async () => {
    const found = await connectDaemon(places.socket, handlers)
    if (found && fits()) return found
    if (found) await replace(found, options)
    else await clearAway(readRecord(places), options.progress)
    options.progress('starting the daemon')
    await start(places, settings, env)
    const daemon = await connectDaemon(places.socket, handlers)
    if (!daemon) throw fault('daemon-down', 'The daemon said it serves, but nobody listens.', { cause: lastLog(places) })
    return daemon
  })
}

/** Most members have no vault, and what reads one is not loaded for them. */
async function vaultKeyOf(places: Places, env: NodeJS.ProcessEnv): Promise<string | null> {
  if (!existsSync(join(places.home, 'egress', vaultName))) return null
  return (await import('./vault.ts')).vaultKeyFor(places, env)
}

function serves(places: Places, settings: DaemonSettings): boolean {
  const known = readRecord(places)
  return known !== null && isAlive(known) && sameSettings(known, settings)
}

async function replace(daemon: Daemon, { places, progress }: OpenOptions): Promise<void> {
  const { running } = await daemon.call<{ running: number }>('status')
  if (running > 0) {
    daemon.close()
    throw fault('settings-differ', 'The running daemon has another key, base URL or workspace setting, and works on a prompt.')
  }
  progress('restarting the daemon: its settings differ')
  await shutDown(daemon, places)
}

async function shutDown(daemon: Daemon, places: Places): Promise<void> {
  const known = readRecord(places)
  // Not waited for alone: a daemon that hangs while it stops keeps the line open.
  await Promise.race([
    daemon
      .call('shutdown')
      .catch(() => {})
      .then(() => daemon.closed),
    known ? gone(known, stopMs) : daemon.closed,
  ])
  daemon.close()
  await clearAway(known, () => {}, killMs)
  while (await stillListens(places)) await wait(pollMs)
  removeRecord(places)
}

async function stillListens(places: Places): Promise<boolean> {
  const line = await connectDaemon(places.socket).catch(() => null)
  line?.close()
  return line !== null
}

/** Waits for a daemon that is on its way out, and ends one that does not go. Exactly that process: pid and start time. */
async function clearAway(known: DaemonRecord | null, progress: (text: string) => void, patienceMs: number = stopMs): Promise<void> {
  if (!known || !isAlive(known)) return
  progress('waiting for the earlier daemon to end')
  if (await gone(known, patienceMs)) return
  signalProcess(known, 'SIGTERM')
  if (await gone(known, killMs)) return
  signalProcess(known, 'SIGKILL')
  await gone(known, killMs)
}

async function gone(known: DaemonRecord, ms: number): Promise<boolean> {
  const until = Date.now() + ms
  while (isAlive(known)) {
    if (Date.now() > until) return false
    await wait(pollMs)
  }
  return true
}

async function start(places: Places, settings: DaemonSettings, env: NodeJS.ProcessEnv): Promise<void> {
  const log = openLog(places)
  const secrets = secretsFile(places, settings)
  const child = spawn(process.execPath, [join(checkout, 'daemon', 'main.ts')], {
    detached: true,
    cwd: '/',
    env: daemonEnvironment(env),
    stdio: ['ignore', log, log, 'pipe', secrets, 'pipe'],
  })
  closeSync(log)
  closeSync(secrets)
  // It is needed as soon as the daemon serves, and there is time now. What fails now fails then.
  loadProtocol().catch(() => {})
  const [, , , input, , ready] = child.stdio as unknown as [null, null, null, Writable, null, Readable]
  try {
    const { home, runtimeDir, imageDir, socket } = places
    input.on('error', () => {})
    input.end(JSON.stringify({ home, runtimeDir, imageDir, vm: settings.vm, baseUrl: settings.baseUrl }))
    const identity = child.pid === undefined ? null : identify(child.pid)
    if (identity) writeRecord(places, { ...identity, socket, ...fingerprint(settings) })
    await readiness(child, ready, places)
  } catch (error) {
    removeRecord(places)
    child.kill('SIGTERM')
    throw error
  } finally {
    input.destroy()
    ready.destroy()
    child.unref()
  }
}

function readiness(child: ChildProcess, ready: Readable, places: Places): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: string) =>
      reject(fault('daemon-down', 'The daemon did not start.', { cause, remedy: `See ${logFile(places)}, or run \`bulkhead doctor\`.` }))
    const timer = setTimeout(() => failed(`not ready after ${startMs} ms`), startMs)
    child.once('error', (error) => failed(error.message))
    child.once('exit', (code, signal) => failed(`it ended with ${signal ?? `status ${code}`}: ${lastLog(places)}`))
    const lines = createInterface({ input: ready })
    lines.once('line', (line) => {
      const outcome = parseReadiness(line)
      if (outcome.ok) resolve()
      else reject(outcome.error)
    })
    lines.once('close', () => clearTimeout(timer))
    child.once('exit', () => clearTimeout(timer))
  })
}

function parseReadiness(line: string): { ok: true } | { ok: false; error: Fault } {
  try {
    const { ok, error } = JSON.parse(line) as { ok?: boolean; error?: unknown }
    if (ok === true) return { ok }
    if (isFault(error)) return { ok: false, error }
  } catch {
    // Falls through: not the agreed line.
  }
  return { ok: false, error: fault('daemon-down', 'The daemon did not start.', { cause: line.slice(0, 500) }) }
}

/** Stops it in order. False when none runs. */
export async function stopDaemon(places: Places): Promise<boolean> {
  makePlaces(places)
  return withStartLock(places.runtimeDir, async () => {
    const daemon = await connectDaemon(places.socket).catch(() => null)
    const known = readRecord(places)
    if (daemon) {
      await shutDown(daemon, places)
      return true
    }
    // It does not answer, so nothing it could still finish is lost by not waiting.
    if (!known || !signalProcess(known, 'SIGTERM')) return false
    await clearAway(known, () => {}, killMs)
    removeRecord(places)
    return true
  })
}

export type DaemonStatus = {
  running: boolean
  pid: number | null
  socket: string
  clients: number
  sessions: number
  turns: number
  log: string
}

/** Starts nothing. */
export async function daemonStatus(places: Places): Promise<DaemonStatus> {
  const none = { running: false, pid: null, socket: places.socket, clients: 0, sessions: 0, turns: 0, log: logFile(places) }
  const daemon = await connectDaemon(places.socket)
  if (!daemon) return none
  const { clients, sessions, running } = await daemon.call<{ clients: number; sessions: number; running: number }>('status')
  daemon.close()
  // This very question is one client.
  return { ...none, running: true, pid: readRecord(places)?.pid ?? null, clients: clients - 1, sessions, turns: running }
}

/** A file only the daemon's egress will read: made, opened and unlinked before anything is in it. */
function secretsFile(places: Places, { key, network, vaultKey }: DaemonSettings): number {
  const path = join(places.runtimeDir, `.${randomBytes(12).toString('hex')}`)
  const fd = openSync(path, 'wx+', 0o600)
  unlinkSync(path)
  const { proxy, ca } = network
  const secrets = {
    proxy,
    ...(key === null ? {} : { ANTHROPIC_API_KEY: key }),
    ...(ca === null ? {} : { ca }),
    ...(vaultKey === null ? {} : { vaultKey }),
  }
  const bytes = Buffer.from(JSON.stringify(secrets))
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
  return fd
}

const passedOn =
  /^(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|XDG_[A-Z_]+|BULKHEAD_[A-Z_]+|SSL_CERT_(FILE|DIR)|NODE_COMPILE_CACHE)$/

/** What the daemon needs of the member's environment. A list of what may pass, because other programs' secrets are in there as well. */
export function daemonEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => passedOn.test(name)))
}

const logFile = (places: Places): string => join(places.home, 'logs', 'daemon.log')

function openLog(places: Places): number {
  const file = logFile(places)
  mkdirSync(join(places.home, 'logs'), { recursive: true, mode: 0o700 })
  try {
    if (statSync(file).size > maxLogBytes) renameSync(file, `${file}.1`)
  } catch {
    // There is none yet.
  }
  return openSync(file, 'a', 0o600)
}

function lastLog(places: Places): string {
  try {
    return readFileSync(logFile(places), 'utf8').trimEnd().split('\n').slice(-5).join('\n')
  } catch {
    return '(no log)'
  }
}
