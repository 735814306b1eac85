/**
 * Open descriptors, and names relative to them. Linux without native code: `/proc/self/fd/N/name` is what openat(N, name) would open,
 * and `/proc/self/fd/N` alone opens again what N holds, whatever its name is by now.
 */
import * as fs from 'node:fs'

const { O_RDONLY, O_NOFOLLOW, O_DIRECTORY, O_NONBLOCK } = fs.constants
/** Not among Node's constants; the same on every Linux architecture Node runs on. Opens a place without opening what is there. */
const O_PATH = 0o10000000

/** The path of `name` inside the open folder `fd`. `name` is one component and never `..`. */
export function at(fd: number, name: string): string {
  return `/proc/self/fd/${fd}/${name}`
}

/** The path of what `fd` itself holds. */
export function self(fd: number): string {
  return `/proc/self/fd/${fd}`
}

/** A handle on whatever has this name, links and special files included: nothing is read, woken or followed. */
export function openPlace(fd: number, name: string): number {
  return fs.openSync(at(fd, name), O_PATH | O_NOFOLLOW)
}

/** The same for the connected folder, whose own path may lead through links: the member chose it. */
export function openRoot(path: string): number {
  return fs.openSync(path, O_PATH | O_DIRECTORY)
}

/** A handle on a folder; fails with ENOTDIR on anything else, links included. */
export function openFolder(fd: number, name: string): number {
  return fs.openSync(at(fd, name), O_PATH | O_NOFOLLOW | O_DIRECTORY)
}

/** Another handle on the same place. */
export function duplicate(fd: number): number {
  return fs.openSync(self(fd), O_PATH)
}

/** Opens for reading what the handle holds. Call only when it is known to be a regular file; O_NONBLOCK in case it is not. */
export function openHeld(fd: number, flags: number = O_RDONLY): number {
  return fs.openSync(self(fd), flags | O_NONBLOCK)
}

/** Where the held place is now, by the system's account; null when it has been deleted. */
export function whereIs(fd: number): string | null {
  const path = fs.readlinkSync(self(fd))
  // A file whose real name ends so is taken for deleted too: then it is just not found again by name.
  return path.endsWith(' (deleted)') ? null : path
}

export function close(fd: number): void {
  fs.closeSync(fd)
}

/** A descriptor with several users; the last one closes it. */
export type SharedHandle = { readonly fd: number; users: number }

/** Closes everything opened in it, in every way out of the function. */
export class Scope {
  readonly #open = new Set<number>()
  #borrowed: { handle: SharedHandle; giveBack: (handle: SharedHandle) => void }[] = []

  /** Takes charge of a descriptor. */
  own(fd: number): number {
    this.#open.add(fd)
    return fd
  }

  /** Closes one early. */
  release(fd: number): void {
    if (this.#open.delete(fd)) close(fd)
  }

  /** Gives a descriptor away: the caller closes it. */
  disown(fd: number): number {
    this.#open.delete(fd)
    return fd
  }

  owns(fd: number): boolean {
    return this.#open.has(fd)
  }

  /** Uses a descriptor that stays somebody else's. */
  borrow(handle: SharedHandle, giveBack: (handle: SharedHandle) => void): void {
    handle.users += 1
    this.#borrowed.push({ handle, giveBack })
  }

  closeAll(): void {
    for (const fd of this.#open) close(fd)
    this.#open.clear()
    for (const { handle, giveBack } of this.#borrowed) giveBack(handle)
    this.#borrowed = []
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
