/** Paths as text: which forms are accepted, and what a symbolic link's text means. Pure; the walk decides what is there. */
import { Buffer } from 'node:buffer'
import { fault } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { nameProblem } from './names.ts'

/**
 * A path as the components to walk from the folder ('..' among them, '.' not). One trailing `/` is allowed. `root`: the folder's real path.
 * Throws `bad-path` and `outside-folder`.
 */
export function componentsOf(path: string, root: string): string[] {
  if (path.includes('\0')) throw fault('bad-path', 'A path may not contain a NUL character.', { rule: 'no NUL' })
  if (Buffer.byteLength(path) > limits.pathBytes)
    throw fault('bad-path', 'The path is too long.', { rule: `at most ${limits.pathBytes} bytes` })
  if (!path.isWellFormed()) throw fault('bad-path', 'The path is not valid Unicode.', { rule: 'valid Unicode' })
  const relative = path.startsWith('/') ? belowRoot(path, root) : path
  if (relative === null) throw fault('outside-folder', `${path} is not inside the connected folder.`, { rule: `only paths below ${root}` })
  if (relative === '') return []
  const parts = (relative.endsWith('/') ? relative.slice(0, -1) : relative).split('/')
  for (const part of parts) {
    if (part === '') throw fault('bad-path', `${path} has an empty component.`, { rule: 'no empty components' })
    const problem = nameProblem(part)
    if (problem !== null) throw fault('bad-path', `${path} is no path here: ${problem}.`, { rule: problem })
    if (Buffer.byteLength(part) > limits.nameBytes)
      throw fault('bad-path', 'A name in the path is too long.', { rule: `at most ${limits.nameBytes} bytes a name` })
  }
  return parts.filter((part) => part !== '.')
}

/** What follows the root in an absolute path without the slash between; null when it lies elsewhere. */
function belowRoot(path: string, root: string): string | null {
  const prefix = root === '/' ? '/' : `${root}/`
  if (path === root) return ''
  return path.startsWith(prefix) ? path.slice(prefix.length) : null
}

/** A symbolic link's text as components: from the root when absolute and inside it, null when absolute and outside. */
export function linkComponents(text: string, root: string): { from: 'root' | 'here'; parts: string[] } | null {
  const meaningful = (parts: string) => parts.split('/').filter((part) => part !== '' && part !== '.')
  if (!text.startsWith('/')) return { from: 'here', parts: meaningful(text) }
  const below = belowRoot(text, root)
  return below === null ? null : { from: 'root', parts: meaningful(below) }
}

/**
 * Whether a new link with this text, made in the folder `at`, names something inside the root, judged by its text alone. `..` counts
 * only at the start: behind a name it may climb from wherever that name, a link perhaps, leads.
 */
export function linkStaysInside(text: string, at: readonly string[]): boolean {
  if (text === '' || text.startsWith('/') || text.includes('\0')) return false
  const parts = text.split('/').filter((part) => part !== '' && part !== '.')
  const named = parts.findIndex((part) => part !== '..')
  const climbs = named === -1 ? parts.length : named
  return climbs <= at.length && !parts.slice(climbs).includes('..')
}

/** Whether a capability limited to `limit` ('' = all) covers `path`, both canonical components. */
export function within(path: readonly string[], limit: readonly string[]): boolean {
  return limit.every((part, index) => path[index] === part)
}
