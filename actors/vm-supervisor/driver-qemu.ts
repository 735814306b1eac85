/** QEMU as the hypervisor. Its sockets are socket pairs made at spawn: nothing on disk to guess, race or leave behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Duplex, Readable } from 'node:stream'
import { fault, type Fault } from '../../kernel/index.ts'
import type { Driver, Hypervisor, LaunchSpec, RunningVm, Verdict } from './driver.ts'
import { jailArgs } from './jail.ts'
import { maxStderr } from './limits.ts'
import { mark, reap, unmark } from './orphans.ts'
import { keepVerdict, readVerdict, verdictKey, watchBoot } from './probe.ts'
import { type Accelerator, type Architecture, bootArgs, controlDevice, probeArgs } from './qemu-args.ts'
import { QmpClient } from './qmp.ts'

/** The supervisor's own environment is empty; programs are looked for where systems keep them. */
const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin' }

const linux = process.platform === 'linux'
const arch: Architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
const hardware: Accelerator | null =
  ({ linux: 'kvm', darwin: 'hvf', win32: 'whpx' }[process.platform as string] as Accelerator | undefined) ?? null

type Exit = { code: number | null; signal: string | null; stderr: string }

export function qemuDriver(home: string): Driver {
  const binary = `qemu-system-${arch}`
  const pidFile = join(home, 'qemu.json')
  const verdictFile = join(home, 'accelerator.json')

  return {
    async find() {
      if (process.platform === 'win32')
        return { ok: false, error: absent('Windows has no socket pairs to give QEMU; this driver does not support it yet.') }
      const alone = await run(binary, ['--version'])
      if (alone === null) return { ok: false, error: absent(`${binary} was not found in ${environment.PATH}.`) }
      if (alone.code !== 0) return { ok: false, error: absent(`${binary} --version: ${alone.output.slice(0, 500)}`) }
      const version = alone.output.split('\n')[0]?.trim() ?? 'unknown'
      return { ok: true, hypervisor: { binary, version, noJail: await whyNoJail(binary) } }
    },

    async accelerate({ hypervisor, imageDir, avoidHardware, signal }): Promise<Verdict> {
      const key = verdictKey(hypervisor.version, basename(imageDir))
      const keep = async (accelerator: Accelerator, why: string): Promise<Verdict> => {
        await keepVerdict(verdictFile, { key, accelerator, why }).catch(() => {})
        return { accelerator, why, cached: false }
      }
      if (avoidHardware) return keep('tcg', `${hardware ?? 'hardware acceleration'} failed to boot the workspace twice`)
      const kept = await readVerdict(verdictFile, key)
      if (kept) return { accelerator: kept.accelerator, why: kept.why, cached: true }
      if (hardware === null) return { accelerator: 'tcg', why: 'no hardware acceleration on this platform', cached: false }
      const why = await tryAccelerator(hypervisor, hardware, join(imageDir, 'vmlinuz'), signal)
      if (signal.aborted) return { accelerator: 'tcg', why: 'interrupted', cached: false }
      return why === null ? keep(hardware, 'it ran the kernel') : keep('tcg', `${hardware} does not run the kernel here: ${why}`)
    },

    launch: (spec) => launch(spec, pidFile),

    async reap() {
      await mkdir(home, { recursive: true, mode: 0o700 })
      return (await reap(pidFile)) ? 1 : 0
    },
  }
}

function absent(cause: string): Fault {
  return fault('workspace-unavailable', 'Workspace unavailable: QEMU cannot be used.', {
    cause,
    remedy: 'File and web tools still work. Run `npm start -- setup`, or install qemu-system-x86.',
  })
}

/** The jail is tried with what it will hold. */
async function whyNoJail(binary: string): Promise<string | null> {
  if (!linux) return 'there is none on this platform yet'
  const tried = await run('bwrap', [...jailArgs({ readable: [], devices: [] }), binary, '--version'])
  if (tried === null) return 'bwrap is not installed'
  return tried.code === 0 ? null : `bwrap: ${tried.output.trim().slice(0, 300)}`
}

/** Null when it works. */
async function tryAccelerator(
  hypervisor: Hypervisor,
  accelerator: Accelerator,
  kernel: string,
  signal: AbortSignal,
): Promise<string | null> {
  const args = probeArgs({ accelerator, arch, cpus: 1, memoryMiB: 256, kernel, fds: { console: 3 }, sandbox: linux })
  const child = start(hypervisor, [kernel], args, ['pipe'])
  const exit = exitOf(child)
  try {
    const ended = exit.then(({ code, signal: by, stderr }) => lastLine(stderr) ?? `QEMU ended with ${by ?? `code ${code}`}`)
    return await watchBoot(pipeOf(child, 3), ended, signal)
  } finally {
    child.kill('SIGKILL')
  }
}

