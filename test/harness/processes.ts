/** Processes as Linux shows them under /proc: whose children they are, and whether one that was seen is still the same one. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** `started`: clock ticks since boot. A pid can be used again, a pid with its start time cannot. */
export type Process = { pid: number; parent: number; started: string; title: string }

export function listProcesses(): Process[] {
  return pids().flatMap((pid) => describe(pid) ?? [])
}

/** The processes that have a file below `dir` open, and all their descendants. */
export function processesUsing(dir: string): Process[] {
  const all = listProcesses()
  return withDescendants(
    all.filter(({ pid }) => openFiles(pid).some((path) => path.startsWith(`${dir}/`))),
    all,
  )
}

export function withDescendants(roots: readonly Process[], all: readonly Process[] = listProcesses()): Process[] {
  const found = new Map(roots.map((process) => [process.pid, process]))
  for (let before = -1; before !== found.size; ) {
    before = found.size
    for (const process of all) if (found.has(process.parent)) found.set(process.pid, process)
  }
  return [...found.values()]
}

/** A zombie has ended; it only waits for its parent to look. */
export function isAlive({ pid, started }: Process): boolean {
  return describe(pid)?.started === started
}

/** Those of `processes` that are still there after `withinMs`. Returns as soon as there are none. */
export async function leftAfter(processes: readonly Process[], withinMs: number): Promise<Process[]> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const left = processes.filter(isAlive)
    if (left.length === 0 || performance.now() > deadline) return left
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** What its descriptors lead to, as paths; sockets and pipes by their names in /proc. */
function openFiles(pid: number): string[] {
  return entries(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      return []
    }
  })
}

function pids(): number[] {
  return entries('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function entries(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}

function describe(pid: number): Process | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (state === 'Z' || state === 'X') return null
    const title = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return { pid, parent: Number(parent), started: rest[17] ?? '', title: title.slice(0, 200) }
  } catch {
    return null
  }
}
