/** Finding files by name and by content: glob, grep. */
import * as fs from 'node:fs'
import { RE2JS, RE2JSException } from 're2js'
import type { BodyOf, Limits, ReplyOf } from '../../kernel/index.ts'
import { decode } from './encoding.ts'
import { openFile, wholeBytes } from './file-content.ts'
import { type Gate, requireCovered } from './gate.ts'
import { badPattern, globMatcher } from './glob-pattern.ts'
import { openPlace, type Scope, scoped } from './handles.ts'
import { limits } from './limits.ts'
import { grepText, type LineMatch } from './line-search.ts'
import { codeOf } from './os-errors.ts'
import type { protocol } from './protocol.ts'
import { folderAt, statOf } from './read-tools.ts'
import { type TreeEntry, walkTree } from './tree-walk.ts'
import { resolveExisting } from './walk.ts'

type P = typeof protocol
type Match = ReplyOf<P, 'grep'>['matches'][number]

export function globFiles(gate: Gate, body: BodyOf<P, 'glob'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'glob'>> {
  return scoped(async (scope) => {
    const matches = globMatcher(body.pattern)
    const start = folderAt(gate, body.path ?? '', grant, (path) => resolveExisting(gate.root, path, scope))
    const found: { path: string; mtimeMs: number }[] = []
    const walk = walkTree({ fd: start.fd, parts: start.parts }, { maxDepth: limits.depth, signal })
    for await (const entry of walk) {
      if (entry.isFolder || !matches(entry.parts.slice(start.parts.length).join('/'))) continue
      const stat = statOf(entry.folder, entry.name)
      if (stat) found.push({ path: entry.parts.join('/'), mtimeMs: stat.mtimeMs })
    }
    found.sort((a, b) => b.mtimeMs - a.mtimeMs || (a.path < b.path ? -1 : 1))
    const { skip = 0, limit = limits.globPaths } = body
    const end = skip + limit
    const paths = found.slice(skip, end).map(({ path }) => path)
    return found.length > end ? { paths, truncated: true, next: end } : { paths, truncated: walk.cut() }
  })
}

export function grepFiles(gate: Gate, body: BodyOf<P, 'grep'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'grep'>> {
  return scoped(async (scope) => {
    const search = new Search(body, signal)
    const start = resolveExisting(gate.root, body.path ?? '', scope)
    requireCovered(gate, start.parts, grant)
    if (!start.stat.isDirectory()) {
      const fd = openFile(start, scope, limits.grepFileBytes)
      await search.file(start.parts.join('/'), fd, start.stat.size)
      return search.reply(false)
    }
    const wanted = fileFilter(body.glob)
    const walk = walkTree({ fd: start.fd, parts: start.parts }, { maxDepth: limits.depth, signal })
    for await (const entry of walk) {
      if (search.full) break
      if (entry.isFile && wanted(entry.parts.slice(start.parts.length))) await scoped((inner) => searchEntry(search, entry, inner))
    }
    return search.reply(walk.cut())
  })
}

async function searchEntry(search: Search, entry: TreeEntry, scope: Scope): Promise<void> {
  try {
    const place = scope.own(openPlace(entry.folder, entry.name))
    const stat = fs.fstatSync(place)
    // Replaced by a link or pipe since its folder was read.
    if (!stat.isFile()) return
    if (stat.size > limits.grepFileBytes) {
      search.skipped += 1
      return
    }
    const path = entry.parts.join('/')
    const fd = openFile(
      { kind: 'found', fd: place, stat, parts: entry.parts, parent: entry.folder, name: entry.name },
      scope,
      limits.grepFileBytes,
    )
    await search.file(path, fd, stat.size)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    if (codeOf(error) !== 'EACCES' && codeOf(error) !== 'EPERM') throw error
    search.skipped += 1
  }
}

/** A pattern without `/` is about names, at any depth; with one, about the path below the start. */
function fileFilter(glob: string | undefined): (parts: readonly string[]) => boolean {
  if (glob === undefined) return () => true
  const matches = globMatcher(glob)
  return glob.includes('/') ? (parts) => matches(parts.join('/')) : (parts) => matches(parts.at(-1) ?? '')
}

/** Begins with a byte order mark of UTF-16. */
function isMarked(bytes: Uint8Array): boolean {
  return (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
}

class Search {
  full = false
  skipped = 0
  readonly #pattern: RE2JS
  readonly #body: BodyOf<P, 'grep'>
  readonly #signal: AbortSignal
  readonly #max: number
  readonly #matches: Match[] = []
  readonly #skip: number
  #passed = 0
  /** It is full of results, not tired of looking. */
  #goesOn = false
  #bytesRead = 0
  #bytesFound = 0

  constructor(body: BodyOf<P, 'grep'>, signal: AbortSignal) {
    this.#body = body
    this.#signal = signal
    this.#max = body.maxMatches ?? limits.grepMatches
    this.#skip = body.skip ?? 0
    try {
      this.#pattern = RE2JS.compile(body.pattern, RE2JS.MULTILINE | (body.ignoreCase ? RE2JS.CASE_INSENSITIVE : 0))
    } catch (error) {
      throw badPattern(body.pattern, error instanceof RE2JSException ? error.message : undefined)
    }
  }

  /** `size`: as it was when the file was found. */
  async file(path: string, fd: number, size: number): Promise<void> {
    const bytes = await wholeBytes(fd, limits.grepFileBytes, this.#signal, size)
    this.#bytesRead += bytes.length
    if (this.#bytesRead > limits.grepTotalBytes) this.full = true
    // As grep has it: a NUL near the start makes it a binary file, but for UTF-16.
    const binary = bytes.subarray(0, 8_192).includes(0)
    const content = binary || isMarked(bytes) ? (decode(bytes)?.text ?? null) : bytes.toString('utf8')
    if (content === null) return
    const mode = this.#body.mode ?? 'content'
    const most =
      mode === 'files' ? 1 : mode === 'count' ? Number.POSITIVE_INFINITY : this.#skip - this.#passed + this.#max - this.#matches.length + 1
    const lines = await grepText(content, this.#pattern, {
      context: mode === 'content' ? (this.#body.context ?? 0) : 0,
      most,
      signal: this.#signal,
    })
    if (lines.length === 0) return
    if (mode === 'files') this.#add({ path })
    else if (mode === 'count') this.#add({ path, count: lines.length })
    else for (const line of lines) this.#add(contentMatch(path, line))
  }

  #add(match: Match): void {
    if (this.#passed < this.#skip) {
      this.#passed++
      return
    }
    this.#bytesFound +=
      match.path.length +
      (match.text?.length ?? 0) +
      [...(match.before ?? []), ...(match.after ?? [])].reduce((sum, line) => sum + line.length, 0)
    if (this.#matches.length === this.#max || this.#bytesFound > limits.grepReplyBytes) this.full = this.#goesOn = true
    else if (!this.#goesOn) this.#matches.push(match)
  }

  reply(cut: boolean): ReplyOf<P, 'grep'> {
    const next = this.#goesOn ? { next: this.#passed + this.#matches.length } : {}
    return { matches: this.#matches, truncated: this.full || cut, ...next, skipped: this.skipped }
  }
}

function contentMatch(path: string, { line, text, before, after }: LineMatch): Match {
  return { path, line, text, ...(before.length > 0 ? { before } : {}), ...(after.length > 0 ? { after } : {}) }
}
