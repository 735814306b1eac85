/**
 * A workspace with a network, for tests and benches: the real supervisor and its VM, the real egress, and loopback standing for the hosts
 * on the internet. Only here does egress get another resolver and guard; everything else of it is what runs in production.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEffects } from '../../actors/egress/effects.ts'
import { actor as egress } from '../../actors/egress/index.ts'
import type { EgressDecision } from '../../actors/egress/protocol.ts'
import { protocol as consentProtocol } from '../../actors/consent/protocol.ts'
import { protocol as policyProtocol } from '../../actors/policy/protocol.ts'
import { actor as supervisor } from '../../actors/vm-supervisor/index.ts'
import type { Actor } from '../../kernel/index.ts'
import { startTestKernel } from '../../kernel/testing/test-kernel.ts'
import { fault } from '../../kernel/errors.ts'
import { checkout } from './product.ts'

export type Ran = { exitCode: number | null; stdout: string; stderr: string }
export type Workspace = {
  /** Runs a command as a session. */
  exec(session: string, command: string): Promise<Ran>
  /** Gives a session a network: the hosts of its capability. */
  network(session: string, hosts: readonly string[]): Promise<void>
  attach(session: string): Promise<void>
  rule(rule: object): Promise<void>
  decisions(): Promise<readonly EgressDecision[]>
  restart(): Promise<void>
  /** Names egress looked up since the last call. */
  lookedUp(): string[]
  stop(): Promise<void>
}

type Part = { type: string; text?: string }

export async function startWorkspace(): Promise<Workspace> {
  const home = mkdtempSync(join(tmpdir(), 'bulkhead-net-'))
  const lookups: string[] = []
  const effects = createEffects({
    resolve: async (host) => {
      lookups.push(host)
      return [{ address: host.endsWith('.private.example') ? '10.0.0.1' : '127.0.0.1', family: 4 }]
    },
    addressPolicy: () => (address) => (address === '127.0.0.1' ? 'public' : 'private'),
  })
  const onLoopback: Actor = { ...egress, manifest: { ...egress.manifest, placement: 'inline', fds: [] }, effects }
  const vm = {
    manifest: supervisor.manifest,
    protocol: supervisor.protocol,
    entry: new URL('../../actors/vm-supervisor/index.ts', import.meta.url).href,
    load: async () => supervisor,
  }
  const running = await startTestKernel({
    actors: [onLoopback, vm],
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
        guestDir: join(checkout, 'guest'),
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
    async exec(session, command) {
      let stdout = ''
      let stderr = ''
      const onPart = (part: unknown): void => {
        const { type, text = '' } = part as Part
        if (type === 'stdout') stdout += text
        if (type === 'stderr') stderr += text
      }
      const { body } = await as(session).request('vm', 'exec', { command, timeoutMs: 300_000 }, { onPart, deadlineMs: null })
      return { exitCode: (body as { exitCode: number | null }).exitCode, stdout, stderr }
    },
    async network(session, hosts) {
      const caps = [{ slot: 'egress', limits: { kinds: ['connect', 'tunnel-data'], session, hosts } }]
      await running.test.request('vm-supervisor', 'network', { session }, { caps })
    },
    attach: async (session) => void (await request('vm-supervisor', 'attach', { session, folders: [] })),
    rule: async (rule) => void (await request('egress', 'change-rule', { rule, session: null })),
    decisions: async () =>
      ((await request('egress', 'log', { count: 1_000, session: null })) as { decisions: readonly EgressDecision[] }).decisions,
    restart: async () => void (await request('vm-supervisor', 'restart', {})),
    lookedUp: () => lookups.splice(0),
    async stop() {
      await running.stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
