/**
 * The second wall around an actor's process on Linux: bwrap, where it works. Node's permissions decide what the code may ask for; this
 * decides what is there at all: its own process, network, IPC and mount namespaces, its code, and the paths its manifest names.
 *
 * A name is there as it was when the process started: a single file stays that file when another is renamed over it. Folders live on. An
 * actor that needs single files of a folder alive names the folder (`jail.whole` of its manifest): what else is in it is covered.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Manifest, Permissions } from './types.ts'

/** Where distributions put it. Not looked up in PATH: that is the member's to set, and this is a wall. */
const places = ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap']
const systemFiles = ['/lib', '/lib64', '/lib32']
/** Of `/etc`, what every program needs. */
const systemSettings = ['/etc/alternatives', '/etc/ld.so.cache', '/etc/localtime']
/** Only ends one that hangs: namespaces are there at once or not at all. */
const probeMs = 10_000
/** What root has over files of others. Inside, over those that are there. */
const fileCapabilities = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER']

export type Jail = { bwrap: string; proc: boolean } | { why: string }

/** What an actor's process needs to be there. `cache`: where it keeps compiled code while it loads. */
export type Inside = { permissions: Permissions; code: readonly string[]; cache?: string | null; whole?: readonly string[] }

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
  // A path to write in, for what root needs besides.
  const why = await attempt(bwrap, { fsRead: ['/proc/'], fsWrite: ['/nonexistent'] })
  if (why === null) return { bwrap, proc: true }
  return (await attempt(bwrap, { fsWrite: ['/nonexistent'] })) === null ? { bwrap, proc: false } : { why }
}

/** What is in the way, or null. */
async function attempt(bwrap: string, permissions: Permissions): Promise<string | null> {
  const words = [...jailArgs({ permissions, code: [] }), process.execPath, '--version']
  const child = spawn(bwrap, words, { env: {}, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], timeout: probeMs, killSignal: 'SIGKILL' })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-300)
  })
  const status = await new Promise<number | null>((resolve) => child.on('error', () => resolve(null)).on('close', resolve))
  return status === 0 ? null : `bwrap: ${said.trim() || `exit status ${status}`}`
}

/** How to start an actor in the jail that its manifest has, or why not. Makes the folders it may write that are not there yet. */
export async function jailOf(
  { jail }: Manifest,
  params: Record<string, unknown>,
  inside: Inside,
): Promise<{ command: string; args: string[] } | { why: string }> {
  if (jail && 'none' in jail) return { why: jail.none }
  const found = await findJail()
  if ('why' in found) return found
  const { fsRead = [], fsWrite = [] } = inside.permissions
  if (!found.proc && [...fsRead, ...fsWrite].some(inProc)) return { why: 'it needs a /proc of its own, which cannot be mounted here' }
  for (const path of fsWrite) if (isFolder(path) && !inProc(path)) mkdirSync(bare(path), { recursive: true, mode: 0o700 })
  return { command: found.bwrap, args: jailArgs({ ...inside, whole: jail?.whole(params) ?? [] }) }
}

/** Up to the program. The program is process 1 of its namespace, so that ending either ends both. */
export function jailArgs({ permissions, code, cache = null, whole = [] }: Inside): string[] {
  const { fsRead = [], fsWrite = [], net = false } = permissions
  const named = [...fsRead, ...fsWrite]
  // In a user namespace the files of all others are nobody's; root keeps whose they are.
  const asRoot = process.getuid?.() === 0 && fsWrite.length > 0
  const settings = net || named.some((path) => isWithin(path, '/etc'))
  const folders = whole.filter((path) => existsSync(path))
  const mounts = outermost([
    ...['/usr', ...systemFiles, ...(settings ? ['/etc', ...(net ? resolverPlaces() : [])] : systemSettings)].map(readOnly),
    ...[dirname(process.execPath), ...code, ...fsRead].map(readOnly),
    ...[...fsWrite, ...(cache === null ? [] : [cache])].map((path) => ({ path: bare(path), write: true, whole: false })),
    ...folders.map((path) => ({ path, write: fsWrite.some((other) => isWithin(other, path)), whole: true })),
  ])
  return [
    ...(asRoot ? ['--unshare-ipc', '--unshare-pid', '--unshare-net', '--unshare-uts', '--unshare-cgroup-try'] : ['--unshare-all']),
    ...(net ? ['--share-net'] : []),
    '--die-with-parent',
    '--new-session',
    '--as-pid-1',
    '--cap-drop',
    'ALL',
    ...(asRoot ? fileCapabilities.flatMap((name) => ['--cap-add', name]) : []),
    '--hostname',
    'bulkhead',
    ...mounts.filter(({ path }) => path === '/').flatMap(bind),
    '--dev',
    '/dev',
    ...(named.some(inProc) ? ['--proc', '/proc'] : []),
    ...mounts.filter(({ path }) => path !== '/').flatMap(bind),
    ...folders.flatMap((path) => covers(path, named.map(bare))),
    // What it may write is what was named.
    '--remount-ro',
    '/',
    '--chdir',
    '/',
    '--',
  ]
}

type Mount = { path: string; write: boolean; whole: boolean }

/** Parents first, and nothing that is there already as it is needed. What may only be read stays so in a folder that is there as a whole. */
function outermost(mounts: readonly Mount[]): Mount[] {
  const there: Mount[] = []
  return mounts
    .filter(({ path }) => !inProc(path))
    .toSorted((a, b) => compare(a.path, b.path) || Number(b.write) - Number(a.write))
    .filter((mount) => {
      const had = there.some(({ path, write, whole }) => isWithin(mount.path, path) && (write ? mount.write || !whole : !mount.write))
      there.push(mount)
      return !had
    })
}

const compare = (a: string, b: string): number => Number(a > b) - Number(a < b)
const bind = ({ path, write }: Mount): string[] => [write ? '--bind-try' : '--ro-bind-try', path, path]

/** What lies in a folder that is there as a whole, and is not named. */
function covers(folder: string, named: readonly string[]): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isSymbolicLink() || named.some((other) => isWithin(path, other) || isWithin(other, path))) return []
    return entry.isDirectory() ? ['--tmpfs', path, '--remount-ro', path] : ['--ro-bind', '/dev/null', path]
  })
}

/** Behind `/etc/resolv.conf`, which is often a link, and replaced when the machine changes networks. */
function resolverPlaces(): string[] {
  try {
    return [dirname(realpathSync('/etc/resolv.conf'))]
  } catch {
    return []
  }
}

const readOnly = (path: string): Mount => ({ path: bare(path), write: false, whole: false })
const isFolder = (path: string): boolean => /\/\*?$/.test(path)
const inProc = (path: string): boolean => path === '/proc' || path.startsWith('/proc/')
const isWithin = (path: string, folder: string): boolean => path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)

/** Node's `folder/*` and `folder/` are the folder. */
function bare(path: string): string {
  return path.replace(/\/\*?$/, '') || '/'
}
