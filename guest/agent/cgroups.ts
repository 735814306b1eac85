/**
 * Control groups: the agent in one of its own, each session in one, each command in one below that.
 *
 *   /sys/fs/cgroup/agent                       protected from reclaim
 *   /sys/fs/cgroup/sessions/<slot>/base        what holds the session's namespaces
 *   /sys/fs/cgroup/sessions/<slot>/c<id>       a command and everything it started
 */
import { readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import {
  agentMemory,
  agentWeight,
  allSessionsPids,
  openFiles,
  reservedMemory,
  sessionMemoryShare,
  sessionOperations,
  sessionPids,
  slotWeights,
} from './limits.ts'

const root = '/sys/fs/cgroup'
const sessions = join(root, 'sessions')
const controllers = '+memory +pids +cpu +io'

/** Puts the agent in its own group and ends whatever an earlier agent left running. */
export async function prepareCgroups(): Promise<void> {
  await mkdir(join(root, 'agent'), { recursive: true })
  await mkdir(sessions, { recursive: true })
  await killCgroup(sessions)
  for (const name of await childGroups(sessions)) await removeCgroup(join(sessions, name))
  await writeFile(join(root, 'cgroup.subtree_control'), controllers)
  await writeFile(join(root, 'agent/cgroup.procs'), String(process.pid))
  await writeFile(join(root, 'agent/memory.min'), String(agentMemory))
  await writeFile(join(root, 'agent/cpu.weight'), String(agentWeight))
  await writeFile(join(sessions, 'memory.max'), String(sessionsMemory()))
  await writeFile(join(sessions, 'pids.max'), String(allSessionsPids))
  await writeFile(join(sessions, 'cgroup.subtree_control'), controllers)
  await writeFile('/proc/self/oom_score_adj', '-1000')
}

/** Of all sessions together, bytes. */
function sessionsMemory(): number {
  return Math.floor(Math.max(totalmem() - reservedMemory, totalmem() / 2))
}

/** The group of a slot, made. */
export async function slotCgroup(id: string): Promise<string> {
  const group = join(sessions, id)
  await mkdir(group, { recursive: true })
  await writeFile(join(group, 'cpu.weight'), String(slotWeights.spare))
  await writeFile(join(group, 'pids.max'), String(sessionPids))
  await writeFile(join(group, 'memory.max'), String(Math.floor(sessionsMemory() * sessionMemoryShare)))
  const disk = await readFile('/sys/block/vdb/dev', 'utf8').catch(() => null)
  if (disk !== null) await writeFile(join(group, 'io.max'), `${disk.trim()} riops=${sessionOperations} wiops=${sessionOperations}`)
  await writeFile(join(group, 'cgroup.subtree_control'), controllers)
  await mkdir(join(group, 'base'), { recursive: true })
  return group
}

/** Somebody waits for the slot, or uses it. Nothing happens if its group is not there yet. */
export function favourSlot(id: string): void {
  try {
    writeFileSync(join(sessions, id, 'cpu.weight'), String(slotWeights.taken))
  } catch {
    // Whoever takes it asks again once it is made.
  }
}

/** The group of a command, made. Out of memory ends the whole command, not a random process of it. */
export async function commandCgroup(slotGroup: string, id: number): Promise<string> {
  const group = join(slotGroup, `c${id}`)
  await mkdir(group)
  await writeFile(join(group, 'memory.oom.group'), '1')
  return group
}

/** Whether a process runs in a session besides those that hold the sessions' namespaces. */
export async function sessionsBusy(): Promise<boolean> {
  for (const slot of await childGroups(sessions))
    for (const name of await childGroups(join(sessions, slot)))
      if (name !== 'base' && processesOf(join(sessions, slot, name)).length > 0) return true
  return false
}

/** SIGKILL to everything in the group and below. */
export async function killCgroup(group: string): Promise<void> {
  await writeFile(join(group, 'cgroup.kill'), '1').catch(() => {})
}

/** Kills the group, waits until it is empty and removes it with its subgroups. */
export async function removeCgroup(group: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    await killCgroup(group)
    for (const name of await childGroups(group)) await rmdir(join(group, name)).catch(() => {})
    const gone = await rmdir(group).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
    )
    if (gone) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Removes the group if nothing is in it. */
export function removeIfEmpty(group: string): boolean {
  try {
    rmdirSync(group)
    return true
  } catch {
    return false
  }
}

/** Processes of the group, as the agent sees them. */
export function processesOf(group: string): number[] {
  try {
    return readFileSync(join(group, 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)
  } catch {
    return []
  }
}

/** Whether the kernel killed something of the group for memory. */
export async function ranOutOfMemory(group: string): Promise<boolean> {
  const events = await readFile(join(group, 'memory.events'), 'utf8').catch(() => '')
  return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0) > 0
}

/** Signals every process of the group. */
export function signalCgroup(group: string, signal: NodeJS.Signals): void {
  for (const pid of processesOf(group)) if (pid > 1) signalProcess(pid, signal)
}

export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended meanwhile.
  }
}

/**
 * Command line that enters `group` and then becomes `command`. By a shell, so that not even the first fork of the command is
 * outside. It also gives up the agent's protection from the out-of-memory killer, and bounds what is inherited.
 */
export function inCgroup(group: string, command: readonly string[]): [string, string[]] {
  const enter = `echo 0 > "$1"/cgroup.procs && echo 0 > /proc/self/oom_score_adj && ulimit -c 0 && ulimit -n ${openFiles} && shift && exec "$@"`
  return ['/bin/sh', ['-c', enter, 'sh', group, ...command]]
}

async function childGroups(group: string): Promise<string[]> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}
