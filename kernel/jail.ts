/**
 * The second wall around an actor's process on Linux: bwrap, where it works. Node's permissions decide what the code may ask for; this
 * decides what is there at all: its own process, network, IPC and mount namespaces, its code, and the paths its manifest names.
 *
 * Not around actors that start processes (those jail what they start), nor around those that move files between folders: each folder is a
 * mount of its own in a jail, and a rename does not cross mounts.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Permissions } from './types.ts'

/** Where distributions put it. Not looked up in PATH: that is the member's to set, and this is a wall. */
const places = ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap']
const systemFiles = ['/lib', '/lib64', '/lib32', '/etc/alternatives', '/etc/ld.so.cache', '/etc/localtime']
/** What resolving names and trusting certificates needs. */
const networkFiles = ['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf', '/etc/ssl', '/etc/ca-certificates', '/etc/pki']
/** Only ends one that hangs: namespaces are there at once or not at all. */
const probeMs = 10_000

export type Jail = { bwrap: string } | { why: string }

let tried: Promise<Jail> | null = null

/** Tried once, for all actors: whether namespaces may be made does not change while the daemon runs. */
export function findJail(): Promise<Jail> {
  tried ??= probe()
  return tried
}

async function probe(): Promise<Jail> {
  if (process.platform !== 'linux') return { why: `there is no jail on ${process.platform} yet` }
  const bwrap = places.find((path) => existsSync(path))
  if (!bwrap) return { why: 'bwrap is not installed' }
  const words = [...jailArgs({}, []), process.execPath, '--version']
  const child = spawn(bwrap, words, { env: {}, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], timeout: probeMs, killSignal: 'SIGKILL' })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-300)
  })
  const status = await new Promise<number | null>((resolve) => child.on('error', () => resolve(null)).on('close', resolve))
  return status === 0 ? { bwrap } : { why: `bwrap: ${said.trim() || `exit status ${status}`}` }
}

/** Up to the program. The program is process 1 of its namespace, so that ending either ends both. */
export function jailArgs({ fsRead = [], fsWrite = [], net = false }: Permissions, code: readonly string[]): string[] {
  const bind = (option: string, paths: readonly string[]): string[] => paths.flatMap((path) => [option, path, path])
  return [
    '--unshare-all',
    ...(net ? ['--share-net'] : []),
    '--die-with-parent',
    '--new-session',
    '--as-pid-1',
    '--cap-drop',
    'ALL',
    '--hostname',
    'bulkhead',
    ...bind('--ro-bind', ['/usr']),
    ...bind('--ro-bind-try', [...systemFiles, ...(net ? networkFiles : [])]),
    ...bind('--ro-bind', [dirname(process.execPath)]),
    '--dev',
    '/dev',
    ...bind('--ro-bind-try', [...code, ...fsRead].map(bare)),
    ...bind('--bind-try', fsWrite.map(bare)),
    '--chdir',
    '/',
    '--',
  ]
}

/** Node's `folder/*` and `folder/` are the folder. */
function bare(path: string): string {
  return path.replace(/\/\*?$/, '') || '/'
}
