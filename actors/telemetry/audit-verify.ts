/** Reads an audit folder and says whether it is whole. Used by the command line, with the daemon running or not, and by tests. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fingerprint, genesis, type Head, type Line, type Link, readHead, readLine } from './audit-chain.ts'

export const headFile = 'head.json'
export const keyFile = 'signing-key.pem'
/** An entry of this action says that the log was found damaged when it was opened. */
export const damagedAction = 'audit.damaged'

export type Broken = {
  /** File name in the folder. */
  file: string
  /** Line in that file, from 1; null: the file as a whole. */
  line: number | null
  /** Number the entry has or should have. */
  n: number | null
  why: string
}
export type Verdict = {
  ok: boolean
  entries: number
  first: number | null
  last: Link | null
  /** Fingerprint of the key that signed the head. */
  key: string | null
  /** First thing that is wrong. */
  broken: Broken | null
  /** Entries written after the head, by a process that was killed in between. */
  afterHead: number
}

export function segmentFiles(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => /^audit-\d{12}\.jsonl$/.test(name))
    .toSorted()
}

/** Lines of a segment without their newlines; `rest` is what follows the last newline. */
export function linesOf(bytes: Buffer): { lines: Buffer[]; rest: Buffer } {
  const lines: Buffer[] = []
  let start = 0
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
    lines.push(bytes.subarray(start, end))
    start = end + 1
  }
  return { lines, rest: bytes.subarray(start) }
}

/**
 * @param expect what must be in it, known from elsewhere: an entry's link, the fingerprint of the key
 * @param each gets every line that is as it was written, in order
 */
export function verifyAudit(dir: string, expect: { link?: Link; key?: string } = {}, each: (line: Line) => void = () => {}): Verdict {
  // The head first: lines that a running daemon adds meanwhile are then lines after the head.
  const head = readHeadFile(dir)
  let broken: Broken | null = 'why' in head ? { file: headFile, line: null, n: null, why: head.why } : null
  const note = (found: Broken): void => {
    broken ??= found
  }
  const known = 'why' in head ? null : head
  const key = known ? fingerprint(known.key) : null
  if (expect.key !== undefined && key !== expect.key)
    note({ file: headFile, line: null, n: null, why: `it is signed with key ${key ?? 'none'}, not ${expect.key}` })
  let before: Link = known ? { n: known.first.n - 1, hash: known.first.prev } : { n: 0, hash: genesis }
  let entries = 0
  let first: number | null = null
  let headSeen = known === null || known.last.n === before.n
  let expectSeen = expect.link === undefined
  const files = segmentFiles(dir)
  for (const file of files) {
    const { lines, rest } = linesOf(readFileSync(join(dir, file)))
    for (const [index, bytes] of lines.entries()) {
      const line = readLine(bytes)
      const at = { file, line: index + 1, n: before.n + 1 }
      if ('why' in line) {
        note({ ...at, why: line.why })
        continue
      }
      if (line.n !== before.n + 1) note({ ...at, why: `entry ${line.n} stands where entry ${before.n + 1} should be` })
      else if (line.prev !== before.hash) note({ ...at, why: 'it does not follow the entry before it' })
      if (line.action === damagedAction) note({ ...at, why: `the log was found damaged: ${String(line.data['why'])}` })
      before = { n: line.n, hash: line.hash }
      first ??= line.n
      entries++
      if (known && line.n === known.last.n) {
        if (line.hash === known.last.hash) headSeen = true
        else note({ ...at, n: line.n, why: 'it is not the entry the head names' })
      }
      if (line.n === expect.link?.n) {
        if (line.hash === expect.link.hash) expectSeen = true
        else note({ ...at, n: line.n, why: 'its hash is not the one expected' })
      }
      each(line)
    }
    // A crash may leave a piece of a line that nobody was told is there; only in the last file, and after the head.
    if (rest.length > 0 && (file !== files.at(-1) || !headSeen || known === null))
      note({ file, line: lines.length + 1, n: before.n + 1, why: 'the line is cut off' })
  }
  if (!headSeen && known)
    note({
      file: files.at(-1) ?? headFile,
      line: null,
      n: before.n + 1,
      why: `entries up to ${known.last.n} were written; the log ends at ${before.n}`,
    })
  if (!expectSeen)
    note({ file: files.at(-1) ?? headFile, line: null, n: expect.link?.n ?? null, why: `entry ${expect.link?.n} is not there` })
  return {
    ok: broken === null,
    entries,
    first,
    last: entries > 0 ? before : null,
    key,
    broken,
    afterHead: known ? Math.max(0, before.n - known.last.n) : 0,
  }
}

export function readHeadFile(dir: string): Head | { why: string } {
  try {
    return readHead(readFileSync(join(dir, headFile), 'utf8'))
  } catch (error) {
    return { why: `it cannot be read (${error instanceof Error ? error.message : String(error)})` }
  }
}
