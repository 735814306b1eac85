/** The daemon with every actor, doing nothing: its CPU, its memory, and how long it takes to serve when everything is in the page cache. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { openHome } from '../test/harness/product.ts'
import { listProcesses, withDescendants } from '../test/harness/processes.ts'
import { atMost, figure, type Figure, reported, type Samples, type Target } from './report.ts'

/** What starting left to do (collecting its garbage, mostly) is over after this, ms. */
const settledMs = 2_000
/** How long it is watched then, ms. */
const watchedMs = 3_000

/** Node processes of a start that are no actors: what the member calls, what that runs, and the daemon. */
const besidesActors = 3

const nothing: Target = { text: '0 % (less than 0.5 %)', better: 'lower', keeps: (value) => value < 0.5 }

export async function idleFigures(runs: number, told: (text: string) => void): Promise<Figure[]> {
  const starts: number[] = []
  const bare: number[] = []
  const cpu: number[] = []
  const memory = new Map<string, number[]>()
  let why: string | null = null
  try {
    // Not counted: it leaves the compiled code that a warm start finds.
    const first = openHome({ env: { BULKHEAD_VM: 'off' } })
    try {
      await first.call(['daemon', 'start'])
    } finally {
      await first.close()
    }
    for (let run = 0; run < Math.min(runs, 3); run++) {
      const home = openHome({ env: { BULKHEAD_VM: 'off' } })
      try {
        const begun = performance.now()
        await home.call(['daemon', 'start'])
        starts.push(performance.now() - begun)
        const { actors } = await home.inspect()
        bare.push(await bareNodes(actors.filter(({ pid }) => pid !== null).length + besidesActors))
        const daemon = await home.daemonPid()
        const names = new Map([[daemon, 'daemon'], ...actors.flatMap(({ id, pid }) => (pid === null ? [] : [[pid, id] as const]))])
        const pids = withDescendants(listProcesses().filter(({ pid }) => pid === daemon)).map(({ pid }) => pid)
        await wait(settledMs)
        const before = pids.map(cpuMs)
        const from = performance.now()
        await wait(watchedMs)
        const watched = performance.now() - from
        const spent = pids.reduce((sum, pid, index) => sum + Math.max(0, cpuMs(pid) - (before[index] ?? 0)), 0)
        cpu.push((100 * spent) / watched)
        let total = 0
        for (const pid of pids) {
          const mib = pss(pid)
          total += mib
          const name = names.get(pid) ?? 'other'
          memory.set(name, [...(memory.get(name) ?? []), mib])
        }
        memory.set('all', [...(memory.get('all') ?? []), total])
        told(
          `idle ${run + 1}: started in ${starts.at(-1)?.toFixed(0)} ms (bare: ${bare.at(-1)?.toFixed(0)}), ${cpu.at(-1)?.toFixed(2)} % CPU, ${total.toFixed(0)} MiB`,
        )
      } finally {
        await home.close()
      }
    }
  } catch (error) {
    why = error instanceof Error ? error.message : JSON.stringify(error)
  }
  const samples = (values: readonly number[]): Samples => ({ values, why })
  const { all = [], ...each } = Object.fromEntries(memory)
  return [
    figure({ name: 'daemon idle with all actors, CPU', unit: '%', target: nothing, own: samples(cpu) }),
    figure({ name: 'daemon idle with all actors, PSS', unit: 'MiB', target: atMost(300, 'MiB'), own: samples(all) }),
    ...Object.entries(each).map(([name, values]) =>
      figure({ name: `PSS of ${name}`, unit: 'MiB', target: reported, own: samples(values) }),
    ),
    figure({
      name: 'start to serving, warm',
      unit: 'ms',
      target: atMost(1_500, 'ms'),
      own: samples(starts),
      peer: { name: 'as many bare Node processes at once', samples: samples(bare) },
    }),
  ]
}

/** How long so many Node processes take that do nothing, ms. */
async function bareNodes(count: number): Promise<number> {
  const begun = performance.now()
  const all = Array.from({ length: count }, () => spawn(process.execPath, ['-e', '0'], { env: {}, stdio: 'ignore' }))
  await Promise.all(all.map((child) => once(child, 'exit')))
  return performance.now() - begun
}

/** CPU time of a process's threads, ms, as the scheduler counts it: `/proc/PID/stat` has ticks of 10 ms. 0 once it is gone. */
function cpuMs(pid: number): number {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    return threads.reduce(
      (sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6,
      0,
    )
  } catch {
    return 0
  }
}

/** Its share of the memory it uses, MiB. */
function pss(pid: number): number {
  const found = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))
  return Number(found?.[1] ?? 0) / 1024
}
