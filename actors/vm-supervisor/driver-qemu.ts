/** QEMU as the hypervisor. Its sockets are socket pairs made at spawn: nothing on disk to guess, race or leave behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { cpus as processors, release } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Duplex, Readable } from 'node:stream'
import { fault, type Fault } from '../../kernel/index.ts'
import { type Device, deviceAccess, deviceFor } from './accelerator-device.ts'
import { confinement, makeUsable } from './confinement.ts'
import type { Driver, Hypervisor, LaunchSpec, RunningVm, Verdict } from './driver.ts'
import { environment, type Exit, exitOf, lastLine, run } from './host-programs.ts'
import { jailArgs } from './jail.ts'
import { overheadMiB, savePollMs, scratchBytes } from './limits.ts'
import { childOf, mark, reap, unmark } from './orphans.ts'
import { keepVerdict, readVerdict, verdictKey, watchBoot } from './probe.ts'
import { type Architecture, type BootArgs, bootArgs, controlDevice, probeArgs, type QemuAccelerator, qemuAccelerator } from './qemu-args.ts'
import { QmpClient } from './qmp.ts'
import { leaveOutUnwritten, savedFormat } from './saved-memory.ts'
import { diskFile, memoryFile } from './snapshots.ts'

/** Where a jailed QEMU sees the one folder it may write in, and the files it may read. */
const scratchInside = '/scratch'
const inside = { kernel: '/vmlinuz', initrd: '/initrd.img', root: '/root.squashfs', disk: '/saved.raw' }

const linux = process.platform === 'linux'
const arch: Architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
const hardware: QemuAccelerator | null =
  ({ linux: 'kvm', darwin: 'hvf', win32: 'whpx' }[process.platform as string] as QemuAccelerator | undefined) ?? null

/** QEMU's default would take its time; this is more than memory can give. Bytes a second. */
const unlimited = 2 ** 40

