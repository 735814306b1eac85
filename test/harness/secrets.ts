/** Looks for a secret where the operating system shows a process or a folder to hold it. Needs the rights of a debugger: root. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'

const chunkBytes = 4 * 1024 * 1024
/** Of x86-64, and of arm64 as Debian builds it. */
const pageBytes = 4096n
/** Read into again and again. */
const chunk = Buffer.alloc(chunkBytes)

/**
 * Which of them are anywhere in memory the process can write to. Throws when its memory cannot be read at all. Pages it never touched are left
 * alone: some kernels give a process memory of its own for each that somebody else reads, and it would be ended for holding too much.
 */
export function inMemory(pid: number, secrets: readonly string[]): string[] {
  const maps = readFileSync(`/proc/${pid}/maps`, 'latin1')
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const pages = openSync(`/proc/${pid}/pagemap`, 'r')
  try {
    const found = new Set<string>()
    for (const [, from = '', to = ''] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm))
      for (const [begin, end] of touched(pages, BigInt(`0x${from}`), BigInt(`0x${to}`)))
        for (const one of foundIn(memory, begin, end, secrets)) found.add(one)
    return [...found]
  } finally {
    closeSync(memory)
    closeSync(pages)
  }
}

/** Runs of pages that are in memory or swapped out: 64 bits a page, of which the highest two say so (Linux, `admin-guide/mm/pagemap`). */
function* touched(pages: number, from: bigint, to: bigint): Generator<[bigint, bigint]> {
  const entries = Buffer.alloc(8 * Number((to - from) / pageBytes))
  const length = readSync(pages, entries, 0, entries.length, Number((8n * from) / pageBytes))
  let begin: bigint | null = null
  for (let at = 0; at < length; at += 8) {
    const here = from + BigInt(at / 8) * pageBytes
    const isTouched = (entries[at + 7] as number) >= 0x40
    if (isTouched) begin ??= here
    else if (begin !== null) {
      yield [begin, here]
      begin = null
    }
  }
  if (begin !== null) yield [begin, from + BigInt(length / 8) * pageBytes]
}

/** In its environment or on its command line. */
export function inEnvironment(pid: number, secret: string): boolean {
  return ['environ', 'cmdline'].some((name) => readFileSync(`/proc/${pid}/${name}`, 'latin1').includes(secret))
}

/** Whether the kernel would put none of its memory into a core dump. */
export function leavesNoImage(pid: number): boolean {
  return process.platform !== 'linux' || Number.parseInt(readFileSync(`/proc/${pid}/coredump_filter`, 'latin1'), 16) === 0
}

/** In a file that one of its descriptors leads to, deleted or not. */
export function inOpenFiles(pid: number, secret: string): boolean {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    const path = `/proc/${pid}/fd/${fd}`
    try {
      return statSync(path).isFile() && inFile(path, [secret])
    } catch {
      // Closed between the listing and the look, or open for writing only.
      return false
    }
  })
}

/** Files below a folder that hold one of them. */
export function filesWith(dir: string, ...secrets: readonly string[]): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter(
    (name) => statSync(join(dir, name)).isFile() && inFile(join(dir, name), secrets),
  )
}

function inFile(path: string, secrets: readonly string[]): boolean {
  const file = openSync(path, 'r')
  try {
    return foundIn(file, 0n, BigInt(statSync(path).size), secrets).length > 0
  } finally {
    closeSync(file)
  }
}

/** As V8 keeps strings of one and of two bytes a character. */
function spellings(secret: string): Buffer[] {
  return [Buffer.from(secret, 'latin1'), Buffer.from(secret, 'utf16le')]
}

function foundIn(fd: number, from: bigint, to: bigint, secrets: readonly string[]): string[] {
  const needles = secrets.map((secret) => ({ secret, spelled: spellings(secret) }))
  const overlap = BigInt(Math.max(...needles.flatMap(({ spelled }) => spelled.map(({ length }) => length))))
  const found = new Set<string>()
  for (let at = from; at < to && found.size < secrets.length; at += BigInt(chunkBytes) - overlap) {
    const wanted = Number(to - at < BigInt(chunkBytes) ? to - at : BigInt(chunkBytes))
    const bytes = chunk.subarray(0, readSome(fd, chunk, wanted, at))
    for (const { secret, spelled } of needles) if (!found.has(secret) && spelled.some((needle) => bytes.includes(needle))) found.add(secret)
  }
  return [...found]
}

/** Pages a device maps, or that are gone by now, cannot be read; what they hold is not the process's own. */
function readSome(fd: number, buffer: Buffer, wanted: number, at: bigint): number {
  try {
    return readSync(fd, buffer, 0, wanted, at)
  } catch {
    return 0
  }
}
