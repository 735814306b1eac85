/**
 * What an actor's process may hold in memory, whatever holds it: V8's heap has a bound of its own, Buffers, WebAssembly and native code have not.
 *
 *   watch   Linux: the kernel looks at what each process holds, and ends one that holds more than its manifest's `memoryMiB`, saying so
 *   wall    between two looks the system itself refuses it more (RLIMIT_DATA), where prlimit is there. Not for actors that start programs: those
 *           would inherit it
 */
import { existsSync, readFileSync } from 'node:fs'
import { actorMemoryMiB, memoryLookMs, memoryWallMiB } from './limits.ts'
import type { Manifest, Permissions } from './types.ts'

export type MemoryBound = {
  maxMiB: number
  watched: boolean
  /** Up to where the system lets its private memory grow, MiB; null: as far as it likes. */
  wallMiB: number | null
  /** Why there is no watch or no wall; null: there are both. */
  why: string | null
}

/** Where distributions put util-linux. */
const places = ['/usr/bin/prlimit', '/bin/prlimit']
const mib = 1024 * 1024

export function memoryBoundOf(
  { memoryMiB: maxMiB = actorMemoryMiB }: Pick<Manifest, 'memoryMiB'>,
  { childProcess = false }: Permissions,
): MemoryBound {
  if (process.platform !== 'linux')
    return { maxMiB, watched: false, wallMiB: null, why: `nobody looks at the memory of processes on ${process.platform} yet` }
  const none = childProcess
    ? 'what it starts would inherit a limit of the system'
    : findPrlimit() === null
      ? 'prlimit is not installed'
      : null
  return { maxMiB, watched: true, wallMiB: none === null ? maxMiB + memoryWallMiB : null, why: none }
}

const findPrlimit = (): string | null => places.find((path) => existsSync(path)) ?? null

/** The words before a command that is to run behind its wall. */
export function walled({ wallMiB }: MemoryBound): string[] {
  return wallMiB === null ? [] : [findPrlimit() as string, `--data=${wallMiB * mib}`, '--']
}

/** What a process holds in memory, MiB; null: it is gone, or the system does not say. */
export function residentMiB(pid: number): number | null {
  try {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
    return kib === undefined ? null : Math.round(Number(kib) / 1024)
  } catch {
    return null
  }
}

type Watched = { pid(): number | null; maxMiB: number; over(heldMiB: number): void }
const watched = new Set<Watched>()
let timer: NodeJS.Timeout | null = null

/** Tells, once, when a process holds more than `maxMiB`. Returns how to stop looking. */
export function watchMemory(one: Watched): () => void {
  watched.add(one)
  timer ??= setInterval(look, memoryLookMs).unref()
  return () => forget(one)
}

function forget(one: Watched): void {
  watched.delete(one)
  if (watched.size > 0 || timer === null) return
  clearInterval(timer)
  timer = null
}

function look(): void {
  for (const one of watched) {
    const pid = one.pid()
    const held = pid === null ? null : residentMiB(pid)
    if (held === null || held <= one.maxMiB) continue
    forget(one)
    one.over(held)
  }
}
