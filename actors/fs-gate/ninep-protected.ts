/** What protected paths mean for each request of the workspace: it is refused with EACCES, except what git needs and harms nobody. */
import type { Entry } from './change-log.ts'
import { scoped } from './handles.ts'
import { NinepError } from './ninep-errors.ts'
import type { Place } from './ninep-places.ts'
import type { NinepServer } from './ninep-server.ts'
import { lstatAt } from './entry-state.ts'
import { completesRepository, folderMayMove, mayBecome, verdict } from './protected.ts'
import { hasProtectedInside } from './protected-paths.ts'

const valid = { mode: 1, size: 8 } as const

/** `gitdir`: it may be made, and what is written to it is looked at. Git's settings come by renaming only, as git does it. */
export function mayCreate(entry: Pick<Entry, 'folder' | 'name'>, parts: readonly string[]): 'gitdir' | null {
  const now = verdict(parts)
  if (now === 'refused' || now === 'git-config' || completesRepository(entry, null)) throw new NinepError('EACCES')
  return now === 'gitdir' ? 'gitdir' : null
}

export function requireMayWrite(parts: readonly string[]): void {
  if (verdict(parts) !== 'free') throw new NinepError('EACCES')
}

/** Opening a place for writing. */
export function requireMayOpen(server: NinepServer, place: Place): void {
  const parts = partsOf(server, place)
  if (!parts) return
  requireMayWrite(parts)
  if (parts.at(-1)?.toLowerCase() !== 'config') return
  if (scoped((scope) => completesRepository(server.places.entry(place, scope), null))) throw new NinepError('EACCES')
}

/** null: it has no name any more, so nobody obeys it. */
function partsOf(server: NinepServer, place: Place): string[] | null {
  try {
    return server.places.whereabouts(place)
  } catch {
    return null
  }
}

/** Git tries out whether modes are kept on its own settings; a hook that is there but asleep must not be woken. */
export function requireMayDress(server: NinepServer, place: Place, bits: number): void {
  if ((bits & (valid.mode | valid.size)) === 0 || place.kind === 'folder') return
  const parts = partsOf(server, place)
  if (!parts) return
  const now = verdict(parts)
  if (now === 'refused' || (now !== 'free' && (bits & valid.size) !== 0)) throw new NinepError('EACCES')
}

/** A link, symbolic or not, is another way to write to what it leads to: none where things are protected. */
export function requireMayLink({ parts, folder, name }: Entry): void {
  const link = verdict(parts) !== 'free' || completesRepository({ folder, name }, null)
  if (link) throw new NinepError('EACCES')
}

export function requireNoSymlink({ parts }: Entry): void {
  if (hasProtectedInside(parts)) throw new NinepError('EACCES')
}

export function requireMayMove(server: NinepServer, from: Entry, to: Entry): void {
  const stat = lstatAt(from.folder, from.name)
  if (!stat) return
  if (completesRepository(to, from)) throw new NinepError('EACCES')
  if (stat.isDirectory()) {
    const may = folderMayMove(from.folder, from.name, from.parts, to.parts)
    if (may === null) throw new NinepError('EXDEV')
    if (!may) throw new NinepError('EACCES')
    return
  }
  if (stat.isSymbolicLink() && hasProtectedInside(to.parts) && !hasProtectedInside(from.parts)) throw new NinepError('EACCES')
  const now = verdict(to.parts)
  if (!mayBecome(from, to, now)) throw new NinepError('EACCES')
  // Whoever still has it open for writing cannot any more.
  if (now !== 'free' || to.name.toLowerCase() === 'config') server.gate.sealed.add(sealOf(stat.dev, stat.ino, stat.birthtimeNs))
}

/** With the time of birth, because inode numbers are used again. */
export function sealOf(dev: bigint, ino: bigint, born: bigint): string {
  return `${dev}:${ino}:${born}`
}
