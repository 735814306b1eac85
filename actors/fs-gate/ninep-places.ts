/**
 * The places fids stand for. A place is an open handle on the thing itself (O_PATH), not a path: it stays right when the thing or a
 * folder above it is renamed, when its name is given to another file, and after it is deleted. Nothing is looked up twice, so nothing can
 * be swapped in between.
 *
 * Handles are limited and guests hold many names. When there are too many, the least recently used give up their handle and keep where
 * they were, with what identifies them; next time they are walked to again, through no link, and must be the same thing, else ESTALE. Renames
 * made through this server are followed. What has been deleted is never given up.
 */
import type { BigIntStats } from 'node:fs'
import * as fs from 'node:fs'
import { at, close, duplicate, openFolder, openPlace, scoped, type Scope, whereIs } from './handles.ts'
import { limits } from './limits.ts'
import { NinepError } from './ninep-errors.ts'
import { codeOf } from './os-errors.ts'
import { componentsOf } from './path.ts'
import type { Root } from './walk.ts'

export type PlaceKind = 'file' | 'folder' | 'symlink' | 'special'
export type Place = {
  readonly kind: PlaceKind
  readonly dev: bigint
  readonly ino: bigint
  /** Inode numbers are used again; the time of birth tells the new file from the old. */
  readonly born: bigint
  /** A link's text; it cannot change while the link exists. */
  readonly link: string | null
  /** null while given up. */
  fd: number | null
  /** Where it was when given up. */
  parts: string[] | null
  users: number
}

export class Places {
  readonly #root: Root
  readonly #most: number
  /** Least recently used first. */
  readonly #open = new Set<Place>()
  readonly #closed = new Set<Place>()

  constructor(root: Root, most: number = limits.fidHandles) {
    this.#root = root
    this.#most = most
  }

  /** Takes charge of a handle. */
  adopt(fd: number, stat: BigIntStats, link: string | null = null): Place {
    const place: Place = { kind: kindOf(stat), dev: stat.dev, ino: stat.ino, born: stat.birthtimeNs, link, fd, parts: null, users: 1 }
    this.#open.add(place)
    try {
      this.#makeRoom()
    } catch (error) {
      this.release(place)
      throw error
    }
    return place
  }

  share(place: Place): Place {
    place.users += 1
    return place
  }

  release(place: Place): void {
    place.users -= 1
    if (place.users > 0) return
    this.#open.delete(place)
    this.#closed.delete(place)
    if (place.fd !== null) close(place.fd)
    place.fd = null
  }

  /** The place's handle, good until the next place is asked for or adopted. Throws ESTALE. */
  fd(place: Place): number {
    if (place.fd === null) this.#reopen(place)
    else this.#open.delete(place)
    this.#open.add(place)
    return place.fd as number
  }

  /** Both handles at once. */
  fds(first: Place, second: Place): [number, number] {
    this.fd(first)
    const other = this.fd(second)
    return [first.fd as number, other]
  }

  /** Canonical components of where it is now. Throws ENOENT when it was deleted or moved out. */
  whereabouts(place: Place): string[] {
    const parts = partsOf(this.fd(place), this.#root)
    if (!parts) throw new NinepError('ENOENT')
    return parts
  }

  /** The folder a place is in, by handle, and its name there. Throws ENOENT and ESTALE when it is not there. */
  entry(place: Place, scope: Scope): { folder: number; name: string } {
    const parts = this.whereabouts(place)
    const name = parts.at(-1)
    if (name === undefined) throw new NinepError('EPERM')
    const folder = this.#walk(parts.slice(0, -1), scope)
    if (!isSame(place, fs.lstatSync(at(folder, name), { bigint: true }))) throw new NinepError('ESTALE')
    return { folder, name }
  }

  /** To be told of each rename made here, with canonical components. */
  renamed(from: readonly string[], to: readonly string[]): void {
    for (const place of this.#closed) {
      if (place.parts && from.every((part, index) => place.parts?.[index] === part))
        place.parts = [...to, ...place.parts.slice(from.length)]
    }
  }

  /** Whether places have been given up, so that `renamed` matters. */
  get anyClosed(): boolean {
    return this.#closed.size > 0
  }

  #makeRoom(): void {
    if (this.#open.size <= this.#most) return
    for (const place of this.#open) {
      // The two newest are in use by the request at hand.
      if (this.#open.size <= Math.max(2, this.#most)) return
      const fd = place.fd as number
      const parts = partsOf(fd, this.#root)
      if (!parts) continue
      this.#open.delete(place)
      this.#closed.add(place)
      place.parts = parts
      place.fd = null
      close(fd)
    }
    if (this.#open.size > this.#most + limits.openFiles) throw new NinepError('EMFILE')
  }

  #reopen(place: Place): void {
    const { parts } = place
    if (parts === null) throw new NinepError('ESTALE')
    place.fd = scoped((scope) => {
      const opened = scope.own(this.#openWhereItWas(parts, scope))
      if (!isSame(place, fs.fstatSync(opened, { bigint: true }))) throw new NinepError('ESTALE')
      return scope.disown(opened)
    })
    place.parts = null
    this.#closed.delete(place)
    this.#open.add(place)
    this.#makeRoom()
  }

  #openWhereItWas(parts: readonly string[], scope: Scope): number {
    const name = parts.at(-1)
    // The connected folder itself.
    if (name === undefined) return duplicate(this.#root.fd)
    try {
      return openPlace(this.#walk(parts.slice(0, -1), scope), name)
    } catch (error) {
      // It may be elsewhere: whoever came by its name looks that up again.
      throw codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR' ? new NinepError('ESTALE') : error
    }
  }

  #walk(parts: readonly string[], scope: Scope): number {
    let folder = this.#root.fd
    for (const part of parts) folder = scope.own(openFolder(folder, part))
    return folder
  }
}

function partsOf(fd: number, root: Root): string[] | null {
  const path = whereIs(fd)
  if (path === null) return null
  try {
    return componentsOf(path, root.path)
  } catch {
    // Moved out of the folder.
    return null
  }
}

function isSame(place: Place, stat: BigIntStats): boolean {
  return stat.dev === place.dev && stat.ino === place.ino && stat.birthtimeNs === place.born && kindOf(stat) === place.kind
}

export function kindOf(stat: BigIntStats): PlaceKind {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'folder'
  return stat.isSymbolicLink() ? 'symlink' : 'special'
}
