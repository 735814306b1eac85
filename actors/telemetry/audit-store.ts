/**
 * The audit log on disk (I/O). One writer, which is the telemetry actor; entries that come together are committed together.
 *
 *   append --> waiting --> lines written through to the disk (O_DSYNC) --> head replaced --> appended
 *
 * Node's permission model leaves no fsync to a process actor, so both files are opened to write through.
 * Opening continues after a crash. A log that is not as its head says is left as it is and continued in a new file, with an entry that says so;
 * verification finds the place for as long as the file is kept.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  write,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fault } from '../../kernel/index.ts'
import { type Entry, genesis, type Head, headText, lineText, type Link, readLine } from './audit-chain.ts'
import { damagedAction, headFile, keyFile, linesOf, readHeadFile, segmentFiles } from './audit-verify.ts'
import { maxCommit, maxSegmentBytes, maxSegments, maxUnwritten } from './limits.ts'

const writeAsync = promisify(write)
// Windows has no O_DSYNC; there `undefined` counts as no flag.
const { O_APPEND, O_CREAT, O_DSYNC, O_EXCL, O_TRUNC, O_WRONLY } = constants

export type AuditStore = {
  /** Resolves when the entry is on the disk. Rejects `audit-failed`, `overloaded`. */
  append(entry: Entry): Promise<Link>
  /** The last entry committed. */
  head(): Link
  /** What keeps it from being written, or null. */
  trouble(): string | null
  /** Resolves when all that was appended is written. */
  close(): Promise<void>
}
export type AuditLimits = { segmentBytes: number; segments: number }
type Waiting = { entry: Entry; resolve(link: Link): void; reject(error: unknown): void }

/** @param dir made when it is not there */
export function openAudit(
  dir: string,
  limits: AuditLimits = { segmentBytes: maxSegmentBytes, segments: maxSegments },
  now: () => number = Date.now,
): AuditStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const key = signingKey(dir)
  const found = findEnd(dir)
  let { last, first } = found
  let segment = found.segment
  let fd = segment === null ? null : openSync(join(dir, segment.name), O_WRONLY | O_APPEND | O_DSYNC)
  let waiting: Waiting[] = []
  let committing: Promise<void> = Promise.resolve()
  let busy = false
  let trouble: string | null = null

  async function commit(batch: readonly Waiting[]): Promise<void> {
    let link = last
    const at = new Date(now()).toISOString()
    const links: Link[] = []
    const texts: string[] = []
    for (const { entry } of batch) {
      const line = lineText(link, at, entry)
      link = line.link
      links.push(link)
      texts.push(`${line.text}\n`)
    }
    const bytes = Buffer.from(texts.join(''))
    try {
      // A batch stays in one file, so that a file always begins with the entry it is named after.
      if (segment === null || (segment.bytes > 0 && segment.bytes + bytes.length > limits.segmentBytes)) rotate()
      await writeWhole(bytes)
      last = link
      writeHead()
      trouble = null
      for (const [index, { resolve }] of batch.entries()) resolve(links[index] as Link)
    } catch (error) {
      trouble = error instanceof Error ? error.message : String(error)
      const refusal = fault('audit-failed', 'The audit log cannot be written.', { cause: trouble })
      for (const { reject } of batch) reject(refusal)
    }
  }

  async function writeWhole(bytes: Buffer): Promise<void> {
    const { name, bytes: before } = segment as Segment
    try {
      for (let at = 0; at < bytes.length; ) at += (await writeAsync(fd as number, bytes, at)).bytesWritten
      segment = { name, bytes: before + bytes.length }
    } catch (error) {
      // What was written of it is nobody's.
      truncateSync(join(dir, name), before)
      throw error
    }
  }

  function rotate(): void {
    const name = segmentName(last.n + 1)
    const opened = openSync(join(dir, name), O_WRONLY | O_APPEND | O_CREAT | O_DSYNC, 0o600)
    if (fd !== null) closeSync(fd)
    fd = opened
    segment = { name, bytes: statSync(join(dir, name)).size }
    for (const old of segmentFiles(dir).slice(0, -limits.segments)) {
      const next = segmentFiles(dir).find((other) => other > old)
      const start = next === undefined ? null : firstLine(join(dir, next))
      if (!start) break
      // The head first: a crash in between leaves a file too many, never one that is missed.
      first = start
      writeHead()
      unlinkSync(join(dir, old))
    }
  }

  function writeHead(): void {
    const text = headText({ v: 1, first, last, at: new Date(now()).toISOString() }, key)
    writeThrough(join(dir, `${headFile}.new`), text, O_TRUNC)
    renameSync(join(dir, `${headFile}.new`), join(dir, headFile))
  }

  function pump(): void {
    if (busy || waiting.length === 0) return
    busy = true
    const batch = waiting.slice(0, maxCommit)
    waiting = waiting.slice(maxCommit)
    committing = commit(batch).then(() => {
      busy = false
      pump()
    })
  }

  function append(entry: Entry): Promise<Link> {
    if (waiting.length >= maxUnwritten) return Promise.reject(fault('overloaded', 'Too many audit entries wait to be written.'))
    return new Promise((resolve, reject) => {
      waiting.push({ entry, resolve, reject })
      pump()
    })
  }

  for (const { action, data } of found.remarks) append({ from: 'telemetry', session: null, action, data }).catch(() => {})

  return {
    append,
    head: () => last,
    trouble: () => trouble,
    async close() {
      for (let settled; settled !== committing; ) await (settled = committing)
      if (fd !== null) closeSync(fd)
      fd = null
      segment = null
    },
  }
}