async function launch(spec: LaunchSpec, pidFile: string): Promise<RunningVm> {
  const { hypervisor, accelerator, cpus, memoryMiB, imageDir, initrd } = spec
  const jailed = hypervisor.noJail === null
  const args = bootArgs({
    accelerator,
    arch,
    cpus,
    memoryMiB,
    kernel: join(imageDir, 'vmlinuz'),
    initrd,
    root: join(imageDir, 'root.squashfs'),
    append: [],
    fds: { control: 3, files: 4, qmp: 5, console: 6 },
    sandbox: linux,
  })
  const child = start(
    hypervisor,
    [imageDir, initrd],
    args,
    ['pipe', 'pipe', 'pipe', 'pipe', ...(jailed ? (['pipe'] as const) : [])],
    jailed ? 7 : undefined,
  )
  const exited = exitOf(child)
  const pid = jailed ? await jailedPid(pipeOf(child, 7), exited) : child.pid
  if (pid === undefined || pid === null) {
    child.kill('SIGKILL')
    const { stderr, code, signal } = await exited
    throw new Error(lastLine(stderr) ?? `QEMU did not start (${signal ?? `code ${code}`})`)
  }
  await mark(pidFile, pid)
  let opened = 0
  let agentGone!: () => void
  const gone = new Promise<void>((resolve) => {
    agentGone = resolve
  })
  const qmp = new QmpClient(pipeOf(child, 5), ({ event, data }) => {
    if (event !== 'VSERPORT_CHANGE') return
    opened++
    if (data['id'] === controlDevice && data['open'] === false) agentGone()
  })
  return {
    pid,
    control: pipeOf(child, 3),
    files: pipeOf(child, 4),
    console: pipeOf(child, 6),
    agentGone: gone,
    async progress() {
      await qmp.ready
      return opened + readBytes(await qmp.execute('query-blockstats'))
    },
    async quit() {
      await qmp.execute('quit')
    },
    kill() {
      // QEMU itself first: with the jail ended first, its id could be reused by the time it is killed.
      if (child.exitCode === null && child.signalCode === null) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // It ended by itself meanwhile.
        }
        child.kill('SIGKILL')
      }
    },
    exited: exited.then(async (exit) => {
      await unmark(pidFile).catch(() => {})
      return exit
    }),
  }
}

/** `pipes`: descriptors from 3 on. */
function start(
  hypervisor: Hypervisor,
  readable: readonly string[],
  args: readonly string[],
  pipes: 'pipe'[],
  infoFd?: number,
): ChildProcess {
  const stdio: ('ignore' | 'pipe')[] = ['ignore', 'ignore', 'pipe', ...pipes]
  if (hypervisor.noJail !== null) return spawn(hypervisor.binary, args, { stdio, env: environment, cwd: '/' })
  const jail = jailArgs({ readable, devices: ['/dev/kvm'], ...(infoFd === undefined ? {} : { infoFd }) })
  return spawn('bwrap', [...jail, hypervisor.binary, ...args], { stdio, env: environment, cwd: '/' })
}

/** The host's end of a socket pair asked for at spawn. */
function pipeOf(child: ChildProcess, fd: number): Duplex {
  const stdio: readonly unknown[] = child.stdio
  return stdio[fd] as Duplex
}

function exitOf(child: ChildProcess): Promise<Exit> {
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

/** QEMU's process id as bwrap reports it, seen from outside the jail; null when bwrap ended without. */
function jailedPid(info: Readable, exited: Promise<Exit>): Promise<number | null> {
  return new Promise((resolve) => {
    let text = ''
    info.on('data', (bytes: Buffer) => {
      text += bytes.toString('utf8')
      const found = /"child-pid":\s*(\d+)/.exec(text)
      if (found) resolve(Number(found[1]))
    })
    void exited.then(() => resolve(null))
  })
}

/** Bytes read from all disks, out of `query-blockstats`. */
function readBytes(stats: unknown): number {
  if (!Array.isArray(stats)) return 0
  let sum = 0
  for (const device of stats) {
    const read = (device as { stats?: { rd_bytes?: unknown } } | null)?.stats?.rd_bytes
    if (typeof read === 'number') sum += read
  }
  return sum
}

function lastLine(text: string): string | null {
  return text.trim().split('\n').at(-1)?.slice(0, 500) || null
}

/** A short program's exit code and output; null when it is not there. */
function run(command: string, args: readonly string[]): Promise<{ code: number | null; output: string } | null> {
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
