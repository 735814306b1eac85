/**
 * vfkit as the hypervisor: Apple's Virtualization framework behind a command line and a small HTTP service. Nobody has run it with a real one yet:
 * the contract test holds it to vfkit's documents. It saves no memory, so every start is cold; ports are vsock connections the guest makes.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { copyFile, mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { fault, type Fault } from '../../kernel/index.ts'
import type { Driver, Hypervisor, LaunchSpec, RunningVm } from './driver.ts'
import { followFile } from './follow-file.ts'
import { environment, exitOf, lastLine, run } from './host-programs.ts'
import { followPollMs, restLimitMs } from './limits.ts'
import { firstConnection } from './late-stream.ts'
import { mark, reap, unmark } from './orphans.ts'
import { keepVerdict, readVerdict, verdictKey, watchBoot } from './probe.ts'
import { diskFile } from './snapshots.ts'
import { vfkitArgs } from './vfkit-args.ts'

/** @param path where programs are looked for; a test's fakes */
export function vfkitDriver(home: string, path: string = environment.PATH): Driver {
  const pidFile = join(home, 'vfkit.json')
  return {
    async find() {
      const asked = await run('vfkit', ['--version'], path)
      if (asked === null) return { ok: false, error: absent(`vfkit was not found in ${path}.`) }
      if (asked.code !== 0) return { ok: false, error: absent(`vfkit --version: ${asked.output.slice(0, 500)}`) }
      const version = asked.output.split('\n')[0]?.trim() ?? 'unknown'
      return { ok: true, hypervisor: { binary: 'vfkit', version, noJail: 'there is none on this platform yet', uid: null, noUser: null } }
    },

    /** There is nothing to fall back to: this only says whether it works, before a start is blamed on the image. */
    async accelerate({ hypervisor, imageDir, signal }) {
      const file = join(imageDir, 'accelerator.json')
      const key = verdictKey(hypervisor.version, basename(imageDir))
      const kept = await readVerdict(file, key)
      if (kept) return { accelerator: 'vz', why: kept.why, cached: true }
      const why = await tryKernel(hypervisor, join(imageDir, 'vmlinuz'), join(home, 'probe'), path, signal)
      const verdict = why === null ? 'it ran the kernel' : `Virtualization.framework does not run the kernel here: ${why}`
      if (why === null) await keepVerdict(file, { key, accelerator: 'vz', why: verdict }).catch(() => {})
      return { accelerator: 'vz', why: verdict, cached: false }
    },

    snapshotKey: () => null,

    launch: (spec) => launch(spec, pidFile, path),

    async reap() {
      await mkdir(home, { recursive: true, mode: 0o700 })
      return (await reap(pidFile)) ? 1 : 0
    },
  }
}

function absent(cause: string): Fault {
  return fault('workspace-unavailable', 'Workspace unavailable: vfkit cannot be used.', {
    cause,
    remedy: 'File and web tools still work. Install it: brew install vfkit.',
  })
}

async function tryKernel(hypervisor: Hypervisor, kernel: string, dir: string, path: string, signal: AbortSignal): Promise<string | null> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const console = join(dir, 'console')
  const append = ['earlyprintk=hvc0']
  const args = vfkitArgs({ cpus: 1, memoryMiB: 256, kernel, initrd: null, append, disks: [], sockets: null, console, rest: join(dir, 'r') })
  const child = start(hypervisor, args, path)
  const output = new PassThrough()
  const stop = await followFile(console, (bytes) => output.write(bytes))
  const ended = exitOf(child).then(({ code, stderr }) => lastLine(stderr) ?? `vfkit ended with code ${code}`)
  try {
    return await watchBoot(output, ended, signal)
  } finally {
    stop()
    child.kill('SIGKILL')
  }
}