type Segment = { name: string; bytes: number }
type Remark = { action: string; data: Record<string, unknown> }
type End = { last: Link; first: Head['first']; segment: Segment | null; remarks: Remark[] }

/** Where the log goes on, and what is to be said about how it was found. */
function findEnd(dir: string): End {
  const files = segmentFiles(dir)
  const head = readHeadFile(dir)
  const name = files.at(-1)
  if (name === undefined && 'why' in head)
    return { last: { n: 0, hash: genesis }, first: { n: 1, prev: genesis }, segment: null, remarks: [] }
  const tail = name === undefined ? null : readTail(join(dir, name))
  const first = 'why' in head ? { n: 1, prev: genesis } : head.first
  const damaged = (why: string): End => {
    const n = Math.max('why' in head ? 0 : head.last.n, tail?.last?.n ?? 0, Number(name?.slice(6, 18) ?? 0))
    const hash = 'why' in head || head.last.n !== n ? (tail?.last?.hash ?? genesis) : head.last.hash
    // Never a name that is there: the files are evidence.
    return { last: { n, hash }, first, segment: null, remarks: [{ action: damagedAction, data: { why } }] }
  }
  if ('why' in head) return damaged(`the head was not usable: ${head.why}`)
  if (name === undefined || tail === null)
    return head.last.n === 0 ? { last: head.last, first, segment: null, remarks: [] } : damaged('its files were gone')
  if (tail.broken !== null) return damaged(`line ${tail.broken} of ${name} was not as written`)
  // The last file may be new and empty: then the head stands for the file before it.
  const last = tail.last ?? head.last
  if (last.n < head.last.n) return damaged(`entries ${last.n + 1} to ${head.last.n} were missing`)
  const named = tail.links.find(({ n }) => n === head.last.n)
  if (named ? named.hash !== head.last.hash : tail.links[0] && (tail.links[0].n !== head.last.n + 1 || tail.firstPrev !== head.last.hash))
    return damaged(`entry ${head.last.n} was not the one the head names`)
  if (tail.rest > 0) truncateSync(join(dir, name), tail.bytes)
  const unsigned = last.n - head.last.n
  const remarks = unsigned > 0 ? [{ action: 'audit.unsigned', data: { from: head.last.n + 1, to: last.n } }] : []
  return { last, first, segment: { name, bytes: tail.bytes }, remarks }
}

type Tail = { links: Link[]; firstPrev: string; last: Link | null; broken: number | null; bytes: number; rest: number }

function readTail(path: string): Tail {
  const content = readFileSync(path)
  const { lines, rest } = linesOf(content)
  const tail: Tail = { links: [], firstPrev: '', last: null, broken: null, bytes: content.length - rest.length, rest: rest.length }
  for (const [index, bytes] of lines.entries()) {
    const line = readLine(bytes)
    if ('why' in line || (tail.last && (line.n !== tail.last.n + 1 || line.prev !== tail.last.hash))) {
      tail.broken ??= index + 1
      continue
    }
    if (tail.links.length === 0) tail.firstPrev = line.prev
    tail.last = { n: line.n, hash: line.hash }
    tail.links.push(tail.last)
  }
  return tail
}

function firstLine(path: string): Head['first'] | null {
  const [bytes] = linesOf(readFileSync(path)).lines
  const line = bytes && readLine(bytes)
  return line && !('why' in line) ? { n: line.n, prev: line.prev } : null
}

const segmentName = (n: number): string => `audit-${String(n).padStart(12, '0')}.jsonl`

function signingKey(dir: string): KeyObject {
  const path = join(dir, keyFile)
  try {
    return createPrivateKey(readFileSync(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const { privateKey } = generateKeyPairSync('ed25519')
  writeThrough(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), O_EXCL)
  return privateKey
}

function writeThrough(path: string, text: string, flag: number): void {
  const fd = openSync(path, O_WRONLY | O_CREAT | O_DSYNC | flag, 0o600)
  try {
    writeSync(fd, text)
  } finally {
    closeSync(fd)
  }
}
