/**
 * Resolving a path inside a connected folder, free of races: from the root's handle one component at a time, each opened relative to
 * the handle before it and never through a link. A link is read and its text walked in the same way, so whatever another process swaps
 * meanwhile, the walk only ever goes from a folder inside to a name in it.
 *
 *   a/link/b      root -> [a] -> link is a symlink "../c" -> pop [a] -> [c] -> b
 *
 * `..` pops the handle it was walked through and is refused at the root. Not covered, as with openat2: a folder that another program of
 * the member moves out while a handle on it is open stays reachable until that handle is closed.
 */
import * as fs from 'node:fs'
import { fault } from '../../kernel/index.ts'
import { at, openPlace, type Scope } from './handles.ts'
import type { KnownFolders } from './known-folders.ts'
import { limits } from './limits.ts'
import { codeOf } from './os-errors.ts'
import { componentsOf, linkComponents } from './path.ts'

/** The folder as opened. `fd`: a place handle; `path`: its real path; `known`: folders in it that were walked to a moment ago. */
export type Root = { readonly fd: number; readonly path: string; readonly known: KnownFolders }

/** Where a path leads. Handles belong to the scope given to `resolve`. `parts`: canonical components; `parent` + `name`: its directory entry. */
export type Found = { kind: 'found'; fd: number; stat: fs.Stats; parts: string[]; parent: number; name: string }
/** Nothing there: `rest` are the components that do not exist (one or more) below the existing folder `parent`. */
export type Missing = { kind: 'missing'; parent: number; parts: string[]; rest: string[] }

/** `stat` of the root is looked up when it is asked for, which is seldom. */
type Level = { fd: number; stat: fs.Stats | null; name: string }

/**
 * Throws `bad-path`, `outside-folder`, `symlink-escape`, `not-a-folder` or the system's error. `followLast: false` stops at a link that
 * is the path's last component.
 */
export function resolve(root: Root, path: string, scope: Scope, options: { followLast?: boolean } = {}): Found | Missing {
  const followLast = options.followLast ?? true
  const components = componentsOf(path, root.path)
  const near = inKnownFolder(root, components, scope, followLast)
  if (near) return near
  const top: Level = { fd: root.fd, stat: null, name: '' }
  let levels: Level[] = [top]
  const todo: Step[] = components.map((part) => ({ part, viaLink: false }))
  let links = 0
  while (todo.length > 0) {
    const { part, viaLink } = todo.shift() as Step
    const here = levels.at(-1) as Level
    if (part === '..') {
      if (levels.length === 1)
        throw viaLink
          ? escape(path)
          : fault('outside-folder', `${path} leads out of the connected folder.`, { rule: '".." may not leave the folder' })
      levels.pop()
      scope.release(here.fd)
      continue
    }
    const place = openIfThere(here.fd, part, scope)
    if (todo.length === 0) remember(root, levels, scope)
    if (place === null) return missing(path, levels, here.fd, [part, ...todo.map((step) => step.part)])
    const stat = fs.fstatSync(place)
    if (stat.isDirectory()) {
      levels.push({ fd: place, stat, name: part })
      if (levels.length > limits.depth * 2)
        throw fault('bad-path', `${path} is too deep.`, { rule: `at most ${limits.depth * 2} folders deep` })
    } else if (stat.isSymbolicLink() && (todo.length > 0 || followLast)) {
      scope.release(place)
      links += 1
      if (links > limits.linksFollowed)
        throw fault('symlink-escape', `${path} leads through too many symbolic links.`, { rule: `at most ${limits.linksFollowed} links` })
      const text = readLink(here.fd, part)
      const target = text === null ? { from: 'here' as const, parts: [part] } : linkComponents(text, root.path)
      if (!target) throw escape(path)
      if (target.from === 'root') {
        for (const level of levels.slice(1)) scope.release(level.fd)
        levels = [top]
      }
      todo.unshift(...target.parts.map((step) => ({ part: step, viaLink: true })))
    } else if (todo.length > 0) {
      throw fault('not-a-folder', `${namesOf(levels, part).join('/')} is not a folder.`)
    } else {
      return { kind: 'found', fd: place, stat, parts: namesOf(levels, part), parent: here.fd, name: part }
    }
  }
  const last = levels.at(-1) as Level
  const parent = levels.at(-2) ?? last
  return {
    kind: 'found',
    fd: last.fd,
    stat: last.stat ?? fs.fstatSync(last.fd),
    parts: namesOf(levels),
    parent: parent.fd,
    name: last.name,
  }
}

/** The last step only, from a handle on the folder before; null: the whole way has to be walked. */
function inKnownFolder(root: Root, components: readonly string[], scope: Scope, followLast: boolean): Found | Missing | null {
  const name = components.at(-1)
  if (components.length < 2 || name === undefined || components.includes('..')) return null
  const above = components.slice(0, -1)
  const parent = root.known.find(root.path, above, scope)
  if (parent === null) return null
  const place = openIfThere(parent, name, scope)
  if (place === null) return { kind: 'missing', parent, parts: above, rest: [name] }
  const stat = fs.fstatSync(place)
  if (stat.isSymbolicLink() && followLast) {
    scope.release(place)
    return null
  }
  return { kind: 'found', fd: place, stat, parts: [...components], parent, name }
}

function remember(root: Root, levels: readonly Level[], scope: Scope): void {
  const folder = levels.at(-1) as Level
  if (levels.length > 1) root.known.keep(namesOf(levels), folder.fd, scope)
}

type Step = { part: string; viaLink: boolean }

function openIfThere(fd: number, name: string, scope: Scope): number | null {
  try {
    return scope.own(openPlace(fd, name))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

/** A link's text; null when the name no longer is a link: then it is looked at again, and that counts as a link followed. */
function readLink(fd: number, name: string): string | null {
  try {
    return fs.readlinkSync(at(fd, name))
  } catch (error) {
    if (codeOf(error) === 'EINVAL' || codeOf(error) === 'ENOENT') return null
    throw error
  }
}

function missing(path: string, levels: readonly Level[], parent: number, rest: string[]): Missing {
  if (rest.includes('..')) throw fault('not-found', `${path} does not exist.`)
  return { kind: 'missing', parent, parts: namesOf(levels), rest }
}

function namesOf(levels: readonly Level[], ...more: string[]): string[] {
  return [...levels.slice(1).map((level) => level.name), ...more]
}

function escape(path: string) {
  return fault('symlink-escape', `${path} leads through a symbolic link out of the connected folder.`, {
    rule: 'links are followed only inside the folder',
  })
}

/** `resolve`, refusing what is not there. */
export function resolveExisting(root: Root, path: string, scope: Scope, options: { followLast?: boolean } = {}): Found {
  const found = resolve(root, path, scope, options)
  if (found.kind === 'found') return found
  throw fault('not-found', `${path} does not exist.`)
}

/** Whether the open folder still has a name: a deleted one keeps its handle, and finds nothing below. */
export function isGone(root: Root): boolean {
  try {
    return fs.fstatSync(root.fd).nlink === 0
  } catch {
    return true
  }
}
