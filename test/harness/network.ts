/**
 * A workspace with a network, for tests and benches: the real supervisor and its VM, the real egress, and loopback standing for the hosts
 * on the internet. Only here does egress get another resolver and guard; everything else of it is what runs in production.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEffects } from '../../actors/egress/effects.ts'
import { actor as egress } from '../../actors/egress/index.ts'
import type { EgressDecision } from '../../actors/egress/protocol.ts'
import { protocol as consentProtocol } from '../../actors/consent/protocol.ts'
import { protocol as policyProtocol } from '../../actors/policy/protocol.ts'
import { seal } from '../../actors/egress/vault-format.ts'
import type { VmStatus } from '../../actors/vm-supervisor/protocol.ts'
import type { Actor } from '../../kernel/index.ts'
import type { InspectReport } from '../../kernel/inspect.ts'
import { startTestKernel } from '../../kernel/testing/test-kernel.ts'
import { fault } from '../../kernel/errors.ts'
import { copyGuest, rootMarks, supervisorOfCopy, withRoot } from './guest.ts'

export type Ran = { exitCode: number | null; stdout: string; stderr: string }
export type Workspace = {
  /** Runs a command as a session; as root within it, or as root of the whole guest, which no session of the product is. */
  exec(session: string, command: string, as?: 'session' | 'root' | 'machine'): Promise<Ran>
  /** Gives a session a network: the hosts of its capability. */
  network(session: string, hosts: readonly string[]): Promise<void>
  attach(session: string): Promise<void>
  rule(rule: object): Promise<void>
  decisions(): Promise<readonly EgressDecision[]>
  restart(): Promise<void>
  /** Ends the supervisor's process as a crash would. Resolves when another serves; its sessions are not attached. */
  crash(): Promise<void>
  /** Keeps a secret for a host, as a member would. */
  secret(name: string, host: string, port: number, value: string): Promise<void>
  status(): Promise<VmStatus>
  /** Names egress looked up since the last call. */
  lookedUp(): string[]
  stop(): Promise<void>
}

type Part = { type: string; text?: string }

/** Addresses that names under `private.example` lead to: of each kind, one that is not public. */
const inside: Readonly<Record<string, string>> = { 'six.private.example': 'fd00::1', 'nat.private.example': '64:ff9b::7f00:1' }

/** `restores` false: each start of the machine is from nothing, none from a saved memory. */
export async function startWorkspace({ restores = true } = {}): Promise<Workspace> {
  const home = mkdtempSync(join(tmpdir(), 'bulkhead-net-'))
  const guestDir = join(home, 'guest')
  copyGuest(guestDir, withRoot)
  const lookups: string[] = []
  const effects = createEffects({
    resolve: async (host) => {
      lookups.push(host)
      const address = inside[host] ?? (host.endsWith('.private.example') ? '10.0.0.1' : '127.0.0.1')
      return [{ address, family: isIPv6(address) ? 6 : 4 }]
    },
    addressPolicy: () => (address) => (address === '127.0.0.1' ? 'public' : 'private'),
  })
  const onLoopback: Actor = { ...egress, manifest: { ...egress.manifest, placement: 'inline', fds: [] }, effects }
  const running = await startTestKernel({
    actors: [onLoopback, supervisorOfCopy],
    placement: 'manifest',
    peers: {
      policy: {
        protocol: policyProtocol,
        script: async (_kind, _body, { part, signal }) => {
          const values = { coworkEgressAllowedHosts: null, secureVmFeaturesEnabled: true }
          part({ policy: { values, decidedBy: {}, failedClosed: false } })
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          return {}
        },
      },
      consent: {
        protocol: consentProtocol,
        script: () => {
          throw fault('denied', 'Nobody is asked here.')
        },
      },
    },
    params: {
      egress: { baseUrl: null, state: home, userHome: home },
      'vm-supervisor': {
        home: join(home, 'vm'),
        imageDir: join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bulkhead', 'images'),
        snapshots: restores ? 'on' : 'off',
        guestDir,
        nodeBinary: process.execPath,
        vm: 'auto',
      },
    },
  })
  const { kernel } = running
  const as = (session: string) =>
    kernel.endpoint(`session-${session}`, [{ name: 'vm', target: 'vm-supervisor', limits: { session }, reason: 'test' }])
  const request = async (to: string, kind: string, body: unknown) => (await running.test.request(to, kind, body, { deadlineMs: null })).body
  return {
    async exec(session, command, who = 'session') {
      let stdout = ''
      let stderr = ''
      const onPart = (part: unknown): void => {
        const { type, text = '' } = part as Part
        if (type === 'stdout') stdout += text
        if (type === 'stderr') stderr += text
      }
      const order = who === 'session' ? { command } : { command: `${rootMarks[who]}\n${command}`, cwd: '/' }
      const { body } = await as(session).request('vm', 'exec', { ...order, timeoutMs: 300_000 }, { onPart, deadlineMs: null })
      return { exitCode: (body as { exitCode: number | null }).exitCode, stdout, stderr }
    },
    async network(session, hosts) {
      const caps = [{ slot: 'egress', limits: { kinds: ['connect', 'tunnel-data', 'authority'], session, hosts } }]
      await running.test.request('vm-supervisor', 'network', { session }, { caps })
    },
    attach: async (session) => void (await request('vm-supervisor', 'attach', { session, folders: [] })),
    rule: async (rule) => void (await request('egress', 'change-rule', { rule, session: null })),
    decisions: async () =>
      ((await request('egress', 'log', { count: 1_000, session: null })) as { decisions: readonly EgressDecision[] }).decisions,
    restart: async () => void (await request('vm-supervisor', 'restart', {})),
    async crash() {
      const pid = async () => {
        const { actors } = (await request('kernel', 'inspect', {})) as InspectReport
        return actors.find(({ id }) => id === 'vm-supervisor')?.pid ?? null
      }
      const before = await pid()
      if (before === null) throw new Error('The supervisor does not run.')
      process.kill(before, 'SIGKILL')
      for (let now: number | null = before; now === before || now === null; now = await pid()) {
        // An answer of the kernel alone lets nobody hear of the end of a process.
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    async secret(name, host, port, value) {
      const key = Buffer.alloc(32, 7)
      const kept = seal(value, { name, host, port, place: { in: 'header', name: 'authorization', prefix: 'Bearer ' } }, key)
      writeFileSync(join(home, 'vault.key'), key.toString('base64'))
      writeFileSync(join(home, 'vault.json'), JSON.stringify({ version: 1, label: '', key: 'file', secrets: [kept] }))
      await request('egress', 'reload-secrets', {})
    },
    status: async () => (await request('vm-supervisor', 'status', {})) as VmStatus,
    lookedUp: () => lookups.splice(0),
    async stop() {
      await running.stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
