/** QEMU as the hypervisor. Its sockets are socket pairs made at spawn: nothing on disk to guess, race or leave behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { cpus as processors, release } from 'node:os'
import { basename, join } from 'node:path'
import type { Duplex, Readable } from 'node:stream'
import { fault, type Fault } from '../../kernel/index.ts'
import type { Driver, Hypervisor, LaunchSpec, RunningVm, Verdict } from './driver.ts'
import { jailArgs } from './jail.ts'
import { maxStderr, overheadMiB, savePollMs, scratchBytes } from './limits.ts'
import { mark, reap, unmark } from './orphans.ts'
import { keepVerdict, readVerdict, verdictKey, watchBoot } from './probe.ts'
import { type Accelerator, type Architecture, type BootArgs, bootArgs, controlDevice, probeArgs } from './qemu-args.ts'
import { QmpClient } from './qmp.ts'
import { diskFile, memoryFile } from './snapshots.ts'

/** The supervisor's own environment is empty; programs are looked for where systems keep them. */
const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin' }

/** Where a jailed QEMU sees the one folder it may write in. */
const scratchInside = '/scratch'

const linux = process.platform === 'linux'
const arch: Architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
const hardware: Accelerator | null =
  ({ linux: 'kvm', darwin: 'hvf', win32: 'whpx' }[process.platform as string] as Accelerator | undefined) ?? null

/** QEMU's default would take its time; this is more than memory can give. Bytes a second. */
const unlimited = 2 ** 40

type Exit = { code: number | null; signal: string | null; stderr: string }

export function qemuDriver(home: string): Driver {
  const binary = `qemu-system-${arch}`
  const pidFile = join(home, 'qemu.json')

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
      // Beside the image: its kernel is what is tried, and another home need not try it again.
      const verdictFile = join(imageDir, 'accelerator.json')
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

    snapshotKey,

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
  const child = start(hypervisor, { device: deviceOf(accelerator), readable: [kernel], args, stdio: ['pipe'], env: environment })
  const exit = exitOf(child)
  try {
    const ended = exit.then(({ code, signal: by, stderr }) => lastLine(stderr) ?? `QEMU ended with ${by ?? `code ${code}`}`)
    return await watchBoot(pipeOf(child, 3), ended, signal)
  } finally {
    child.kill('SIGKILL')
  }
}

/** Command line but for where its files are. */
function machineOf(
  spec: Pick<LaunchSpec, 'accelerator' | 'cpus' | 'memoryMiB'>,
  files: Omit<BootArgs, keyof Machine | 'append' | 'sandbox'>,
): string[] {
  const { accelerator, cpus, memoryMiB } = spec
  return bootArgs({ accelerator, arch, cpus, memoryMiB, append: [], sandbox: linux, ...files })
}
type Machine = Pick<BootArgs, 'accelerator' | 'arch' | 'cpus' | 'memoryMiB'>

function snapshotKey(spec: Omit<LaunchSpec, 'begin' | 'scratchDir'>): string {
  const machine = machineOf(spec, {
    kernel: 'kernel',
    initrd: 'initrd',
    root: 'root',
    scratch: { path: 'scratch', temporary: false },
    fds: { control: 3, files: 4, qmp: 5, console: 6, output: 7 },
    saving: false,
  })
  // The names of the image and of the initrd are hashes of their content. Real processors differ, an emulated one does not.
  const files = [basename(spec.imageDir), basename(spec.initrd)]
  const processor = spec.accelerator === 'tcg' ? [] : [processors()[0]?.model ?? '', release()]
  const parts = [spec.hypervisor.version, machine, files, processor, scratchBytes]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24)
}

