/**
 * How each system names what an open descriptor holds, so that the walk (`walk.ts`) can go from handle to handle. Only Linux has been tried; the others
 * are written to their systems' documentation and type-checked, and nobody has run them.
 *
 *   linux   `/proc/self/fd/N/name` is what openat(N, name) would open; O_PATH opens a place without what is there
 *   darwin  `/.vol/DEVICE/INODE/name` names an entry of a folder by the folder's identity, wherever it is now; O_NOFOLLOW_ANY refuses each link
 *   win32   a handle cannot be opened relative to another, so the path is opened and then asked where it led: any other place, and any reparse
 *           point (link, junction, mount), is refused; links are not followed at all
 */
import * as fs from 'node:fs'

export type HandleVariant = {
  /** Paths a process must be allowed for its handles' names. */
  readonly names: readonly string[]
  /** The path of `name` inside the open folder `fd`. */
  at(fd: number, name: string): string
  /** The path of what `fd` itself holds. */
  self(fd: number): string
  /** A handle on what is at a path, links not followed. Fails with ENOTDIR on what is no folder if one is wanted. */
  openPlace(path: string, kind: 'any' | 'folder'): number
  /** The same for the connected folder, whose path may lead through links. */
  openRoot(path: string): number
  /** Opens with flags what the handle holds. */
  openHeld(fd: number, flags: number): number
  /** Another handle on the same place. */
  duplicate(fd: number): number
  /** Where it is now, by the system's account; null when it has been deleted. */
  whereIs(fd: number): string | null
  close(fd: number): void
}

const { O_RDONLY, O_NOFOLLOW, O_DIRECTORY, O_NONBLOCK } = fs.constants

/** Not among Node's constants; the same on every Linux architecture Node runs on. */
const O_PATH = 0o10000000

const linux: HandleVariant = {
  names: ['/proc/self/fd/'],
  at: (fd, name) => `/proc/self/fd/${fd}/${name}`,
  self: (fd) => `/proc/self/fd/${fd}`,
  openPlace: (path, kind) => fs.openSync(path, kind === 'folder' ? O_PATH | O_NOFOLLOW | O_DIRECTORY : O_PATH | O_NOFOLLOW),
  openRoot: (path) => fs.openSync(path, O_PATH | O_DIRECTORY),
  openHeld: (fd, flags) => fs.openSync(`/proc/self/fd/${fd}`, flags | O_NONBLOCK),
  duplicate: (fd) => fs.openSync(`/proc/self/fd/${fd}`, O_PATH),
  whereIs(fd) {
    const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
    // A file whose real name ends so is taken for deleted too: then it is just not found again by name.
    return path.endsWith(' (deleted)') ? null : path
  },
  close: (fd) => fs.closeSync(fd),
}

/** macOS, sys/fcntl.h. O_EVTONLY: for notifications, which holds a place without the right to read it; O_SYMLINK: a link itself. */
const darwinFlags = { O_EVTONLY: 0x8000, O_SYMLINK: 0x20_0000, O_NOFOLLOW_ANY: 0x2000_0000 }

/** The name of a file by identity. */
export function volumePath({ dev, ino }: { dev: bigint; ino: bigint }): string {
  return `/.vol/${dev}/${ino}`
}

const held = (fd: number) => volumePath(fs.fstatSync(fd, { bigint: true }))

const darwin: HandleVariant = {
  names: ['/.vol/'],
  at: (fd, name) => `${held(fd)}/${name}`,
  self: held,
  openPlace(path, kind) {
    const { O_EVTONLY, O_SYMLINK, O_NOFOLLOW_ANY } = darwinFlags
    return fs.openSync(path, kind === 'folder' ? O_EVTONLY | O_DIRECTORY | O_NOFOLLOW_ANY : O_EVTONLY | O_SYMLINK)
  },
  openRoot: (path) => fs.openSync(path, darwinFlags.O_EVTONLY | O_DIRECTORY),
  openHeld: (fd, flags) => fs.openSync(held(fd), flags | O_NONBLOCK | darwinFlags.O_NOFOLLOW_ANY),
  duplicate: (fd) => darwin.openPlace(held(fd), 'any'),
  whereIs(fd) {
    try {
      return fs.realpathSync.native(held(fd))
    } catch {
      return null
    }
  },
  close: (fd) => fs.closeSync(fd),
}

/** `\\?\`: no rewriting of names, no limit of 260 characters. */
const verbatim = '\\\\?\\'

/** Whether the final path of an opened handle is the one that was opened, `\\?\` or not, in whatever case. */
export function isFinalPath(opened: string, final: string): boolean {
  const plain = (path: string) => (path.startsWith(verbatim) ? path.slice(verbatim.length) : path).normalize('NFC').toLowerCase()
  return plain(opened) === plain(final)
}

/** By descriptor, because the system has no name for a handle. */
const paths = new Map<number, string>()

function openChecked(path: string, flags: number, kind: 'any' | 'folder'): number {
  if (fs.lstatSync(path).isSymbolicLink()) throw systemError('ELOOP')
  const fd = fs.openSync(path, flags)
  const stat = fs.fstatSync(fd)
  const wrong = kind === 'folder' && !stat.isDirectory() ? 'ENOTDIR' : isFinalPath(path, fs.realpathSync.native(path)) ? null : 'ELOOP'
  const there = fs.lstatSync(path, { throwIfNoEntry: false })
  if (wrong !== null || there?.ino !== stat.ino || there.dev !== stat.dev) {
    fs.closeSync(fd)
    throw systemError(wrong ?? 'ELOOP')
  }
  paths.set(fd, path)
  return fd
}

const pathOf = (fd: number): string => paths.get(fd) ?? ''

const win32: HandleVariant = {
  names: [],
  at: (fd, name) => `${pathOf(fd)}\\${name}`,
  self: pathOf,
  openPlace: (path, kind) => openChecked(path, O_RDONLY, kind),
  openRoot: (path) => openChecked(`${verbatim}${fs.realpathSync.native(path)}`, O_RDONLY, 'folder'),
  openHeld(fd, flags) {
    const opened = openChecked(pathOf(fd), flags, 'any')
    const [one, other] = [fs.fstatSync(fd), fs.fstatSync(opened)]
    if (one.ino === other.ino && one.dev === other.dev) return opened
    win32.close(opened)
    throw systemError('ESTALE')
  },
  duplicate: (fd) => win32.openHeld(fd, O_RDONLY),
  whereIs(fd) {
    const path = pathOf(fd)
    const there = fs.lstatSync(path, { throwIfNoEntry: false })
    const stat = fs.fstatSync(fd)
    if (there?.ino !== stat.ino || there.dev !== stat.dev) return null
    return path.startsWith(verbatim) ? path.slice(verbatim.length) : path
  },
  close(fd) {
    paths.delete(fd)
    fs.closeSync(fd)
  },
}

export function handleVariant(platform: string): HandleVariant {
  if (platform === 'darwin') return darwin
  return platform === 'win32' ? win32 : linux
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}
