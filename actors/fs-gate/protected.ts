/** Refusing changes of protected paths, from tools and from the workspace. */
import * as fs from 'node:fs'
import { fault, type Limits } from '../../kernel/index.ts'
import { isHarmlessGitConfig } from './git-config.ts'
import { at, openFolder, openHeld, openPlace, scoped, self } from './handles.ts'
import { limits } from './limits.ts'
import { bareRepository, folded, hasProtectedInside, protection } from './protected-paths.ts'

/** In a grant's `tools`: the member was asked for exactly this path, and told that it is protected. */
const approval = 'protected'

/** For tools. Throws `protected-path`, unless the member approved just that. */
export function requireUnprotected(parts: readonly string[], grant: Limits): void {
  const found = protection(parts)
  if (!found || grant.tools?.includes(approval)) return
  throw fault('protected-path', `${parts.join('/')} is a protected path.`, { rule: found.rule })
}

/** The rule that protects a path; null: none. */
export function ruleOf(parts: readonly string[]): string | null {
  return protection(parts)?.rule ?? null
}

export type Verdict = 'free' | 'refused' | 'git-config' | 'gitdir'

/** For the workspace, which never has that approval: whether the path may be written. */
export function verdict(parts: readonly string[]): Verdict {
  const found = protection(parts)
  return found ? (found.vet ?? 'refused') : 'free'
}

/** Whether a file may get this protected name: only git's settings, and only harmless ones. Its bytes are what the handle holds now. */
export function mayBecome(from: Place, to: Place, now: Verdict): boolean {
  if (now === 'free') return true
  if (now !== 'git-config') return false
  const bytes = smallFile(from)
  return bytes !== null && isHarmlessGitConfig(bytes, smallFile(to) ?? undefined)
}

type Place = { folder: number; name: string }

/** null: not there, no file, too large, or with another name through which it could be changed later. */
function smallFile({ folder, name }: Place): Uint8Array | null {
  if (!fs.lstatSync(at(folder, name), { throwIfNoEntry: false })?.isFile()) return null
  return scoped((scope) => {
    const held = scope.own(openPlace(folder, name))
    const stat = fs.fstatSync(held)
    const readable = stat.isFile() && stat.nlink === 1 && stat.size <= limits.gitConfigBytes
    return readable ? fs.readFileSync(scope.own(openHeld(held))) : null
  })
}

/** Whether a folder may move: nothing in it becomes a protected path that was none before. null: too much in it to say. */
export function folderMayMove(folder: number, name: string, from: readonly string[], to: readonly string[]): boolean | null {
  if (!hasProtectedInside(to) && !hasProtectedInside(to.slice(-1))) return true
  let seen = 0
  const visit = (fd: number, inside: readonly string[]): boolean | null => {
    for (const entry of fs.readdirSync(self(fd), { withFileTypes: true })) {
      seen += 1
      if (seen > limits.protectedEntries) return null
      const path = [...inside, entry.name]
      if (!entry.isDirectory() && protection([...to, ...path]) && !protection([...from, ...path])) return false
      if (!entry.isDirectory()) continue
      const below = scoped((scope) => visit(scope.own(openFolder(fd, entry.name)), path))
      if (below !== true) return below
    }
    return true
  }
  return scoped((scope) => visit(scope.own(openFolder(folder, name)), []))
}

/**
 * A folder that has all parts of a bare repository is obeyed as one, whatever its name. Whether an entry that gets the name `name` there
 * completes one whose settings are not harmless. `from`: what gets the name; null: something made new.
 */
export function completesRepository({ folder, name }: Place, from: Place | null): boolean {
  const part = folded(name)
  if (!bareRepository.has(part)) return false
  const there = new Map(fs.readdirSync(self(folder)).map((entry) => [folded(entry), entry]))
  there.set(part, name)
  if (![...bareRepository].every((wanted) => there.has(wanted))) return false
  const now = { folder, name: there.get('config') as string }
  if (part === 'config') return from === null || !mayBecome(from, now, 'git-config')
  const bytes = smallFile(now)
  return bytes === null || !isHarmlessGitConfig(bytes)
}
