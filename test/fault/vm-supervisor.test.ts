import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { actor as fsGate } from '../../actors/fs-gate/index.ts'
import { actor } from '../../actors/vm-supervisor/index.ts'
import type { VmStatus } from '../../actors/vm-supervisor/protocol.ts'
import { startTestKernel, type TestKernel } from '../../kernel/testing/test-kernel.ts'
import type { Fault } from '../../kernel/types.ts'

/** One real VM for the whole file: the supervisor in its own process, under its own permissions. */
const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')
const root = new URL('../../', import.meta.url).pathname
const entry = {
  manifest: actor.manifest,
  protocol: actor.protocol,
  entry: new URL('../../actors/vm-supervisor/index.ts', import.meta.url).href,
  load: async () => actor,
}

const gateEntry = {
  manifest: fsGate.manifest,
  protocol: fsGate.protocol,
  entry: new URL('../../actors/fs-gate/index.ts', import.meta.url).href,
  load: async () => fsGate,
}

type Part = { type: string; text?: string; state?: string }
type Reply = { exitCode: number | null; signal: string | null; timedOut: boolean; cwd: string }

let home: string
let started: TestKernel

async function start(vm: 'auto' | 'off' = 'auto'): Promise<TestKernel> {
  return startTestKernel({
    actors: [entry, gateEntry],
    placement: 'process',
    params: {
      'vm-supervisor': {
        home: join(home, 'vm'),
        imageDir: join(cache, 'bulkhead/images'),
        guestDir: join(root, 'guest'),
        nodeBinary: process.execPath,
        vm,
      },
    },
    grants: [
      { name: 'vm', target: 'vm-supervisor', limits: {}, reason: 'test' },
      { name: 'kernel', target: 'kernel', limits: {}, reason: 'test' },
      ...['one', 'two', 'files'].map((session) => ({ name: session, target: 'vm-supervisor', limits: { session }, reason: 'test' })),
    ],
  })
}

const status = async (kernel = started): Promise<VmStatus> => (await kernel.test.request('vm', 'status', {})).body as VmStatus

async function exec(
  command: string,
  options: { session?: string; timeoutMs?: number; signal?: AbortSignal; trace?: string; onPart?: (part: Part) => void } = {},
) {
  const { session = 'one', timeoutMs = 60_000, onPart, signal, trace } = options
  let stdout = ''
  let stderr = ''
  const { body } = await started.test.request(session, 'exec', { command, timeoutMs }, {
    ...(signal ? { signal } : {}),
    ...(trace ? { trace } : {}),
    onPart: (part) => {
      const { type, text = '' } = part as Part
      if (type === 'stdout') stdout += text
      if (type === 'stderr') stderr += text
      onPart?.(part as Part)
    },
  }) // biome-ignore format: callback last
  return { ...(body as Reply), stdout, stderr }
}

const refusal = (promise: Promise<unknown>): Promise<Fault> =>
  promise.then(
    (value) => Promise.reject(new Error(`answered: ${JSON.stringify(value)}`)),
    (error: Fault) => error,
  )

/** Processes of this home that still run. */
async function left(): Promise<string[]> {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (line.includes('qemu-system') && line.includes(home)) found.push(pid)
  }
  return found
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'bulkhead-vm-'))
  started = await start()
  await mkdir(join(home, 'data'))
  await writeFile(join(home, 'data', 'sales.csv'), 'region,total\nnorth,3\n')
  for (const session of ['one', 'two']) await started.test.request('vm', 'attach', { session, folders: [] })
})

afterAll(async () => {
  await started?.stop()
  console.log(started?.logs.join('\n'))
  await rm(home, { recursive: true, force: true })
})

/** Connects the folder to the session `files`; returns the grant by which to revoke it. */
async function connect(): Promise<number> {
  const { kernel, vm } = { kernel: 'kernel', vm: 'vm' }
  const params = { root: join(home, 'data'), name: 'data', mode: 'rw' }
  const spawned = await started.test.request(kernel, 'spawn', {
    kind: 'fs-gate',
    instance: 'files.data',
    session: 'files',
    params,
    grants: [],
  })
  const derived = await started.test.request(
    kernel,
    'derive',
    {},
    { caps: [{ slot: spawned.slots[0] as string, limits: { kinds: ['ninep', 'ninep-close'] } }] },
  )
  const caps = [{ slot: derived.slots[0] as string }]
  await started.test.request(vm, 'attach', { session: 'files', folders: [{ name: 'data', mode: 'rw' }] }, { caps })
  return (derived.body as { grant: number }).grant
}

