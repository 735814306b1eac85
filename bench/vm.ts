/** How fast the workspace is there, comes back, runs a command and passes on its output; what it costs while nobody uses it. */
import { readFileSync } from 'node:fs'
import { firstUid } from '../guest/wire.ts'
import { rootMarks, withRoot } from '../test/harness/guest.ts'
import { startVm, type Vm } from '../test/harness/vm.ts'
import { type BareBoot, prepareBareBoot } from './bare-boot.ts'
import { restoreBare } from './bare-restore.ts'
import { atMost, atMostTimesPeer, figure, type Figure, reported, type Samples, type Target } from './report.ts'
import { alternate } from './sampling.ts'

const outputBytes = 64 * 1024 * 1024
/** In pieces of 64 KiB: with smaller ones the figure would be the writer's own. */
const written = `dd if=/dev/zero bs=64k count=${outputBytes / 65_536} status=none`
const stormKills = 50
/** With the one that is there, as many as find their place ready after a start. */
const sessionsInARow = 3
/** How long a paused VM is watched, ms. */
const watchedMs = 2_000
const ticksPerSecond = 100
/** Commands in a row, and launches by hand in a row in the same VM, of which each takes a share. */
const byHand = 5
/** What a session's command has around it, by the programs anybody would take: namespaces, a filter of system calls, another user. */
const launch = [
  `bwrap --ro-bind / / --proc /proc --dev /dev ${['pid', 'ipc', 'uts', 'net', 'cgroup'].map((kind) => `--unshare-${kind}`).join(' ')}`,
  `--die-with-parent --seccomp 9 -- setpriv --reuid ${firstUid} --regid ${firstUid} --clear-groups --no-new-privs bash -lc true`,
].join(' ')

export async function vm(runs: number, told: (text: string) => void): Promise<Figure[]> {
  told('warming up: the first start saves its memory')
  const saved = await startVm({ sessions: ['one'] })
  const cold = await startVm({ sessions: ['one'], params: { snapshots: 'off' } })
  const pausing = await startVm({ sessions: ['one'], params: { timers: { pauseAfterMs: 200 } } })
  const rooted = await startVm({ sessions: ['one'], guest: withRoot })
  let floor: BareBoot | null = null
  const floors = async (): Promise<BareBoot> => (floor ??= await prepareBareBoot())
  let session = 0
  try {
    await saved.exec('true')
    const { accelerator: chosen, memoryMiB } = await saved.status()
    const accelerator = chosen ?? 'tcg'
    const samples = await alternate(
      runs,
      {
        cold: () => fromNothing(cold),
        bare: async () => (await floors()).userland(accelerator),
        bareAgent: async () => (await floors()).agent(accelerator),
        port: async () => (await floors()).port(accelerator),
        piped: async () => (await floors()).piped(accelerator),
        restored: () => fromNothing(saved),
        bareRestored: () => restoreBare(accelerator, memoryMiB ?? 0),
        killed: () => afterKill(saved),
        second: () => timed(() => saved.exec('true')),
        warm: async () => (await timed(() => inARow(rooted, 'true', byHand))) / byHand,
        hand: () => launchByHand(rooted),
        session: () => slowestSession(saved, [`s${++session}`]),
        sessions: async () => {
          await fromNothing(saved)
          return slowestSession(
            saved,
            Array.from({ length: sessionsInARow }, () => `s${++session}`),
          )
        },
        output: () => throughput(saved, written),
        // The same bytes by the same program to a reader beside it: what a pipe carries in there.
        inside: () => throughput(saved, `${written} | cat > /dev/null`),
        pausedCpu: () => pausedCpu(pausing),
        pausedMemory: async () => residentMiB(await qemuOf(pausing)),
      },
      told,
    )
    const recoveries = await storm(saved, stormKills, told)
    const bare = { name: `bare QEMU boot to userland and the agent’s start (${accelerator})`, samples: samples.bareAgent }
    const bareRestored = { name: 'bare QEMU from the same memory until the agent answers', samples: samples.bareRestored }
    const ms = (name: string, target: Target, own: Samples) => figure({ name, unit: 'ms', target, own })
    return [
      figure({ name: 'nothing to first output, cold', unit: 'ms', target: atMostTimesPeer(1.5), own: samples.cold, peer: bare }),
      ms('bare QEMU boot to userland', reported, samples.bare),
      figure({
        name: 'nothing to first output, from the saved memory',
        unit: 'ms',
        target: atMost(500, 'ms'),
        own: samples.restored,
        peer: bareRestored,
      }),
      figure({
        name: 'kill -9 of QEMU to the next output',
        unit: 'ms',
        target: atMost(1_000, 'ms'),
        own: samples.killed,
        peer: bareRestored,
      }),
      figure({
        name: '`true` in a session that is there',
        unit: 'ms',
        target: atMostTimesPeer(1.3),
        own: samples.warm,
        peer: { name: 'bwrap with namespaces and filter, setpriv and bash, by hand in the guest', samples: samples.hand },
      }),
      ms('the second command of a VM from the saved memory, `true`', reported, samples.second),
      ms('new session to its first output', atMost(300, 'ms'), samples.session),
      ms(`the slowest of ${sessionsInARow} new sessions in a row`, atMost(300, 'ms'), samples.sessions),
      figure({
        name: '64 MiB of output to the host',
        unit: 'MB/s',
        target: atLeast(100, 'MB/s'),
        own: samples.output,
        peer: { name: 'the same to another program in the guest', samples: samples.inside },
      }),
      figure({ name: '64 MiB of one program to a port of a bare machine', unit: 'MB/s', target: reported, own: samples.port }),
      figure({ name: 'the same through a pipe and another program', unit: 'MB/s', target: reported, own: samples.piped }),
      figure({ name: 'processor of a paused VM', unit: '%', target: atMost(0, '%'), own: samples.pausedCpu }),
      figure({ name: 'memory of a paused VM', unit: 'MiB', target: atMost(750, 'MiB'), own: samples.pausedMemory }),
      figure({
        name: `recoveries of ${stormKills} kills at random moments`,
        unit: '',
        target: atLeast(stormKills, 'recoveries'),
        own: recoveries,
      }),
    ]
  } finally {
    await (floor as BareBoot | null)?.close()
    for (const one of [saved, cold, pausing, rooted]) await one.stop()
  }
}