/** @param path where programs are looked for; a test's fakes */
export function qemuDriver(home: string, path: string = environment.PATH): Driver {
  const binary = `qemu-system-${arch}`
  const pidFile = join(home, 'qemu.json')

  return {
    async find() {
      if (process.platform === 'win32')
        return { ok: false, error: absent('Windows has no socket pairs to give QEMU; this driver does not support it yet.') }
      const alone = await run(binary, ['--version'], path)
      if (alone === null) return { ok: false, error: absent(`${binary} was not found in ${path}.`) }
      if (alone.code !== 0) return { ok: false, error: absent(`${binary} --version: ${alone.output.slice(0, 500)}`) }
      const version = alone.output.split('\n')[0]?.trim() ?? 'unknown'
      return { ok: true, hypervisor: { binary, version, ...(await confinement(binary, home, path)) } }
    },

    async accelerate({ hypervisor, imageDir, avoidHardware, signal }): Promise<Verdict> {
      // Beside the image: its kernel is what is tried, and another home need not try it again.
      const verdictFile = join(imageDir, 'accelerator.json')
      const device = deviceOf(hardware)
      const key = verdictKey(hypervisor.version, basename(imageDir), device === undefined ? '' : await deviceAccess(device))
      const keep = async (accelerator: QemuAccelerator, why: string): Promise<Verdict> => {
        await keepVerdict(verdictFile, { key, accelerator, why }).catch(() => {})
        return { accelerator, why, cached: false }
      }
      if (avoidHardware) return keep('tcg', `${hardware ?? 'hardware acceleration'} failed to boot the workspace twice`)
      const kept = await readVerdict(verdictFile, key)
      if (kept) return { accelerator: kept.accelerator, why: kept.why, cached: true }
      if (hardware === null) return { accelerator: 'tcg', why: 'no hardware acceleration on this platform', cached: false }
      const why = await tryAccelerator(hypervisor, hardware, join(imageDir, 'vmlinuz'), home, path, signal)
      if (signal.aborted) return { accelerator: 'tcg', why: 'interrupted', cached: false }
      return why === null ? keep(hardware, 'it ran the kernel') : keep('tcg', `${hardware} does not run the kernel here: ${why}`)
    },

    snapshotKey,

    launch: (spec) => launch(spec, pidFile, path),

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

/** Null when it works. */
async function tryAccelerator(
  hypervisor: Hypervisor,
  accelerator: QemuAccelerator,
  kernel: string,
  home: string,
  path: string,
  signal: AbortSignal,
): Promise<string | null> {
  const seen = hypervisor.noJail === null ? inside.kernel : kernel
  const args = probeArgs({ accelerator, arch, cpus: 1, memoryMiB: 256, kernel: seen, fds: { console: 3 }, sandbox: linux })
  const at = deviceOf(accelerator)
  const child = start(hypervisor, {
    ...(at === undefined ? {} : { device: await deviceFor(at, hypervisor.uid, home, path) }),
    readable: [{ path: kernel, at: inside.kernel }],
    args,
    stdio: ['pipe'],
    env: { PATH: path },
  })
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
  return bootArgs({ accelerator: qemuAccelerator(accelerator), arch, cpus, memoryMiB, append: [], sandbox: linux, ...files })
}
type Machine = Pick<BootArgs, 'accelerator' | 'arch' | 'cpus' | 'memoryMiB'>

function snapshotKey(spec: Omit<LaunchSpec, 'begin' | 'scratchDir' | 'on'>): string {
  const machine = machineOf(spec, {
    kernel: 'kernel',
    initrd: 'initrd',
    root: 'root',
    scratch: { path: 'scratch', temporary: false },
    fds: { control: 3, files: 4, qmp: 5, console: 6, output: 7, connections: 8 },
    saving: false,
  })
  // The names of the image and of the initrd are hashes of their content. Real processors differ; an emulated one does not, but counts the
  // host's ticks.
  const files = [basename(spec.imageDir), basename(spec.initrd)]
  const model = processors()[0]?.model ?? ''
  const processor = spec.accelerator === 'tcg' ? [model] : [model, release()]
  const parts = [spec.hypervisor.version, machine, files, processor, scratchBytes, savedFormat]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24)
}

async function launch(spec: LaunchSpec, pidFile: string, path: string): Promise<RunningVm> {
  const { hypervisor, accelerator, imageDir, initrd, begin, scratchDir } = spec
  const jailed = hypervisor.noJail === null
  const scratchSeen = jailed ? scratchInside : scratchDir
  const restored = begin.how === 'restore' ? begin.snapshot : null
  const files = {
    kernel: join(imageDir, 'vmlinuz'),
    initrd,
    root: join(imageDir, 'root.squashfs'),
    ...(restored === null ? {} : { disk: join(restored, diskFile) }),
  }
  if (hypervisor.uid !== null) await makeUsable(hypervisor.uid, Object.values(files), scratchDir)
  const at = deviceOf(accelerator)
  const device = at === undefined ? undefined : await deviceFor(at, hypervisor.uid, dirname(pidFile), path)
  const memory = restored === null ? null : openSync(join(restored, memoryFile), 'r')
  const seen = jailed ? inside : files
  const args = machineOf(spec, {
    kernel: seen.kernel,
    initrd: seen.initrd,
    root: seen.root,
    scratch: { path: restored === null ? join(scratchSeen, diskFile) : (seen.disk ?? ''), temporary: restored !== null },
    fds: { control: 3, files: 4, qmp: 5, console: 6, output: 7, connections: 8, ...(memory === null ? {} : { incoming: 9 }) },
    saving: begin.how === 'boot-and-save',
  })
  const infoFd = memory === null ? 9 : 10
  let child: ChildProcess
  try {
    child = start(hypervisor, {
      memoryMiB: spec.memoryMiB,
      device,
      readable: Object.entries(files).map(([name, file]) => ({ path: file, at: inside[name as keyof typeof inside] })),
      writable: { path: scratchDir, at: scratchInside },
      args,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', ...(memory === null ? [] : [memory]), ...(jailed ? (['pipe'] as const) : [])],
      ...(jailed ? { infoFd } : {}),
      // Where a temporary disk is made.
      env: { PATH: path, TMPDIR: scratchSeen },
    })
  } finally {
    if (memory !== null) closeSync(memory)
  }
  const exited = exitOf(child)
  const first = jailed ? await jailedPid(pipeOf(child, infoFd), exited) : child.pid
  const pid = typeof first === 'number' && hypervisor.uid !== null ? await childOf(first, () => ended(child)) : first
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
    // Others are reported to the guest, and it goes on.
    if (event === 'BLOCK_IO_ERROR' && data['action'] === 'stop') spec.on.full()
    if (event !== 'VSERPORT_CHANGE') return
    opened++
    if (data['id'] !== controlDevice) return
    if (data['open'] === true) spec.on.connected()
    else agentGone()
  })
  return {
    pid,
    control: pipeOf(child, 3),
    files: pipeOf(child, 4),
    output: pipeOf(child, 7),
    connections: pipeOf(child, 8),
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
        if (status === 'completed') break
        if (status === 'failed' || status === 'cancelled') throw new Error(why ?? `saving the memory ${status}`)
        await new Promise((resolve) => setTimeout(resolve, savePollMs))
      }
      await leaveOutUnwritten(join(scratchDir, memoryFile), spec.memoryMiB * 1024 * 1024)
    },
    async quit() {
      await qmp.execute('quit')
    },
    kill() {
      // QEMU itself first: with the jail ended first, its id could be reused by the time it is killed.
      if (!ended(child)) {
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
  device?: Device | undefined
  /** The guest's; bounds what QEMU may take. */
  memoryMiB?: number
  readable: readonly { path: string; at: string }[]
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
    user: hypervisor.uid === null ? null : { id: hypervisor.uid, groups: device?.groups ?? [] },
  })
  // The jail's own programs replace each other: the process stays the same.
  const bounds = memoryMiB === undefined ? [] : ['prlimit', `--as=${(memoryMiB + overheadMiB) * 1024 * 1024}`, '--core=0', '--']
  const [command = '', ...rest] = [...bounds, 'bwrap', ...jail, hypervisor.binary, ...args]
  return spawn(command, rest, { stdio, env, cwd: '/' })
}

const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const deviceOf = (accelerator: string | null): string | undefined => (accelerator === 'kvm' ? '/dev/kvm' : undefined)

/** One word for the shell that QEMU starts. */
function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`
}

/** The host's end of a socket pair asked for at spawn. */
function pipeOf(child: ChildProcess, fd: number): Duplex {
  const stdio: readonly unknown[] = child.stdio
  return stdio[fd] as Duplex
}

/** The jail's process 1, seen from outside; null when bwrap ended without. It is QEMU, unless QEMU has a user of its own. */
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