async function launch(spec: LaunchSpec, pidFile: string, path: string): Promise<RunningVm> {
  const { hypervisor, imageDir, initrd, scratchDir, cpus, memoryMiB } = spec
  // It has no disk that cannot be written: the guest gets a copy, which takes no room on APFS.
  const root = join(scratchDir, 'root')
  await copyFile(join(imageDir, 'root.squashfs'), root, constants.COPYFILE_FICLONE)
  // Short names: a socket's path has some 100 bytes.
  const sockets = {
    control: join(scratchDir, 'c'),
    files: join(scratchDir, 'f'),
    output: join(scratchDir, 'o'),
    connections: join(scratchDir, 'n'),
  }
  const rest = join(scratchDir, 'r')
  const consoleFile = join(scratchDir, 'console')
  const [control, files, output, connections] = await Promise.all([
    firstConnection(sockets.control),
    firstConnection(sockets.files),
    firstConnection(sockets.output),
    firstConnection(sockets.connections),
  ])
  const disks = [
    { path: root, id: 'root' },
    { path: join(scratchDir, diskFile), id: 'scratch' },
  ]
  const kernel = join(imageDir, 'vmlinuz')
  const args = vfkitArgs({ cpus, memoryMiB, kernel, initrd, append: ['bulkhead.ports=vsock'], disks, sockets, console: consoleFile, rest })
  const child = start(hypervisor, args, path)
  const exited = exitOf(child)
  const pid = child.pid
  if (pid === undefined) {
    control.destroy()
    files.destroy()
    output.destroy()
    connections.destroy()
    throw new Error(lastLine((await exited).stderr) ?? 'vfkit did not start')
  }
  await mark(pidFile, pid)
  void control.attached.then(() => spec.on.connected())
  let seen = 0
  const console = new PassThrough()
  const stopFollowing = await followFile(consoleFile, (bytes) => {
    seen += bytes.length
    console.write(bytes)
  })
  for (const port of [control, files, output, connections]) void port.attached.then(() => seen++)
  let over = false
  void exited.then(() => (over = true))
  const serving = answers(rest, () => over)
  serving.catch(() => {})
  const state = async (wanted: 'Pause' | 'Resume' | 'HardStop'): Promise<void> => {
    await serving
    await ask(rest, 'POST', { state: wanted })
  }
  return {
    pid,
    control,
    files,
    output,
    connections,
    console,
    agentGone: control.attached.then(() => new Promise((resolve) => void control.once('close', resolve))),
    async progress() {
      await serving
      await ask(rest, 'GET')
      return seen
    },
    pause: () => state('Pause'),
    resume: () => state('Resume'),
    save: () => Promise.reject(new Error('vfkit saves no memory')),
    quit: () => state('HardStop'),
    kill() {
      child.kill('SIGKILL')
    },
    exited: exited.then(async (exit) => {
      stopFollowing()
      console.end()
      control.destroy()
      files.destroy()
      output.destroy()
      connections.destroy()
      await unmark(pidFile, pid).catch(() => {})
      return exit
    }),
  }
}

function start(hypervisor: Hypervisor, args: readonly string[], path: string): ChildProcess {
  return spawn(hypervisor.binary, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: path }, cwd: '/' })
}

/** Its service is there some time after it started, and does not say when. Rejects when it ended before. */
async function answers(rest: string, over: () => boolean): Promise<void> {
  for (;;) {
    try {
      await ask(rest, 'GET')
      return
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (over() || (code !== 'ENOENT' && code !== 'ECONNREFUSED')) throw error
      await new Promise((resolve) => setTimeout(resolve, followPollMs))
    }
  }
}

/** The state of the VM, or a change of it; rejects unless the service agrees. */
function ask(socketPath: string, method: 'GET' | 'POST', body?: { state: string }): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body)
    const headers = { host: 'vfkit', 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    // Not by `import`: that loads undici as well, 50 ms of each start, on machines that have no vfkit too.
    const { request } = process.getBuiltinModule('node:http')
    const asked = request({ socketPath, path: '/vm/state', method, headers, timeout: restLimitMs }, (answer) => {
      let said = ''
      answer.setEncoding('utf8').on('data', (part: string) => {
        said = (said + part).slice(0, 4_000)
      })
      answer.on('error', reject)
      answer.on('end', () => {
        const status = answer.statusCode ?? 0
        if (status >= 200 && status < 300) resolve(said === '' ? null : JSON.parse(said))
        else reject(new Error(`vfkit answered ${status}: ${said.slice(0, 300)}`))
      })
    })
    asked.on('timeout', () => asked.destroy(new Error('vfkit does not answer')))
    asked.on('error', reject)
    asked.end(text)
  })
}