function atLeast(limit: number, unit: string): Target {
  return { text: `at least ${limit} ${unit}`, better: 'higher', keeps: (value) => value >= limit }
}

/** ms of one, by the guest's clock; the host's end of it is not counted. */
async function launchByHand(one: Vm): Promise<number> {
  const each = `for n in $(seq ${byHand}); do ${launch} 9< /run/bulkhead/seccomp.bpf || exit; done`
  const command = `${rootMarks.machine}\nbegun=$(date +%s%N); ${each}; echo $(( ($(date +%s%N) - begun) / 1000 ))`
  const { stdout, stderr } = await one.exec(command, { cwd: '/' })
  if (!/^\d+\n$/.test(stdout)) throw new Error(`No launch by hand: ${stderr}`)
  return Number(stdout) / 1_000 / byHand
}

async function inARow(one: Vm, command: string, times: number): Promise<void> {
  for (let ran = 0; ran < times; ran++) await one.exec(command)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** MB a second, the command's start and end included. */
async function throughput(one: Vm, command: string): Promise<number> {
  const ms = await timed(() => one.exec(command))
  return outputBytes / 1e6 / (ms / 1_000)
}

/** From the request for a command, with no VM running, to the first of its output. */
async function fromNothing(one: Vm): Promise<number> {
  await one.kernel.test.request('vm', 'stop', {})
  return firstOutput(one)
}

async function afterKill(one: Vm): Promise<number> {
  await one.kernel.test.request('vm', 'start', {}, { deadlineMs: null })
  const pid = await qemuOf(one)
  process.kill(pid, 'SIGKILL')
  return firstOutput(one)
}

/** A command that was under way, or came before anyone knew, is refused with the request to repeat it: it is repeated. */
async function firstOutput(one: Vm): Promise<number> {
  const begun = performance.now()
  for (;;) {
    let first = 0
    const result = await one
      .exec('echo first', { onPart: ({ type }) => void (type === 'stdout' && (first ||= performance.now())) })
      .catch((error: { code?: string }) => error)
    if ('exitCode' in result) return first - begun
    if (result.code !== 'workspace-unavailable') throw new Error(JSON.stringify(result))
  }
}

/** They begin one right after the other, and end together. */
async function slowestSession(one: Vm, names: readonly string[]): Promise<number> {
  await one.exec('true')
  let slowest = 0
  for (const name of names) slowest = Math.max(slowest, await newSession(one, name))
  for (const session of names) await one.kernel.test.request('vm', 'detach', { session })
  return slowest
}

async function newSession(one: Vm, name: string): Promise<number> {
  await one.kernel.test.request('vm', 'attach', { session: name, folders: [] })
  const granted = one.kernel.kernel.endpoint(`bench-${name}`, [
    { name: 'vm', target: 'vm-supervisor', limits: { session: name }, reason: 'bench' },
  ])
  return timed(() => granted.request('vm', 'exec', { command: 'true', timeoutMs: 60_000 }, { deadlineMs: null }))
}

async function qemuOf(one: Vm): Promise<number> {
  const { pid } = await one.status()
  if (pid === null) throw new Error('The VM has no process.')
  return pid
}

async function pausedCpu(one: Vm): Promise<number> {
  await one.exec('true')
  while ((await one.status()).state !== 'paused') await new Promise((resolve) => setTimeout(resolve, 50))
  const pid = await qemuOf(one)
  const before = ticksOf(pid)
  await new Promise((resolve) => setTimeout(resolve, watchedMs))
  return ((ticksOf(pid) - before) / ticksPerSecond / (watchedMs / 1_000)) * 100
}

function ticksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}

function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** Kills at random moments, also while it is on its way back; a kill counts when a command runs after it. */
async function storm(one: Vm, kills: number, told: (text: string) => void): Promise<Samples> {
  let recovered = 0
  for (let kill = 1; kill <= kills; kill++) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 1_000))
    const { pid } = await one.status()
    if (pid !== null) process.kill(pid, 'SIGKILL')
    try {
      await firstOutput(one)
      recovered++
    } catch (error) {
      told(`kill ${kill}: ${error instanceof Error ? error.message : JSON.stringify(error)}`)
    }
  }
  return { values: [recovered], why: null }
}
