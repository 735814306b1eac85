/**
 * What an actor's process may hold in memory, whatever holds it: V8's heap has a bound of its own, Buffers, WebAssembly and native code have not.
 *
 *   watch   Linux: the kernel looks at what each process holds, and ends one that holds more than its manifest's `memoryMiB`, saying so: twice a
 *           second while messages go to it or come from it or it grows, at rest each second, or each ten behind a wall
 *   wall    between two looks the system itself refuses it more (RLIMIT_DATA), where prlimit is there. Not for actors that start programs: those
 *           would inherit it
 */
import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs'
import { actorMemoryMiB, growingMiB, memoryLookMs, memoryRestMs, memoryWallMiB, walledEvery } from './limits.ts'
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

/** Bytes of a page, which is what the system counts in; read from what it told this process when it started. */
function pageBytes(): number {
  const sizeOfPage = 6n
  const words = new BigUint64Array(Uint8Array.from(readFileSync('/proc/self/auxv')).buffer)
  for (let at = 0; at + 1 < words.length; at += 2) if (words[at] === sizeOfPage) return Number(words[at + 1])
  return 4_096
}
let pageSize: number | null = null

/** A process whose memory is looked at again and again. Its file stays open: opening it costs many times what reading does. */
class Held {
  readonly pid: number
  private readonly fd: number
  private readonly text = Buffer.alloc(128)

  /** Throws when there is no such process. */
  constructor(pid: number) {
    pageSize ??= pageBytes()
    this.pid = pid
    this.fd = openSync(`/proc/${pid}/statm`, 'r')
  }

  /** What it holds, MiB; null: it is gone. */
  mib(): number | null {
    try {
      const length = readSync(this.fd, this.text, 0, this.text.length, 0)
      const [, pages] = this.text.toString('latin1', 0, length).split(' ')
      return pages === undefined ? null : Math.round((Number(pages) * (pageSize ?? 0)) / mib)
    } catch {
      return null
    }
  }

  close(): void {
    closeSync(this.fd)
  }
}

/** What a process holds in memory, MiB; null: it is gone, or the system does not say. */
export function residentMiB(pid: number): number | null {
  try {
    const held = new Held(pid)
    const found = held.mib()
    held.close()
    return found
  } catch {
    return null
  }
}

type Bounded = { pid(): number | null; maxMiB: number; walled: boolean; over(heldMiB: number): void }

/** One whose process is looked at: soon after anything stirred it, and now and then while nothing does. */
class Watched {
  readonly bounded: Bounded
  private held: Held | null = null
  stirred = true
  private lastMiB = 0

  constructor(bounded: Bounded) {
    this.bounded = bounded
  }

  look(): void {
    const { pid: pidOf, maxMiB, over } = this.bounded
    const pid = pidOf()
    // The jail's own process comes first, and then says which one is meant.
    if (pid !== null && this.held?.pid !== pid) this.reopen(pid)
    const found = this.held?.mib() ?? null
    if (found === null) return
    // Whatever it is busy with, it is busy.
    if (found > this.lastMiB + growingMiB) this.stirred = true
    this.lastMiB = found
    if (found <= maxMiB) return
    forget(this)
    over(found)
  }

  private reopen(pid: number): void {
    this.close()
    try {
      this.held = new Held(pid)
    } catch {
      // It has ended; whoever watches it will hear.
    }
  }

  close(): void {
    this.held?.close()
    this.held = null
  }
}

const watched = new Set<Watched>()
/** While something stirs. */
let often: NodeJS.Timeout | null = null
let seldom: NodeJS.Timeout | null = null
let rests = 0

/** Tells, once, when a process holds more than `maxMiB`. `stir`: something goes to it or comes from it. */
export function watchMemory(bounded: Bounded): { stir(): void; stop(): void } {
  const one = new Watched(bounded)
  watched.add(one)
  seldom ??= setInterval(lookAtResting, memoryRestMs).unref()
  lookOften()
  return {
    stir() {
      if (one.stirred) return
      one.stirred = true
      lookOften()
    },
    stop: () => forget(one),
  }
}

function lookOften(): void {
  often ??= setInterval(lookAtStirred, memoryLookMs).unref()
}

function forget(one: Watched): void {
  one.close()
  watched.delete(one)
  if (watched.size > 0) return
  clearInterval(often ?? undefined)
  clearInterval(seldom ?? undefined)
  often = null
  seldom = null
  rests = 0
}

function lookAtStirred(): void {
  const stirred = [...watched].filter((one) => one.stirred)
  for (const one of stirred) {
    one.stirred = false
    one.look()
  }
  if (stirred.length > 0) return
  clearInterval(often ?? undefined)
  often = null
}

function lookAtResting(): void {
  const all = rests++ % walledEvery === 0
  for (const one of watched) if (!one.stirred && (all || !one.bounded.walled)) one.look()
}
