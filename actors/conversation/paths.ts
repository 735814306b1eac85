/**
 * Paths as the model writes them -> a connected folder and a path inside it. Pure, and no promise of safety: the gate of the
 * folder walks the path itself and has the last word. Four forms name the same file:
 *
 *   /home/ada/sales/2024/q1.csv             on the device, under the folder's real root
 *   /sessions/s-1/mnt/sales/2024/q1.csv     in the workspace
 *   sales/2024/q1.csv                       folder name first
 *   2024/q1.csv                             inside the only connected folder
 *
 * A relative path whose first part is a folder's name means that folder, also when the folder holds a folder of its own
 * name. Only empty and `.` parts are dropped; `..` is refused, because what it means depends on symbolic links.
 */
import { fault } from '../../kernel/index.ts'
import type { ServerTool } from './tools/server-tool.ts'
import type { Folder } from './protocol.ts'

export type Workspace = {
  readonly session: string
  readonly folders: readonly Folder[]
  readonly hosts: readonly string[]
  /** Tools that policy blocks, with the rule. */
  readonly blocked?: Readonly<Record<string, string>>
  /** Who answers; it searches the web as well. */
  readonly model?: string
  readonly serverTools?: readonly ServerTool[]
}

/** `path` is relative to the folder, `/`-separated, '' = the folder itself. */
export type Location = { folder: string; path: string }

/** Throws `outside-folder` or `bad-path`. */
export function locate(given: string, workspace: Workspace): Location {
  if (given === '' || given.includes('\0'))
    throw fault('bad-path', `"${given.replaceAll('\0', '\\0')}" is not a path.`, { rule: 'not empty, no NUL' })
  const written = given.split('/')
  if (written.includes('..')) throw outside(given, workspace, 'A path may not contain "..".')
  const parts = written.filter((part) => part !== '' && part !== '.')
  const found = given.startsWith('/') ? fromAbsolute(parts, workspace) : fromRelative(parts, workspace)
  if (!found) throw outside(given, workspace)
  return found
}

function fromAbsolute(parts: readonly string[], { session, folders }: Workspace): Location | null {
  let best: { folder: string; depth: number } | null = null
  for (const { name, root } of folders) {
    for (const top of [root, workspacePath(session, name)]) {
      const prefix = top.split('/').filter((part) => part !== '')
      // The longest root wins, so that a folder connected inside another keeps its own mode and grants.
      if (prefix.every((part, index) => parts[index] === part) && prefix.length > (best?.depth ?? -1))
        best = { folder: name, depth: prefix.length }
    }
  }
  return best && { folder: best.folder, path: parts.slice(best.depth).join('/') }
}

function fromRelative(parts: readonly string[], { folders }: Workspace): Location | null {
  if (parts[0] === '~') return null
  const named = folders.find(({ name }) => name === parts[0])
  if (named) return { folder: named.name, path: parts.slice(1).join('/') }
  const [only, ...others] = folders
  return only && others.length === 0 ? { folder: only.name, path: parts.join('/') } : null
}

/** Where a folder is seen by commands. */
export function workspacePath(session: string, folder: string, path = ''): string {
  return `/sessions/${session}/mnt/${folder}${path === '' ? '' : `/${path}`}`
}

/** Where it is on the device: the form search results are given in. */
export function devicePath({ folder, path }: Location, { folders }: Workspace): string {
  const root = folders.find(({ name }) => name === folder)?.root ?? ''
  return path === '' ? root : `${root.endsWith('/') ? root.slice(0, -1) : root}/${path}`
}

/** Short form for people: `sales/q1.csv`. */
export function shortPath({ folder, path }: Location): string {
  return path === '' ? folder : `${folder}/${path}`
}

function outside(given: string, { folders }: Workspace, why?: string): ReturnType<typeof fault> {
  const list =
    folders.length === 0
      ? 'no folder is connected'
      : `connected: ${folders.map(({ name, root, mode }) => `${name} (${root}, ${mode})`).join(', ')}`
  return fault('outside-folder', `${given} is not inside a connected folder.`, {
    ...(why ? { cause: why } : {}),
    rule: `connected folders only; ${list}`,
  })
}
