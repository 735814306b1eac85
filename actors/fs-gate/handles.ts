/** Open descriptors, and names relative to them, in the way the system has for it (`handle-variants.ts`). */
import * as fs from 'node:fs'
import { handleVariant } from './handle-variants.ts'

const variant = handleVariant(process.platform)

/** The path of `name` inside the open folder `fd`. `name` is one component and never `..`. */
export function at(fd: number, name: string): string {
  return variant.at(fd, name)
}

/** The path of what `fd` itself holds. */
export function self(fd: number): string {
  return variant.self(fd)
}

/** A handle on whatever has this name, links and special files included: nothing is read, woken or followed. */
export function openPlace(fd: number, name: string): number {
  return variant.openPlace(variant.at(fd, name), 'any')
}

/** The same for the connected folder, whose own path may lead through links: the member chose it. */
export function openRoot(path: string): number {
  return variant.openRoot(path)
}

/** A handle on a folder; fails with ENOTDIR on anything else, links included. */
export function openFolder(fd: number, name: string): number {
  return variant.openPlace(variant.at(fd, name), 'folder')
}

/** Another handle on the same place. */
export function duplicate(fd: number): number {
  return variant.duplicate(fd)
}

/** Opens for reading what the handle holds. Call only when it is known to be a regular file; O_NONBLOCK in case it is not. */
export function openHeld(fd: number, flags: number = fs.constants.O_RDONLY): number {
  return variant.openHeld(fd, flags)
}

/** Where the held place is now, by the system's account; null when it has been deleted. */
export function whereIs(fd: number): string | null {
  return variant.whereIs(fd)
}

export function close(fd: number): void {
  variant.close(fd)
}

/** A descriptor with several users; the last one closes it. */
export type SharedHandle = { readonly fd: number; users: number }

/** Closes everything opened in it, in every way out of the function. */
export class Scope {
  /** A handful: an array costs less than a set. */
  #open: number[] = []
  #borrowed: { handle: SharedHandle; giveBack: (handle: SharedHandle) => void }[] = []

  /** Takes charge of a descriptor. */
  own(fd: number): number {
    this.#open.push(fd)
    return fd
  }

  /** Closes one early. */
  release(fd: number): void {
    if (this.#remove(fd)) close(fd)
  }

  /** Gives a descriptor away: the caller closes it. */
  disown(fd: number): number {
    this.#remove(fd)
    return fd
  }

  owns(fd: number): boolean {
    return this.#open.includes(fd)
  }

  /** Uses a descriptor that stays somebody else's. */
  borrow(handle: SharedHandle, giveBack: (handle: SharedHandle) => void): void {
    handle.users += 1
    this.#borrowed.push({ handle, giveBack })
  }

  closeAll(): void {
    const [open, borrowed] = [this.#open, this.#borrowed]
    this.#open = []
    this.#borrowed = []
    for (const fd of open) close(fd)
    for (const { handle, giveBack } of borrowed) giveBack(handle)
  }

  #remove(fd: number): boolean {
    const index = this.#open.lastIndexOf(fd)
    if (index !== -1) this.#open.splice(index, 1)
    return index !== -1
  }
}

/** Runs `work` with a scope that is closed when it returns, throws or its promise settles. */
export function scoped<T>(work: (scope: Scope) => T): T {
  const scope = new Scope()
  let result: T
  try {
    result = work(scope)
  } catch (error) {
    scope.closeAll()
    throw error
  }
  if (result instanceof Promise) return result.finally(() => scope.closeAll()) as T
  scope.closeAll()
  return result
}
