/** A supervisor of its own in a kernel for tests, with a real VM: commands run as sessions, and what is left of it afterwards. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { ExecResult } from '../../actors/vm-supervisor/events.ts'
import type { VmStatus } from '../../actors/vm-supervisor/protocol.ts'
import { startTestKernel, type TestKernel } from '../../kernel/testing/test-kernel.ts'
import type { Fault, Limits } from '../../kernel/types.ts'
import { type Change, copyGuest, supervisorEntry, supervisorOfCopy } from './guest.ts'

const root = new URL('../../', import.meta.url).pathname
export const imageDir = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bulkhead/images')

type Entry = Parameters<typeof startTestKernel>[0]['actors'][number]
type Part = { type: string; text?: string; state?: string; progress?: string }
export type Ran = ExecResult & { stdout: string; stderr: string }
export type ExecOptions = {
  session?: string
  timeoutMs?: number
  signal?: AbortSignal
  trace?: string
  env?: Record<string, string>
  cwd?: string
  /** It reads input under this name. */
  handle?: string
  onPart?: (part: Part) => void
}

export type Vm = {
  readonly home: string
  readonly kernel: TestKernel
  status(): Promise<VmStatus>
  /** Runs a command as the session, `one` by default. */
  exec(command: string, options?: ExecOptions): Promise<Ran>
  /** QEMU processes of this home that still run. */
  left(): Promise<string[]>
  stop(): Promise<void>
}

export type VmOptions = {
  sessions?: readonly string[]
  actors?: readonly Entry[]
  params?: Record<string, unknown>
  grants?: readonly { name: string; target: string; limits: Limits; reason: string }[]
  /** Goes on in a home that is there. */
  home?: string
  /** What is different in the guest. */
  guest?: readonly Change[]
}

/** Attaches its sessions; the VM itself starts with the first command. */
export async function startVm({
  sessions = ['one'],
  actors = [],
  params = {},
  grants = [],
  home: given,
  guest,
}: VmOptions = {}): Promise<Vm> {
  const home = given ?? (await mkdtemp(join(tmpdir(), 'bulkhead-vm-')))
  const guestDir = guest === undefined ? join(root, 'guest') : join(home, 'guest')
  if (guest !== undefined) copyGuest(guestDir, guest)
  const kernel = await startTestKernel({
    actors: [guest === undefined ? supervisorEntry : supervisorOfCopy, ...actors],
    placement: 'process',
    params: {
      'vm-supervisor': {
        home: join(home, 'vm'),
        imageDir,
        guestDir,
        nodeBinary: process.execPath,
        vm: 'auto',
        ...params,
      },
    },
    grants: [
      { name: 'vm', target: 'vm-supervisor', limits: {}, reason: 'test' },
      { name: 'kernel', target: 'kernel', limits: {}, reason: 'test' },
      ...sessions.map((session) => ({ name: session, target: 'vm-supervisor', limits: { session }, reason: 'test' })),
      ...grants,
    ],
  })
  for (const session of sessions) await kernel.test.request('vm', 'attach', { session, folders: [] })
  return {
    home,
    kernel,
    status: async () => (await kernel.test.request('vm', 'status', {})).body as VmStatus,
    async exec(command, { session = 'one', timeoutMs = 120_000, signal, trace, onPart, ...more } = {}) {
      let stdout = ''
      let stderr = ''
      const { body } = await kernel.test.request(session, 'exec', { command, timeoutMs, ...more }, {
        deadlineMs: null,
        ...(signal ? { signal } : {}),
        ...(trace ? { trace } : {}),
        onPart: (part) => {
          const { type, text = '' } = part as Part
          if (type === 'stdout') stdout += text
          if (type === 'stderr') stderr += text
          onPart?.(part as Part)
        },
      }) // biome-ignore format: callback last
      return { ...(body as ExecResult), stdout, stderr }
    },
    async left() {
      const found: string[] = []
      for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
        const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
        if (!line.startsWith('qemu-system')) continue
        // In its jail it knows no path of ours: the folder it writes in is one of its mounts.
        const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '')
        if (line.includes(home) || mounts.includes(`${basename(home)}/`)) found.push(pid)
      }
      return found
    },
    async stop() {
      await kernel.stop()
      if (given === undefined) await rm(home, { recursive: true, force: true })
    },
  }
}

/** The fault a request is refused with; fails when it is answered. */
export const refusal = (promise: Promise<unknown>): Promise<Fault> =>
  promise.then(
    (value) => Promise.reject(new Error(`answered: ${JSON.stringify(value)}`)),
    (error: Fault) => error,
  )
