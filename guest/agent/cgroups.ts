/**
 * Control groups: the agent in one of its own, each session in one, each command in one below that.
 *
 *   /sys/fs/cgroup/agent                       protected from reclaim
 *   /sys/fs/cgroup/sessions/<name>/base        what holds the session's namespaces
 *   /sys/fs/cgroup/sessions/<name>/c<id>       a command and everything it started
 */
import { readFileSync, rmdirSync } from 'node:fs'
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { agentMemory, agentWeight, reservedMemory, sessionPids } from './limits.ts'

const root = '/sys/fs/cgroup'
const sessions = join(root, 'sessions')

/** Puts the agent in its own group and ends whatever an earlier agent left running. */
export async function prepareCgroups(): Promise<void> {
  await mkdir(join(root, 'agent'), { recursive: true })
  await mkdir(sessions, { recursive: true })
  await killCgroup(sessions)
  for (const name of await childGroups(sessions)) await removeCgroup(join(sessions, name))
  await writeFile(join(root, 'cgroup.subtree_control'), '+memory +pids +cpu')
  await writeFile(join(root, 'agent/cgroup.procs'), String(process.pid))
  await writeFile(join(root, 'agent/memory.min'), String(agentMemory))
  await writeFile(join(root, 'agent/cpu.weight'), String(agentWeight))
  await writeFile(join(sessions, 'memory.max'), String(Math.max(totalmem() - reservedMemory, totalmem() / 2)))
  await writeFile(join(sessions, 'cgroup.subtree_control'), '+memory +pids +cpu')
  await writeFile('/proc/self/oom_score_adj', '-1000')
}

/** The group of a session, made. */
export async function sessionCgroup(session: string): Promise<string> {
  const group = join(sessions, session)
  await mkdir(group, { recursive: true })
  await writeFile(join(group, 'pids.max'), String(sessionPids))
  await writeFile(join(group, 'cgroup.subtree_control'), '+memory +pids +cpu')
  await mkdir(join(group, 'base'), { recursive: true })
  return group
}

/** The group of a command, made. Out of memory ends the whole command, not a random process of it. */
export async function commandCgroup(sessionGroup: string, id: number): Promise<string> {
  const group = join(sessionGroup, `c${id}`)
  await mkdir(group)
  await writeFile(join(group, 'memory.oom.group'), '1')
  return group
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

/** Signals every process of the group but `except`. */
export function signalCgroup(group: string, signal: NodeJS.Signals, except: number): void {
  for (const pid of processesOf(group)) {
    if (pid === except || pid <= 1) continue
    try {
      process.kill(pid, signal)
    } catch {
      // It ended meanwhile.
    }
  }
}

/**
 * Command line that enters `group` and then becomes `command`. By a shell, so that not even the first fork of the command is
 * outside. It also gives up the agent's protection from the out-of-memory killer.
 */
export function inCgroup(group: string, command: readonly string[]): [string, string[]] {
  const enter = 'echo 0 > "$1"/cgroup.procs && echo 0 > /proc/self/oom_score_adj && shift && exec "$@"'
  return ['/bin/sh', ['-c', enter, 'sh', group, ...command]]
}

async function childGroups(group: string): Promise<string[]> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}
