/** What every skill of the practice model is made of: calls out, sections back, and paths. Pure. */
import type { Call, Folder, Result, World } from './transcript.ts'

/** Calls made at the same time, with a line for the member. */
export type Batch = { say: string; calls: readonly Call[] }

/** What one request came to. `body` is Markdown for a report; `told` is what the member is told in its place, when that differs. */
export type Section = { ok: boolean; title: string; body: string; told?: string; files?: readonly string[] }

export type Skill = Generator<Batch, Section, readonly Result[]>

const noResult: Result = { ok: false, text: 'The call was not carried out.' }

export function* callAll(say: string, calls: readonly Call[]): Generator<Batch, readonly Result[], readonly Result[]> {
  return calls.length === 0 ? [] : yield { say, calls }
}

export function* callOne(say: string, name: string, input: Record<string, unknown>): Generator<Batch, Result, readonly Result[]> {
  const [result = noResult] = yield { say, calls: [{ name, input }] }
  return result
}

export function failed(title: string, why: string): Section {
  return { ok: false, title, body: why }
}

/** A tool's failure in one line: what it says first, and its code. */
export function reasonOf({ text }: Result): string {
  const [first = 'It failed without saying why.'] = text.trim().split('\n')
  const field = (name: string) => new RegExp(`^${name}: (.+)$`, 'm').exec(text)?.[1]
  const [code, cause, remedy] = [field('Code'), field('Cause'), field('Remedy')]
  return [first, ...(cause ? [cause] : []), ...(code ? [`(${code})`] : []), ...(remedy ? [remedy] : [])].join(' ')
}

export function hasCode({ text }: Result, ...codes: string[]): boolean {
  return codes.some((code) => new RegExp(`^Code: ${code}$`, 'm').test(text))
}

/** A path as the member wrote it, for the file tools: absolute and climbing ones as they are, others inside `folder`. */
export function devicePath(written: string, folder: Folder | undefined, world: World): string {
  if (written.startsWith('/') || written.startsWith('~') || written.split('/').includes('..') || !folder) return written
  const named = world.folders.find(({ name }) => written === name || written.startsWith(`${name}/`))
  if (named) return join(named.path, written.slice(named.name.length + 1))
  return join(folder.path, written.replace(/^(\.\/)+/, ''))
}

/** The same file as commands see it, or null when it is in no connected folder. */
export function workspacePath(path: string, world: World): string | null {
  const inside = folderOf(path, world)
  return inside ? join(inside.workspace, path.slice(inside.path.length).replace(/^\/+/, '')) : null
}

/** For people: relative to its folder, with the folder's name when there are several. */
export function shortPath(path: string, world: World): string {
  const inside = folderOf(path, world)
  if (!inside) return path
  const relative = path.slice(inside.path.length).replace(/^\/+/, '') || inside.name
  return world.folders.length > 1 ? join(inside.name, relative) : relative
}

export function folderOf(path: string, world: World): Folder | undefined {
  const containing = world.folders.filter(({ path: root }) => path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`))
  return containing.toSorted((a, b) => b.path.length - a.path.length)[0]
}

/** Where new files go: a folder that may be written, if there is one. */
export function homeFolder(world: World): Folder | undefined {
  return world.folders.find(({ mode }) => mode === 'rw') ?? world.folders[0]
}

/** Paths in a Glob result. */
export function pathsIn({ ok, text }: Result): string[] {
  return ok ? text.split('\n').filter((line) => line.startsWith('/')) : []
}

/** A Read result without its line numbers and without the note that more follows. */
export function linesIn({ text }: Result): string[] {
  const lines = text.split('\n')
  if (!/^\s*\d+\t/.test(lines[0] ?? '')) return /^\(.*\)$/.test(text.trim()) ? [] : lines
  return lines.flatMap((line) => {
    const match = /^\s*\d+\t(.*)$/s.exec(line)
    return match ? [match[1] ?? ''] : []
  })
}

/** A Bash result without its last line, which says how it ended. */
export function outputIn({ text }: Result): string {
  return text.replace(/\n?\[[^\n]*cwd [^\n]*\]\s*$/, '').replace(/^\(no output\)$/, '')
}

function join(folder: string, rest: string): string {
  return rest === '' ? folder : `${folder.replace(/\/+$/, '')}/${rest}`
}
