/** A server's process with everything it starts: in a bwrap jail, or, labelled so, in a process group of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { environmentOf, jailArgs, programOf } from './jail.ts'
import { graceMs, maxStderrChars } from './limits.ts'
import type { LaunchSpec } from './protocol.ts'

export type Exit = { code: number | null; signal: string | null; stderr: string }
export type ServerProcess = {
  pid: number
  stdin: Writable
  stdout: Readable
  exited: Promise<Exit>
  /** Closes its input, gives it a moment, kills whatever is left of the tree. Resolves when it is gone. */
  end(): Promise<void>
}

const linux = process.platform === 'linux'
/** Marks every process of a tree where no jail holds it together. Programs may drop it, so the jail is the wall and this the net. */
const treeMark = 'BULKHEAD_SERVER'

/** Null when jails work here; otherwise why not. Tried with the very jail the server will get, as namespaces can be restricted one by one. */
export async function whyNoJail(spec: LaunchSpec): Promise<string | null> {
  if (!linux) return 'there is no jail on this platform yet'
  const child = spawn('bwrap', [...jailArgs({ ...spec, folders: [], code: [] }), '/usr/bin/env', 'true'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: plainEnvironment(),
    cwd: '/',
    timeout: 10_000,
    killSignal: 'SIGKILL',
  })
  const { code, stderr } = await exitOf(child)
  if (code === 0) return null
  return stderr.includes('ENOENT') ? 'bwrap is not installed' : `bwrap: ${stderr.trim().slice(0, 300) || `exit code ${code}`}`
}

/** Starts it. Throws what the operating system says when it cannot. */
export async function startServer(spec: LaunchSpec, jailed: boolean): Promise<ServerProcess> {
  const mark = randomBytes(12).toString('hex')
  const child = jailed ? startJailed(spec) : startReduced(spec, mark)
  const { stdin, stdout, pid } = child
  const exited = exitOf(child)
  if (pid === undefined) throw new Error((await exited).stderr)
  stdin.on('error', () => {})
  let ending: Promise<void> | null = null
  const kill = (signal: 'SIGTERM' | 'SIGKILL'): void => {
    if (jailed) child.kill('SIGKILL')
    else killTree(pid, mark, signal)
  }
  async function end(): Promise<void> {
    stdin.end()
    await Promise.race([exited, pause(graceMs / 2)])
    if (!jailed) {
      kill('SIGTERM')
      await Promise.race([exited, pause(graceMs / 2)])
    }
    kill('SIGKILL')
    await exited
  }
  // What it leaves behind when it ends by itself must not outlive it either.
  void exited.then(() => (jailed ? undefined : killTree(pid, mark, 'SIGKILL')))
  return { pid, stdin, stdout, exited, end: () => (ending ??= end()) }
}

function startJailed(spec: LaunchSpec) {
  return spawn('bwrap', [...jailArgs(spec), ...programOf(spec)], { stdio: ['pipe', 'pipe', 'pipe'], env: plainEnvironment(), cwd: '/' })
}

/** Through `env -i`: Node adds its own permission flags to the environment of whatever a process under them starts. */
function startReduced(spec: LaunchSpec, mark: string) {
  const variables = Object.entries({ ...environmentOf(spec), [treeMark]: mark }).map(([name, value]) => `${name}=${value}`)
  return spawn('/usr/bin/env', ['-i', '-C', spec.data, ...variables, ...programOf(spec)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: plainEnvironment(),
    cwd: '/',
    detached: true,
  })
}

function plainEnvironment(): Record<string, string> {
  return { PATH: '/usr/local/bin:/usr/bin:/bin' }
}

/** Its process group, and on Linux whatever carries its mark in other groups. */
function killTree(pid: number, mark: string, signal: 'SIGTERM' | 'SIGKILL'): void {
  send(-pid, signal)
  if (!linux) return
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    try {
      if (readFileSync(`/proc/${name}/environ`, 'latin1').includes(`${treeMark}=${mark}`)) send(Number(name), signal)
    } catch {
      // It is another's, or has ended.
    }
  }
}

function send(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended.
  }
}

function exitOf(child: ChildProcess): Promise<Exit> {
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-maxStderrChars)
  })
  for (const stream of child.stdio) stream?.on('error', () => {})
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: null, signal: null, stderr: error.message }))
    // `exit`, not `close`: a grandchild that keeps the pipes open must not hide that the server is gone.
    child.on('exit', (code, signal) => setTimeout(() => resolve({ code, signal, stderr }), 20))
  })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
