/** VMs that outlived their supervisor: remembered by process id and start time, so that a reused id is never taken for one. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { run } from './host-programs.ts'
import { childPollMs } from './limits.ts'

type Mark = { pid: number; startTime: string }

/** When the process started, in clock ticks since boot as `/proc` says, or as `ps` says where there is no `/proc`; null when there is none. */
export async function startTimeOf(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The second field is the name in parentheses and may hold anything; the start time is the 22nd, the 20th after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    if (process.platform !== 'darwin') return null
    const told = await run('ps', ['-p', String(pid), '-o', 'lstart='])
    return told?.code === 0 ? told.output.trim() || null : null
  }
}

/** The first child of a process, as soon as it has one; null when it ended without, or when `over` says so. */
export async function childOf(pid: number, over: () => boolean): Promise<number | null> {
  for (;;) {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => null)
    if (children === null || over()) return null
    const child = Number.parseInt(children, 10)
    if (child > 0) return child
    await new Promise((resolve) => setTimeout(resolve, childPollMs))
  }
}

/** Remembers a process, before anything can go wrong with it. */
export async function mark(path: string, pid: number): Promise<void> {
  const startTime = await startTimeOf(pid)
  if (startTime !== null) await writeFile(path, JSON.stringify({ pid, startTime } satisfies Mark))
}

/** Forgets the process, unless a later one took its place. */
export async function unmark(path: string, pid: number): Promise<void> {
  const remembered = JSON.parse(await readFile(path, 'utf8')) as Mark
  if (remembered.pid === pid) await rm(path, { force: true })
}

/** Kills the remembered process if it still is the same one. True when it did. */
export async function reap(path: string): Promise<boolean> {
  let remembered: Mark
  try {
    remembered = JSON.parse(await readFile(path, 'utf8')) as Mark
  } catch {
    return false
  }
  const same = Number.isSafeInteger(remembered.pid) && remembered.pid > 1 && (await startTimeOf(remembered.pid)) === remembered.startTime
  const killed = same && kill(remembered.pid)
  await rm(path, { force: true })
  return killed
}

/** False when it ended by itself since it was looked at. */
function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}
