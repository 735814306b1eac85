/** The doctor's look at the machine itself: virtualisation, namespaces, folders, space, model. */
import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { allowNamespaces } from './doctor-actors.ts'
import { type DoctorCheck, info, missing, ok } from './doctor-report.ts'
import { findCommand } from './find-command.js'

const gibibyte = 1024 ** 3
/** A namespace is there at once or not at all; this only ends a program that hangs. */
const probeTimeoutMs = 10_000

/** What opens `/dev/kvm` to a member. */
export const openKvm = 'As root: usermod -aG kvm USER, then log in again.'

export function kvmCheck(): DoctorCheck {
  const name = 'hardware virtualisation'
  if (process.platform !== 'linux') return { name, ok: true, level: 'unverified', detail: `not tried on ${process.platform}` }
  const slow = 'the VM is emulated: slower, and labelled `isolation: reduced`'
  if (!existsSync('/dev/kvm'))
    return info(name, `no /dev/kvm; ${slow}`, 'Switch on virtualisation in the firmware, or nested virtualisation in the hypervisor.')
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
    return ok(name, '/dev/kvm can be opened; whether it runs a guest is tried when the VM starts (`bulkhead vm status`)')
  } catch {
    return info(name, `/dev/kvm is not open to this user; ${slow}`, openKvm)
  }
}

/** Runs `true` in the namespaces the VM's jail uses. */
export async function namespaceCheck(env: NodeJS.ProcessEnv): Promise<DoctorCheck> {
  const name = 'namespaces'
  if (process.platform !== 'linux') return { name, ok: true, level: 'unverified', detail: `no jail on ${process.platform}` }
  const bwrap = findCommand('bwrap', env)
  if (!bwrap) return info(name, 'cannot be tried without bubblewrap; the VM runs without its jail', 'Install bubblewrap.')
  const failure = await failureOf(bwrap, ['--unshare-all', '--die-with-parent', '--ro-bind', '/', '/', '--', 'true'])
  if (failure === null) return ok(name, 'bwrap can make them: the VM process runs jailed')
  return info(name, `bwrap cannot make them, so the VM process runs without its jail: ${failure}`, allowNamespaces)
}

function failureOf(file: string, args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(file, args, { timeout: probeTimeoutMs }, (error, _stdout, stderr) => resolve(error ? stderr.trim() || error.message : null))
  })
}

/** A folder of the product's state is nobody else's business. */
export function folderCheck(name: string, path: string | undefined): DoctorCheck[] {
  if (path === undefined) return []
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat) return [info(name, `${path}: made at the first start`)]
  if (!stat.isDirectory()) return [missing(name, `${path} is not a folder`, `Move it away: mv ${path} ${path}.old`)]
  if (process.getuid && stat.uid !== process.getuid())
    return [missing(name, `${path} belongs to another user (uid ${stat.uid})`, `As root: chown -R ${process.getuid()} ${path}`)]
  const mode = stat.mode & 0o777
  if (process.platform !== 'win32' && mode & 0o077)
    return [missing(name, `${path} is open to others (mode ${mode.toString(8)})`, `chmod 700 ${path}`)]
  return [ok(name, `${path}, mode ${mode.toString(8)}`)]
}

/** Free space where `path` is or will be. */
export async function spaceCheck(name: string, path: string | undefined, neededGiB: number): Promise<DoctorCheck[]> {
  if (path === undefined) return []
  let place = path
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place)
  const { bavail, bsize } = await statfs(place)
  const free = (bavail * bsize) / gibibyte
  const detail = `${free.toFixed(1)} GiB free at ${place}`
  if (free < neededGiB)
    return [
      missing(name, `${detail}, ${neededGiB} GiB needed`, 'Free some space, or set XDG_CACHE_HOME and BULKHEAD_HOME to a larger disk.'),
    ]
  return [ok(name, detail)]
}

export function modelCheck(env: NodeJS.ProcessEnv): DoctorCheck {
  const base = env.ANTHROPIC_BASE_URL
  const at = base ? ` at ${withoutSecrets(base)}` : ''
  if (env.ANTHROPIC_API_KEY) return ok('model', `ANTHROPIC_API_KEY is set; the Messages API${at} answers`)
  if (base) return info('model', `the Messages API${at} answers, without a key`)
  return info(
    'model',
    'no ANTHROPIC_API_KEY: the built-in practice model answers plain requests',
    'Set ANTHROPIC_API_KEY for a real model.',
  )
}

function withoutSecrets(address: string): string {
  if (!URL.canParse(address)) return 'an address that is not a URL'
  const { origin, pathname } = new URL(address)
  return origin + pathname
}
