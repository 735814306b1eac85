/**
 * The two system calls Node withholds under its permission model: fsync, and making a symbolic link.
 *
 * Without the permission model (tests, inline placement) Node's own are used. With it and `--allow-wasi` the WASI implementation built
 * into Node does them: it is given the folder of open handles and the connected folder and nothing else, and right after that the
 * permission to make another one is dropped, so nothing wider can follow. Without either, links are refused and data is made durable
 * by writing it through (O_SYNC), directories not at all.
 */
import { Buffer } from 'node:buffer'
import * as fs from 'node:fs'
import { WASI } from 'node:wasi'
import { at, close, self } from './handles.ts'
import { limits } from './limits.ts'

export type Syscalls = {
  /** Which of the three ways above is in use. */
  readonly by: 'node' | 'wasi' | 'none'
  /** Makes `name` in the open folder `fd` a link with this text. Throws errors with Node's codes. */
  symlink(text: string, fd: number, name: string): void
  /**
   * Makes a file's or folder's content durable. `fd` is an open file, or any handle on a folder; `parts` say where it is, for WASI, which opens it
   * once more by name: when another was put there meanwhile, that one is synced, which does no harm.
   */
  sync(fd: number, parts: readonly string[], kind: 'file' | 'folder'): void
}

/** The permission is gone after the first use, so a folder that is opened again gets what was made then. A process serves one folder. */
let made: { rootPath: string; calls: Syscalls } | null = null

export function syscallsFor(rootPath: string): Syscalls {
  const permission = process.permission as NodeJS.ProcessPermission | undefined
  if (!permission) return nodeSyscalls
  // WASI would have to be given the folder of open handles, which only Linux has.
  if (process.platform !== 'linux') return noSyscalls
  if (made?.rootPath === rootPath) return made.calls
  if (!permission.has('wasi')) return noSyscalls
  made = { rootPath, calls: wasiSyscalls(rootPath) }
  permission.drop('wasi')
  return made.calls
}

const nodeSyscalls: Syscalls = {
  by: 'node',
  symlink: (text, fd, name) => fs.symlinkSync(text, at(fd, name)),
  sync(fd, _, kind) {
    if (kind === 'file') return fs.fsyncSync(fd)
    // Folders are held by place handles, which cannot be synced.
    const opened = fs.openSync(self(fd), fs.constants.O_RDONLY)
    try {
      fs.fsyncSync(opened)
    } finally {
      close(opened)
    }
  },
}

const noSyscalls: Syscalls = {
  by: 'none',
  symlink() {
    throw systemError('EPERM')
  },
  sync() {},
}

/** Not in the type libraries this project loads. */
declare const WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } }

const handlesFd = 3
const rootFd = 4
const rightToSync = 1n << 4n
const openDirectory = 2
const nonBlocking = 4
/** Places in the one page of memory that arguments are passed in. */
const page = { text: 0, name: 16_384, result: 49_152 }
const errnoNames: Readonly<Record<number, string>> = {
  2: 'EACCES',
  19: 'EDQUOT',
  20: 'EEXIST',
  28: 'EINVAL',
  32: 'ELOOP',
  37: 'ENAMETOOLONG',
  44: 'ENOENT',
  51: 'ENOSPC',
  54: 'ENOTDIR',
  63: 'EPERM',
  69: 'EROFS',
}

/** Calls Node's WASI functions directly: they need a memory for their arguments, no WebAssembly code. */
function wasiSyscalls(rootPath: string): Syscalls {
  const memory = new WebAssembly.Memory({ initial: 1 })
  // The handles are at the top: WASI takes a link's text for a path from there, and refuses one that `..` leads above it. Where links may
  // lead is for the gate to say, and it has said so.
  const wasi = new WASI({ version: 'preview1', preopens: { '/': '/proc/self/fd', '/root': rootPath }, returnOnExit: true })
  wasi.initialize({ exports: { memory } })
  const calls = wasi.wasiImport as Record<'path_symlink' | 'path_open' | 'fd_sync' | 'fd_close', (...args: (number | bigint)[]) => number>
  const bytes = Buffer.from(memory.buffer)
  const put = (text: string, offset: number) => {
    const encoded = Buffer.from(text)
    if (encoded.length > limits.pathBytes * 2) throw systemError('ENAMETOOLONG')
    return encoded.copy(bytes, offset)
  }
  return {
    by: 'wasi',
    symlink(text, fd, name) {
      const textLength = put(text, page.text)
      const nameLength = put(`${fd}/${name}`, page.name)
      check(calls.path_symlink(page.text, textLength, handlesFd, page.name, nameLength))
    },
    sync(_, parts, kind) {
      const nameLength = put(parts.length === 0 ? '.' : parts.join('/'), page.name)
      const opened = calls.path_open(
        rootFd,
        0,
        page.name,
        nameLength,
        kind === 'folder' ? openDirectory : 0,
        rightToSync,
        0n,
        nonBlocking,
        page.result,
      )
      // Renamed or deleted meanwhile: whoever did that has the newer state to make durable.
      if (opened !== 0) return
      const held = bytes.readUInt32LE(page.result)
      const synced = calls.fd_sync(held)
      calls.fd_close(held)
      check(synced)
    },
  }
}

function check(errno: number): void {
  if (errno !== 0) throw systemError(errnoNames[errno] ?? 'EIO')
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}
