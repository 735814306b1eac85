/** Moving and deleting: what the member is shown first, and that it is still that when it happens. */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { type BodyOf, fault, type Limits, type ReplyOf } from '../../kernel/index.ts'
import { makeFolders } from './atomic-write.ts'
import type { Entry } from './change-log.ts'
import { lstatAt, identityAt } from './entry-state.ts'
import { type Gate, requireCovered, requireWritable } from './gate.ts'
import { at, openFolder, type Scope, scoped } from './handles.ts'
import { limits } from './limits.ts'
import { checkMove } from './ninep-links.ts'
import { folderMayMove, ruleOf, requireUnprotected } from './protected.ts'
import type { protocol } from './protocol.ts'
import { walkTree } from './tree-walk.ts'
import { type Found, resolve, resolveExisting } from './walk.ts'

type P = typeof protocol
type Preview = ReplyOf<P, 'preview'>

/** Everything at and below a place, a folder before what is in it. `identity` tells whether it is still all that. */
type Tree = {
  entries: { parts: string[]; isFolder: boolean; size: number }[]
  files: number
  folders: number
  bytes: number
  identity: string
}

export function deletePath(gate: Gate, body: BodyOf<P, 'delete'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'delete'>> {
  requireWritable(gate, grant)
  return gate.changes.run('history', () =>
    scoped(async (scope) => {
      const found = named(gate, body.path, grant, scope)
      const tree = await treeAt(found, signal)
      requireSame(body.path, body.identity, () => tree.identity)
      if (found.stat.isDirectory() && tree.entries.length > 1 && body.recursive !== true)
        throw fault('not-a-file', `${body.path} is a folder with ${tree.entries.length - 1} entries.`, {
          rule: 'a folder that is not empty only with recursive',
        })
      const session = grant.session ?? null
      // Deepest last in the list, so it is taken from its end; one folder's entries at a time share a handle.
      const order = tree.entries.toReversed()
      for (let start = 0; start < order.length; start += limits.undoBatch) {
        scoped((batch) => {
          const open = new Map<string, number>()
          const items = order.slice(start, start + limits.undoBatch).map(({ parts, isFolder }) => {
            const entry = entryAt(gate, parts, open, batch)
            const path = at(entry.folder, entry.name)
            return {
              entry,
              perform() {
                if (isFolder) fs.rmdirSync(path)
                else fs.unlinkSync(path)
                return 'absent'
              },
            }
          })
          const error = gate.log.putAll(items, { source: 'tool', run: null, session }).find((item) => item !== null)
          if (error !== undefined) throw error
        })
        await setImmediate()
        signal.throwIfAborted()
      }
      return { path: found.parts.join('/'), files: tree.files, folders: tree.folders, bytes: tree.bytes }
    }),
  )
}

export function movePath(gate: Gate, body: BodyOf<P, 'move'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'move'>> {
  requireWritable(gate, grant)
  return gate.changes.run('history', () =>
    scoped(async (scope) => {
      signal.throwIfAborted()
      const { from, to } = ends(gate, body, grant, scope)
      const tree = from.stat.isDirectory() ? await treeAt(from, signal) : null
      requireSame(body.path, body.identity, () => tree?.identity ?? identityAt(from.parent, from.name))
      if (tree && isMass(tree) && !grant.tools?.includes('mass'))
        throw fault('mass-change', `${body.path} is a folder with ${tree.entries.length - 1} entries.`, { rule: massRule })
      const session = grant.session ?? null
      const parent = makeFolders(gate, to, to.rest.slice(0, -1), scope, session)
      const name = to.rest.at(-1) as string
      const entry: Entry = { folder: parent, name, parts: [...to.parts, ...to.rest] }
      gate.log.rename({ folder: from.parent, name: from.name, parts: from.parts }, entry, 'tool', session, () => {
        if (lstatAt(parent, name)) throw fault('already-exists', `${body.to} was made by someone else meanwhile.`)
        fs.renameSync(at(from.parent, from.name), at(parent, name))
      })
      gate.folderSyncs.soon(entry.parts.slice(0, -1))
      return { path: from.parts.join('/'), to: entry.parts.join('/') }
    }),
  )
}

export function previewDelete(gate: Gate, path: string, grant: Limits, signal: AbortSignal): Promise<Preview> {
  return scoped(async (scope) => {
    const found = named(gate, path, { ...grant, tools: ['protected'] }, scope)
    const tree = await treeAt(found, signal)
    const rule = tree.entries.map(({ parts }) => ruleOf(parts)).find((item) => item !== null) ?? null
    return {
      path: found.parts.join('/'),
      diff: listed(`Deletes ${countOf(tree)}`, tree),
      created: false,
      identity: tree.identity,
      protected: rule,
    }
  })
}

export function previewMove(gate: Gate, body: { path: string; to: string }, grant: Limits, signal: AbortSignal): Promise<Preview> {
  return scoped(async (scope) => {
    const { from, to } = ends(gate, body, { ...grant, tools: ['protected'] }, scope)
    const path = from.parts.join('/')
    const target = [...to.parts, ...to.rest]
    const about = { path, created: false, protected: ruleOf(target) ?? ruleOf(from.parts) }
    if (!from.stat.isDirectory())
      return { ...about, diff: `Moves ${path} to ${target.join('/')}\n`, identity: identityAt(from.parent, from.name) }
    const tree = await treeAt(from, signal)
    const inside = { ...tree, entries: tree.entries.slice(1), folders: tree.folders - 1 }
    const head = `Moves ${path}/ to ${target.join('/')}`
    const diff = inside.entries.length === 0 ? `${head}\n` : listed(`${head}, with ${countOf(inside)}`, inside)
    return { ...about, diff, identity: tree.identity, ...(isMass(tree) ? { mass: inside.entries.length } : {}) }
  })
}

/** So many at a time are asked for as what they are, and never covered by what was allowed before. */
function isMass({ entries }: Tree): boolean {
  return entries.length - 1 > limits.massEntries
}
const massRule = `more than ${limits.massEntries} entries only with an approval of just that`

function countOf({ files, folders, bytes }: Pick<Tree, 'files' | 'folders' | 'bytes'>): string {
  return `${plural(files, 'file')}${folders > 0 ? ` and ${plural(folders, 'folder')}` : ''}, ${bytes} bytes`
}

/** What a member is asked about, name by name. */
function listed(head: string, { entries }: Pick<Tree, 'entries'>): string {
  const shown = entries
    .slice(0, limits.entriesListed)
    .map(({ parts, isFolder, size }) => (isFolder ? `${parts.join('/')}/` : `${parts.join('/')} (${size} bytes)`))
  const more = entries.length > shown.length ? [`… and ${entries.length - shown.length} more`] : []
  return [`${head}:`, ...shown.map((line) => `  ${line}`), ...more, ''].join('\n')
}

/** What a path itself names, a link included; never the connected folder. */
function named(gate: Gate, path: string, grant: Limits, scope: Scope): Found {
  const found = resolveExisting(gate.root, path, scope, { followLast: false })
  requireCovered(gate, found.parts, grant)
  if (found.parts.length === 0)
    throw fault('bad-path', 'The connected folder itself cannot be moved or deleted.', { rule: 'what is in it only' })
  requireUnprotected(found.parts, grant)
  return found
}

function ends(gate: Gate, body: { path: string; to: string }, grant: Limits, scope: Scope) {
  const from = named(gate, body.path, grant, scope)
  const to = resolve(gate.root, body.to, scope, { followLast: false })
  if (to.kind === 'found') throw fault('already-exists', `${body.to} is already there.`, { rule: 'a move replaces nothing' })
  const target = [...to.parts, ...to.rest]
  requireCovered(gate, target, grant)
  requireUnprotected(target, grant)
  if (from.parts.every((part, index) => target[index] === part)) throw fault('bad-path', `${body.path} cannot be moved into itself.`)
  checkLinks(from, target)
  if (from.stat.isDirectory() && !grant.tools?.includes('protected') && folderMayMove(from.parent, from.name, from.parts, target) !== true)
    throw fault('protected-path', `Something in ${body.path} would become a protected path.`)
  return { from, to }
}

function checkLinks(from: Found, target: readonly string[]): void {
  try {
    checkMove(from.parent, from.name, from.parts, target.slice(0, -1))
  } catch (error) {
    if (!(error instanceof Error) || !('errno' in error)) throw error
    throw fault('symlink-escape', `A symbolic link in ${from.parts.join('/')} would lead out of the connected folder from there.`)
  }
}

async function treeAt(found: Found, signal: AbortSignal): Promise<Tree> {
  const hash = createHash('sha256')
  const tree: Tree = { entries: [], files: 0, folders: 0, bytes: 0, identity: '' }
  const add = (parts: string[], folder: number, name: string) => {
    const stat = lstatAt(folder, name)
    if (!stat) return
    const isFolder = stat.isDirectory()
    if (isFolder) tree.folders += 1
    else tree.files += 1
    const size = stat.isFile() ? Number(stat.size) : 0
    tree.bytes += size
    tree.entries.push({ parts, isFolder, size })
    hash.update(`${parts.join('/')}\0${identityAt(folder, name)}\n`)
  }
  add(found.parts, found.parent, found.name)
  if (found.stat.isDirectory()) {
    const walk = walkTree({ fd: found.fd, parts: found.parts }, { maxDepth: limits.depth, signal })
    for await (const entry of walk) add(entry.parts, entry.folder, entry.name)
    if (walk.cut())
      throw fault('too-large', `${found.parts.join('/')} holds more than one change may.`, {
        rule: `at most ${limits.walkEntries} entries`,
      })
  }
  tree.identity = hash.digest('hex')
  return tree
}

function entryAt(gate: Gate, parts: readonly string[], open: Map<string, number>, scope: Scope): Entry {
  const above = parts.slice(0, -1)
  let folder = gate.root.fd
  for (const [index, part] of above.entries()) {
    const key = above.slice(0, index + 1).join('/')
    const known = open.get(key) ?? scope.own(openFolder(folder, part))
    open.set(key, known)
    folder = known
  }
  return { folder, name: parts.at(-1) as string, parts }
}

/** `expected`: as it was when the member was asked. */
export function requireSame(path: string, expected: string | undefined, now: () => string): void {
  if (expected === undefined || expected === now()) return
  throw fault('changed-since-read', `${path} is not what it was when this was approved.`, {
    cause: 'It was changed or replaced in between.',
    rule: 'what is approved is what is changed',
    remedy: 'Look at it again and ask again.',
  })
}

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`