async function launch(spec: LaunchSpec, pidFile: string): Promise<RunningVm> {
  const { hypervisor, accelerator, imageDir, initrd, begin, scratchDir } = spec
  const jailed = hypervisor.noJail === null
  const scratchSeen = jailed ? scratchInside : scratchDir
  const restored = begin.how === 'restore' ? begin.snapshot : null
  const memory = restored === null ? null : openSync(join(restored, memoryFile), 'r')
  const args = machineOf(spec, {
    kernel: join(imageDir, 'vmlinuz'),
    initrd,
    root: join(imageDir, 'root.squashfs'),
    scratch:
      restored === null ? { path: join(scratchSeen, diskFile), temporary: false } : { path: join(restored, diskFile), temporary: true },
    fds: { control: 3, files: 4, qmp: 5, console: 6, output: 7, ...(memory === null ? {} : { incoming: 8 }) },
    saving: begin.how === 'boot-and-save',
  })
  const infoFd = memory === null ? 8 : 9
  let child: ChildProcess
  try {
    child = start(hypervisor, {
      memoryMiB: spec.memoryMiB,
      device: deviceOf(accelerator),
      readable: [imageDir, initrd, ...(restored === null ? [] : [restored])],
      writable: { path: scratchDir, at: scratchInside },
      args,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe', ...(memory === null ? [] : [memory]), ...(jailed ? (['pipe'] as const) : [])],
      ...(jailed ? { infoFd } : {}),
      // Where a temporary disk is made.
      env: { ...environment, TMPDIR: scratchSeen },
    })
  } finally {
    if (memory !== null) closeSync(memory)
  }
  const exited = exitOf(child)
  const pid = jailed ? await jailedPid(pipeOf(child, infoFd), exited) : child.pid
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
    output: pipeOf(child, 7),
    console: pipeOf(child, 6),
    agentGone: gone,
    async progress() {
      await qmp.ready
      return opened + readBytes(await qmp.execute('query-blockstats'))
    },
    async pause() {
      await qmp.execute('stop')
    },
    async resume() {
      await qmp.execute('cont')
    },
    async save() {
      // Not stopped before: QEMU stops it itself for the last of it, and one that was running then runs on by itself when it is restored.
      await qmp.execute('migrate-set-parameters', { 'max-bandwidth': unlimited })
      await qmp.execute('migrate', { uri: `exec:exec cat > ${quoted(join(scratchSeen, memoryFile))}` })
      for (;;) {
        const { status, 'error-desc': why } = (await qmp.execute('query-migrate')) as { status?: string; 'error-desc'?: string }
        if (status === 'completed') return
        if (status === 'failed' || status === 'cancelled') throw new Error(why ?? `saving the memory ${status}`)
        await new Promise((resolve) => setTimeout(resolve, savePollMs))
      }
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
      await unmark(pidFile, pid).catch(() => {})
      return exit
    }),
  }
}

type Start = {
  /** Of the accelerator, if it has one. */
  device?: string | undefined
  /** The guest's; bounds what QEMU may take. */
  memoryMiB?: number
  readable: readonly string[]
  writable?: { path: string; at: string }
  args: readonly string[]
  /** Descriptors from 3 on. */
  stdio: ('pipe' | number)[]
  infoFd?: number
  env: Record<string, string>
}

function start(hypervisor: Hypervisor, { memoryMiB, device, readable, writable, args, stdio: more, infoFd, env }: Start): ChildProcess {
  const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'ignore', 'pipe', ...more]
  if (hypervisor.noJail !== null) return spawn(hypervisor.binary, args, { stdio, env, cwd: '/' })
  const jail = jailArgs({
    readable,
    devices: device === undefined ? [] : [device],
    ...(writable === undefined ? {} : { writable }),
    ...(infoFd === undefined ? {} : { infoFd }),
  })
  // The jail's own programs replace each other: the process stays the same.
  const bounds = memoryMiB === undefined ? [] : ['prlimit', `--as=${(memoryMiB + overheadMiB) * 1024 * 1024}`, '--core=0', '--']
  const [command = '', ...rest] = [...bounds, 'bwrap', ...jail, hypervisor.binary, ...args]
  return spawn(command, rest, { stdio, env, cwd: '/' })
}

const deviceOf = (accelerator: Accelerator): string | undefined => (accelerator === 'kvm' ? '/dev/kvm' : undefined)

/** One word for the shell that QEMU starts. */
function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`
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
