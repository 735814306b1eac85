/**
 * Hyper-V as the hypervisor, by PowerShell and Hyper-V sockets. Nobody has run it with a real one yet: the contract test holds it to the cmdlets'
 * documents. It saves no memory, so every start is cold. It boots `boot.vhdx` of the image, which the image's recipe does not make yet.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { access } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { fault, type Fault } from '../../kernel/index.ts'
import type { Driver, LaunchSpec, RunningVm } from './driver.ts'
import { environment, exitOf, lastLine, run } from './host-programs.ts'
import * as scripts from './hyperv-scripts.ts'
import { LateStream } from './late-stream.ts'
import { followPollMs, powershellLimitMs, scratchBytes, vsockPorts } from './limits.ts'

const powershell = 'powershell.exe'

/** @param path where programs are looked for; a test's fakes. @param pipes folder of named pipes */
export function hypervDriver(home: string, path: string = environment.PATH, pipes = '\\\\.\\pipe\\'): Driver {
  // One machine a home, by a name nobody else gives one.
  const name = `bulkhead-${createHash('sha256').update(home).digest('hex').slice(0, 16)}`
  return {
    async find() {
      const asked = await run(powershell, scripts.powershellArgs(scripts.findScript), path, powershellLimitMs)
      if (asked === null) return { ok: false, error: absent(`${powershell} was not found in ${path}.`) }
      if (asked.code !== 0) return { ok: false, error: absent(lastLine(asked.output) ?? `${powershell} ended with code ${asked.code}`) }
      const noJail = 'Hyper-V runs the machine in a process of its own'
      return { ok: true, hypervisor: { binary: powershell, version: asked.output.trim(), noJail, uid: null, noUser: null } }
    },

    /** Hyper-V is what there is, and it has no machine without the hardware. */
    accelerate: async () => ({ accelerator: 'hyperv', why: 'Hyper-V answers', cached: false }),

    snapshotKey: () => null,

    launch: (spec) => launch(spec, name, path, pipes),

    async reap() {
      // Without Hyper-V there is nothing left of it.
      const said = await ask(scripts.removeScript(name), path).catch(() => '0')
      return Number.parseInt(said, 10) || 0
    },
  }
}

function absent(cause: string): Fault {
  return fault('workspace-unavailable', 'Workspace unavailable: Hyper-V cannot be used.', {
    cause,
    remedy: `File and web tools still work. As an administrator: Enable-WindowsOptionalFeature -Online -FeatureName Microsoft-Hyper-V -All; ${scripts.registerScript}; and add yourself to the group Hyper-V Administrators.`,
  })
}

async function launch(spec: LaunchSpec, name: string, path: string, pipes: string): Promise<RunningVm> {
  const { imageDir, scratchDir, cpus, memoryMiB } = spec
  const bootDisk = join(imageDir, scripts.bootDiskFile)
  await access(bootDisk).catch(() => {
    throw new Error(`the image has no ${scripts.bootDiskFile}, which Hyper-V boots: it was not made for Windows`)
  })
  await ask(scripts.removeScript(name), path)
  const pipe = `${pipes}${name}`
  const machine = { name, cpus, memoryMiB, bootDisk, scratchDir, scratchBytes, console: pipe }
  const id = (await ask(scripts.createScript(machine), path)).trim()
  const control = bridge(id, vsockPorts.control, path)
  const files = bridge(id, vsockPorts.files, path)
  const output = bridge(id, vsockPorts.output, path)
  const connections = bridge(id, vsockPorts.connections, path)
  const console = new PassThrough()
  let seen = 0
  const remove = async (): Promise<void> => {
    control.end()
    files.end()
    output.end()
    connections.end()
    await ask(scripts.removeScript(name), path).catch(() => {})
  }
  try {
    await Promise.all([control.listening, files.listening, output.listening, connections.listening])
    await ask(scripts.startScript(name), path)
  } catch (error) {
    await remove()
    throw error
  }
  const stopListening = listen(pipe, (bytes) => {
    seen += bytes.length
    console.write(bytes)
  })
  for (const { stream } of [control, files, output, connections]) void stream.attached.then(() => seen++)
  const waiting = start(scripts.waitScript(name), path)
  let killed = false
  return {
    // Of the process that watches the machine: Hyper-V's own is the system's.
    pid: waiting.pid ?? 0,
    control: control.stream,
    files: files.stream,
    output: output.stream,
    connections: connections.stream,
    console,
    agentGone: control.stream.attached.then(() => new Promise((resolve) => void control.stream.once('close', resolve))),
    async progress() {
      const state = (await ask(scripts.stateScript(name), path)).trim()
      if (state !== 'Running' && state !== 'Paused') throw new Error(`the machine is ${state}`)
      return seen
    },
    pause: () => ask(scripts.pauseScript(name), path).then(() => {}),
    resume: () => ask(scripts.resumeScript(name), path).then(() => {}),
    save: () => Promise.reject(new Error('saving the memory of a Hyper-V machine is not supported')),
    quit: () => ask(scripts.offScript(name), path).then(() => {}),
    kill() {
      killed = true
      ask(scripts.removeScript(name), path).catch(() => {})
    },
    exited: exitOf(waiting).then(async (exit) => {
      stopListening()
      console.end()
      await remove()
      return killed ? { code: null, signal: 'SIGKILL', stderr: exit.stderr } : exit
    }),
  }
}

/** To a pipe that Hyper-V makes while the machine starts. Returns what ends it. */
function listen(pipe: string, take: (bytes: Buffer) => void): () => void {
  let ended = false
  let socket = open()
  function open(): Socket {
    const tried = connect(pipe)
    tried.on('data', take)
    tried.on('error', () => {
      if (!ended) setTimeout(() => (socket = open()), followPollMs)
    })
    return tried
  }
  return () => {
    ended = true
    socket.destroy()
  }
}

/** The machine's connection to one port, carried by a process of its own: Node has no Hyper-V sockets. */
function bridge(id: string, port: number, path: string): { stream: LateStream; listening: Promise<void>; end(): void } {
  const child = start(scripts.bridgeScript(id, port), path)
  const stream = new LateStream()
  const ended = exitOf(child)
  let said = ''
  const listening = new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (bytes: Buffer) => {
      said = (said + bytes.toString('utf8')).slice(-4_000)
      if (said.includes('listening')) resolve()
      if (said.includes('connected')) connected()
    })
    void ended.then(({ stderr }) => reject(new Error(lastLine(stderr) ?? `no Hyper-V socket for port ${port}`)))
  })
  listening.catch(() => {})
  let attached = false
  function connected(): void {
    if (attached || !child.stdout || !child.stdin) return
    attached = true
    stream.attachPair(child.stdout, child.stdin)
  }
  const end = (): void => {
    child.kill('SIGKILL')
    stream.destroy()
  }
  void ended.then(end)
  return { stream, listening, end }
}

function start(script: string, path: string): ChildProcess {
  return spawn(powershell, scripts.powershellArgs(script), { stdio: ['pipe', 'pipe', 'pipe'], env: { ...system(), PATH: path } })
}

/** What it printed; rejects with what it complained about. */
async function ask(script: string, path: string): Promise<string> {
  const done = await run(powershell, scripts.powershellArgs(script), path, powershellLimitMs)
  if (done === null) throw new Error(`${powershell} is not there`)
  if (done.code !== 0) throw new Error(lastLine(done.output) ?? `${powershell} ended with code ${done.code}`)
  return done.output
}

/** Windows' programs do not start without. */
function system(): Record<string, string> {
  const root = process.env['SystemRoot']
  return root === undefined ? {} : { SystemRoot: root }
}