describe('the workspace VM', () => {
  it('boots for the first command, says how it goes, and runs it', async () => {
    expect((await status()).state).toBe('stopped')
    const states: string[] = []
    const result = await exec('echo out; echo err >&2; id -u; exit 3', { onPart: (part) => part.state && states.push(part.state) })
    expect(result).toMatchObject({ exitCode: 3, signal: null, timedOut: false, stdout: 'out\n20000\n', stderr: 'err\n' })
    expect(new Set(states)).toEqual(new Set(['probing', 'image', 'booting', 'verifying', 'ready']))
    const { state, pid, accelerator, timings, lastError } = await status()
    expect({ state, lastError }).toEqual({ state: 'ready', lastError: null })
    expect(accelerator).not.toBeNull()
    expect(timings['total']).toBeGreaterThan(0)
    expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).toContain('qemu-system')
    console.log('boot timings', timings)
  })

  it('streams as it comes, keeps the working directory, and gives each session its own user', async () => {
    const arrivals: number[] = []
    const began = Date.now()
    await exec('echo a; sleep 1; echo b', { onPart: (part) => part.type === 'stdout' && arrivals.push(Date.now() - began) })
    expect(arrivals.length).toBe(2)
    expect((arrivals[1] ?? 0) - (arrivals[0] ?? 0)).toBeGreaterThan(500)
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    expect((await exec('echo "$TRACEPARENT"', { trace: `00-${traceId}-00f067aa0ba902b7-01` })).stdout).toMatch(
      new RegExp(`^00-${traceId}-[0-9a-f]{16}-01\n$`),
    )
    await exec('cd /tmp')
    expect((await exec('pwd')).stdout).toBe('/tmp\n')
    expect((await exec('id -u', { session: 'two' })).stdout).toBe('20001\n')
  })

  it('shows the connected folder through its gate, both ways, until it is revoked', async () => {
    const grant = await connect()
    const folder = '/sessions/files/mnt/data'
    expect(await exec(`cat ${folder}/sales.csv && echo done > ${folder}/report.md`, { session: 'files' })).toMatchObject({
      exitCode: 0,
      stdout: 'region,total\nnorth,3\n',
      stderr: '',
    })
    expect(await readFile(join(home, 'data', 'report.md'), 'utf8')).toBe('done\n')
    expect((await exec(`ls ${folder}`, { session: 'one' })).exitCode).not.toBe(0)
    await started.test.request('kernel', 'revoke', { grant })
    const after = await exec(`cat ${folder}/report.md; echo x > ${folder}/late`, { session: 'files' })
    expect(after.stderr).toMatch(/Permission denied/)
    expect(after.stdout).toBe('')
    expect((await readdir(join(home, 'data'))).toSorted()).toEqual(['report.md', 'sales.csv'])
  })

  it('runs commands side by side and passes on a megabyte unharmed', async () => {
    const [flood, quick] = await Promise.all([exec('head -c 1000000 /dev/zero | tr "\\0" x'), exec('echo quick', { session: 'two' })])
    expect(flood.stdout).toBe('x'.repeat(1_000_000))
    expect(quick.stdout).toBe('quick\n')
  })

  it('ends a command at its time limit, and the process tree of one that is cancelled', async () => {
    expect(await exec('sleep 60', { timeoutMs: 500 })).toMatchObject({ timedOut: true })
    const abort = new AbortController()
    const cancelled = refusal(exec('sleep 4711 & sleep 4711', { signal: abort.signal }))
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    abort.abort()
    expect((await cancelled).code).toBe('cancelled')
    await expect.poll(async () => (await exec('pgrep -fx "sleep 4711" | wc -l')).stdout, { timeout: 20_000 }).toBe('0\n')
  })

  it('refuses at once what ran when QEMU is killed; the next command works in the same session', async () => {
    const { pid } = await status()
    const running = refusal(exec('sleep 60'))
    await new Promise((resolve) => setTimeout(resolve, 500))
    const killed = Date.now()
    process.kill(pid as number, 'SIGKILL')
    const error = await running
    expect(error).toMatchObject({ code: 'workspace-unavailable', cause: expect.stringContaining('SIGKILL') })
    expect(error.retryAfterMs).toBeGreaterThan(0)
    expect(Date.now() - killed).toBeLessThan(2_000)
    const began = Date.now()
    expect(await exec('echo back; id -u')).toMatchObject({ exitCode: 0, stdout: 'back\n20000\n' })
    console.log('restart to first output', Date.now() - began, 'ms; refusal after', began - killed, 'ms')
    expect(await status()).toMatchObject({ state: 'ready', restarts: 1 })
  })

  it('starts anew when QEMU ends by itself', async () => {
    const before = (await status()).restarts
    const { pid } = await status()
    process.kill(pid as number, 'SIGTERM')
    await expect.poll(async () => (await status()).restarts, { timeout: 20_000 }).toBe(before + 1)
    expect((await exec('echo again')).stdout).toBe('again\n')
  })

  it('restarts on request and stops without leaving a process', async () => {
    const before = (await status()).pid
    await started.test.request('vm', 'restart', {}, { deadlineMs: null })
    const after = await status()
    expect(after.state).toBe('ready')
    expect(after.pid).not.toBe(before)
    await started.test.request('vm', 'stop', {})
    expect(await status()).toMatchObject({ state: 'stopped', pid: null })
    expect(await left()).toEqual([])
  })

  it('leaves nothing behind when the supervisor stops', async () => {
    await started.test.request('vm', 'start', {}, { deadlineMs: null })
    const { pid } = await status()
    await started.stop()
    await expect.poll(left, { timeout: 10_000 }).toEqual([])
    expect(pid).toBeGreaterThan(0)
  })
})

describe('switched off', () => {
  it('refuses within 100 ms, with a reason', async () => {
    const kernel = await start('off')
    try {
      await kernel.test.request('vm', 'attach', { session: 'one', folders: [] })
      await refusal(kernel.test.request('one', 'exec', { command: 'true' }))
      const began = performance.now()
      const error = await refusal(kernel.test.request('one', 'exec', { command: 'true' }))
      expect(performance.now() - began).toBeLessThan(100)
      expect(error).toMatchObject({ code: 'workspace-unavailable', cause: 'BULKHEAD_VM=off' })
      expect(await status(kernel)).toMatchObject({ state: 'off', pid: null })
    } finally {
      await kernel.stop()
    }
  })
})
