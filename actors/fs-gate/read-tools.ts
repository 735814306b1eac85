/** Looking at files and folders: read, list, stat. */
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { type BodyOf, fault, isFault, type Limits, type ReplyOf } from '../../kernel/index.ts'
import { Utf8Pieces } from './encoding.ts'
import { openFile, pieces, sha256Of, smallFile, wholeFile } from './file-content.ts'
import { FolderWatch } from './folder-watch.ts'
import { type Gate, limitParts, requireCovered } from './gate.ts'
import { at, scoped } from './handles.ts'
import { limits } from './limits.ts'
import { headBytes, mediaOf, mediaType, readNotebook } from './media.ts'
import { codeOf } from './os-errors.ts'
import { within } from './path.ts'
import type { protocol } from './protocol.ts'
import { decoded, LineWindow, notText } from './text.ts'
import { typeOf, walkTree } from './tree-walk.ts'
import { type Found, resolveExisting } from './walk.ts'

type P = typeof protocol

export async function readFile(gate: Gate, body: BodyOf<P, 'read'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'read'>> {
  const shown = body.media ? await readMedia(gate, body, grant, signal) : null
  if (shown) return shown
  try {
    return readSmall(gate, body, grant) ?? (await readUtf8(gate, body, grant, signal))
  } catch (error) {
    if (!isFault(error) || error.code !== 'not-text') throw error
    return readOther(gate, body, grant, signal)
  }
}

/** null: to be read as text. */
function readMedia(gate: Gate, body: BodyOf<P, 'read'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'read'> | null> {
  return scoped(async (scope): Promise<ReplyOf<P, 'read'> | null> => {
    const found = resolveExisting(gate.root, body.path, scope)
    requireCovered(gate, found.parts, grant)
    const fd = openFile(found, scope, Number.MAX_SAFE_INTEGER)
    const head = Buffer.alloc(headBytes)
    const type = mediaType(head.subarray(0, fs.readSync(fd, head, 0, headBytes, 0)))
    const isNotebook = type === null && (found.parts.at(-1) ?? '').toLowerCase().endsWith('.ipynb')
    if (type === null && !isNotebook) return null
    const forReader = body.largePdf === true && type === 'application/pdf'
    const most = isNotebook ? limits.notebookBytes : forReader ? limits.largePdfBytes : limits.mediaBytes
    const { bytes, sha256 } = await wholeFile(openFile(found, scope, most), most, signal)
    const whole = { sha256, size: bytes.length }
    if (type !== null) {
      const as = type === 'application/pdf' ? 'pdf' : 'image'
      return { text: '', lines: 0, truncated: false, ...whole, as, media: [mediaOf(type, bytes, body.path)] }
    }
    const notebook = readNotebook(decoded(bytes, body.path).text)
    if (!notebook) return null
    const window = new LineWindow(body.offset ?? 1, body.limit ?? limits.windowLines, limits.windowBytes)
    window.add(notebook.text)
    const media = (body.offset ?? 1) === 1 ? notebook.media : []
    return { ...window.result(), ...whole, as: 'notebook', media }
  })
}

/** Whole, because only the whole tells what it is in. */
function readOther(gate: Gate, body: BodyOf<P, 'read'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'read'>> {
  return scoped(async (scope) => {
    const found = resolveExisting(gate.root, body.path, scope)
    requireCovered(gate, found.parts, grant)
    const { bytes, sha256 } = await wholeFile(openFile(found, scope, limits.editBytes), limits.editBytes, signal)
    const { text, encoding } = decoded(bytes, body.path)
    const window = new LineWindow(body.offset ?? 1, body.limit ?? limits.windowLines, limits.windowBytes)
    window.add(text)
    if (text.length <= limits.rememberedBytes / 8) gate.recent.remember(sha256, text)
    return { ...window.result(), sha256, size: bytes.length, encoding }
  })
}

/** In one go: a small file takes no longer than to give way would. null: it is none. */
function readSmall(gate: Gate, body: BodyOf<P, 'read'>, grant: Limits): ReplyOf<P, 'read'> | null {
  return scoped((scope) => {
    const found = resolveExisting(gate.root, body.path, scope)
    requireCovered(gate, found.parts, grant)
    const bytes = smallFile(openFile(found, scope, limits.readBytes), found.stat.size)
    if (!bytes) return null
    const window = new LineWindow(body.offset ?? 1, body.limit ?? limits.windowLines, limits.windowBytes)
    const text = isUtf8(bytes) ? bytes.toString('utf8') : null
    if (text === null || text.includes('\0')) throw notText(body.path)
    window.add(text)
    const sha256 = sha256Of(bytes)
    gate.recent.remember(sha256, text)
    return { ...window.result(), sha256, size: bytes.length }
  })
}

function readUtf8(gate: Gate, body: BodyOf<P, 'read'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'read'>> {
  return scoped(async (scope) => {
    const found = resolveExisting(gate.root, body.path, scope)
    requireCovered(gate, found.parts, grant)
    const fd = openFile(found, scope, limits.readBytes)
    const window = new LineWindow(body.offset ?? 1, body.limit ?? limits.windowLines, limits.windowBytes)
    const take = (text: string | null): string => {
      if (text === null || text.includes('\0')) throw notText(body.path)
      window.add(text)
      return text
    }
    const hash = createHash('sha256')
    const utf8 = new Utf8Pieces()
    const small: string[] | null = found.stat.size <= limits.rememberedBytes / 8 ? [] : null
    let size = 0
    for await (const piece of pieces(fd, limits.readBytes, signal)) {
      hash.update(piece)
      size += piece.length
      const text = take(utf8.add(piece))
      small?.push(text)
    }
    if (!utf8.isWhole) throw notText(body.path)
    const sha256 = hash.digest('hex')
    if (small) gate.recent.remember(sha256, small.join(''))
    return { ...window.result(), sha256, size }
  })
}

export function listFolder(gate: Gate, body: BodyOf<P, 'list'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'list'>> {
  return scoped(async (scope) => {
    const found = folderAt(gate, body.path, grant, (path) => resolveExisting(gate.root, path, scope))
    const entries: ReplyOf<P, 'list'>['entries'] = []
    const walk = walkTree({ fd: found.fd, parts: found.parts }, { maxDepth: body.depth ?? 1, signal })
    const skip = body.skip ?? 0
    let passed = 0
    for await (const entry of walk) {
      if (passed++ < skip) continue
      if (entries.length === limits.listEntries) return { entries, truncated: true, next: passed - 1 }
      const stat = statOf(entry.folder, entry.name)
      // Deleted since its folder was read.
      if (stat) entries.push({ name: entry.parts.join('/'), type: typeOf(stat), size: stat.size, mtimeMs: stat.mtimeMs })
    }
    return { entries, truncated: walk.cut() }
  })
}

export function statPath(gate: Gate, body: BodyOf<P, 'stat'>, grant: Limits): Promise<ReplyOf<P, 'stat'>> {
  return scoped(async (scope) => {
    const direct = resolveExisting(gate.root, body.path, scope, { followLast: false })
    if (!direct.stat.isSymbolicLink()) {
      requireCovered(gate, direct.parts, grant)
      return described(direct)
    }
    const link = fs.readlinkSync(at(direct.parent, direct.name))
    const found = resolveExisting(gate.root, body.path, scope)
    requireCovered(gate, found.parts, grant)
    return { ...described(found), link }
  })
}

function described({ parts, stat }: Found) {
  return { path: parts.join('/'), type: typeOf(stat), size: stat.size, mtimeMs: stat.mtimeMs, mode: stat.mode & 0o777 }
}

/** A grant on a part of the folder hears of that part only. */
export async function tellOthers(gate: Gate, _: BodyOf<P, 'others'>, grant: Limits): Promise<ReplyOf<P, 'others'>> {
  const known = gate.watch
  gate.watch ??= new FolderWatch(gate)
  if (!known) return { changes: [], more: 0, partial: false }
  const { changes, ...rest } = known.take()
  const covered = grant.path === undefined ? null : limitParts(gate, grant)
  return { changes: changes.filter(({ path }) => covered === null || within(path.split('/'), covered)), ...rest }
}

/** The folder a listing or search starts in. Throws `not-a-folder`. */
export function folderAt(gate: Gate, path: string, grant: Limits, find: (path: string) => Found): Found {
  const found = find(path)
  requireCovered(gate, found.parts, grant)
  if (!found.stat.isDirectory()) throw fault('not-a-folder', `${path} is not a folder.`)
  return found
}

/** A name's own attributes, links not followed; null when it is gone. */
export function statOf(folder: number, name: string): fs.Stats | null {
  try {
    return fs.lstatSync(at(folder, name))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}
