/** Where the product keeps things, and that its runtime folder is safe to put a socket in. */
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fault, isFault } from '../kernel/index.ts'
import { imagePlace } from '../setup/places.js'
import { maxSocketPath } from './limits.ts'

export type Places = {
  /** State: journal, VM state, logs. */
  home: string
  /** 0700: the socket, the daemon's record. */
  runtimeDir: string
  imageDir: string
  socket: string
}

const uid = (): number => process.getuid?.() ?? 0

/** Works them out; makes nothing. One runtime folder per home, so that two homes are two daemons. */
export function findPlaces(env: NodeJS.ProcessEnv): Places {
  const home = resolve(env['BULKHEAD_HOME'] || join(env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'bulkhead'))
  const hash = createHash('sha256').update(home).digest('hex').slice(0, 10)
  const own = `bulkhead-${uid()}-${hash}`
  const candidates = [
    ...(env['XDG_RUNTIME_DIR'] ? [join(env['XDG_RUNTIME_DIR'], `bulkhead-${hash}`)] : []),
    join(tmpdir(), own),
    join('/tmp', own),
  ]
  const runtimeDir = candidates.find((dir) => Buffer.byteLength(socketIn(dir)) <= maxSocketPath) ?? join('/tmp', own)
  return { home, runtimeDir, imageDir: imagePlace(env), socket: socketIn(runtimeDir) }
}

const socketIn = (dir: string): string => join(dir, 'daemon.sock')

/** Makes the folders, and refuses a runtime folder that someone else owns or could write: the socket in it is the way to all authority. */
export function makePlaces(places: Places): void {
  try {
    for (const dir of [places.home, join(places.home, 'logs')]) mkdirSync(dir, { recursive: true, mode: 0o700 })
    mkdirSync(places.runtimeDir, { recursive: true, mode: 0o700 })
    checkRuntimeDir(places.runtimeDir)
  } catch (error) {
    if (isFault(error)) throw error
    throw fault('io-failed', 'The folders for state and sockets cannot be made.', {
      cause: error instanceof Error ? error.message : String(error),
    })
  }
}

function checkRuntimeDir(dir: string): void {
  const { mode, uid: owner, ...stat } = lstatOf(dir)
  const refuse = (cause: string) =>
    fault('unsafe-runtime-dir', `${dir} is not safe for a socket.`, { cause, rule: 'own folder, mode 0700' })
  if (!stat.isFolder) throw refuse('it is not a folder')
  if (process.getuid && owner !== uid()) throw refuse(`it belongs to user ${owner}`)
  if ((mode & 0o077) !== 0) throw refuse(`its mode is ${(mode & 0o777).toString(8)}`)
}

function lstatOf(dir: string): { mode: number; uid: number; isFolder: boolean } {
  const stat = lstatSync(dir)
  return { mode: stat.mode, uid: stat.uid, isFolder: stat.isDirectory() }
}
