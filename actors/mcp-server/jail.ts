/** The file system, namespaces and environment a tool server gets. Pure. */
import { delimiter, dirname } from 'node:path'
import type { LaunchSpec } from './protocol.ts'

/** Programs are looked for where systems keep them; the pinned Node comes first. */
const systemPath = ['/usr/local/bin', '/usr/bin', '/bin', '/opt/homebrew/bin']

/** Variables by which a program could be made to load foreign code into the jail's own start; a server's settings cannot set them. */
const reserved = /^(?:LD_|DYLD_|BULKHEAD_)/

/** What resolving names and trusting certificates needs. Only with network. */
const networkFiles = ['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf', '/etc/ssl', '/etc/ca-certificates', '/etc/pki']

const systemFiles = [
  '/lib',
  '/lib64',
  '/lib32',
  '/bin',
  '/sbin',
  '/etc/alternatives',
  '/etc/ld.so.cache',
  '/etc/localtime',
  '/etc/passwd',
  '/etc/group',
]

/** The environment, whole: nothing is inherited. */
export function environmentOf({ env, data, nodeBinary }: LaunchSpec): Record<string, string> {
  const given = Object.fromEntries(Object.entries(env).filter(([name]) => !reserved.test(name)))
  return { PATH: [dirname(nodeBinary), ...systemPath].join(delimiter), HOME: data, TMPDIR: '/tmp', LANG: 'C.UTF-8', ...given }
}

/** What is started: `node` is the pinned one, whatever else is looked for in PATH. */
export function programOf({ command, args, nodeBinary }: LaunchSpec): readonly [string, ...string[]] {
  return [command === 'node' ? nodeBinary : command, ...args]
}

/**
 * bwrap's arguments up to the program: own user, mount, process, IPC, host-name and (unless granted) network namespace; system programs
 * read-only, its code read-only, its data folder and the granted folders; its own empty /tmp. Everything in it ends with the jail, and
 * the jail with the actor.
 */
export function jailArgs(spec: LaunchSpec): string[] {
  const { network, folders, code, data, nodeBinary } = spec
  // biome-ignore format: one option a line
  return [
    '--unshare-all',
    ...(network ? ['--share-net'] : []),
    '--die-with-parent',
    '--new-session',
    '--cap-drop', 'ALL',
    '--hostname', 'bulkhead',
    '--clearenv',
    ...Object.entries(environmentOf(spec)).flatMap(([name, value]) => ['--setenv', name, value]),
    '--ro-bind', '/usr', '/usr',
    ...[...systemFiles, ...(network ? networkFiles : [])].flatMap((path) => ['--ro-bind-try', path, path]),
    '--proc', '/proc',
    '--dev', '/dev',
    '--tmpfs', '/tmp',
    ...[dirname(nodeBinary), ...code].flatMap((path) => ['--ro-bind', path, path]),
    '--bind', data, data,
    ...folders.flatMap(({ path, mode }) => [mode === 'rw' ? '--bind' : '--ro-bind', path, path]),
    '--chdir', data,
    '--',
  ]
}
