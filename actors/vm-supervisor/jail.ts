/** The file system and namespaces QEMU gets on Linux, as bwrap's command line. Pure. */

export type JailArgs = {
  /** Files and folders it may read, at the same place inside. */
  readable: readonly string[]
  /** Device nodes it needs (`/dev/kvm`). */
  devices: readonly string[]
  /** Folder it may write in, and where that is inside. */
  writable?: { path: string; at: string }
  /** Descriptor on which bwrap writes `{"child-pid": n}`. */
  infoFd?: number
}

/**
 * Own user, mount, process, network, IPC and host-name namespaces; programs and libraries read-only; nothing of the member's files; no
 * `/proc`; dies with the supervisor. QEMU is its process 1, so that killing either ends both.
 */
export function jailArgs({ readable, writable, devices, infoFd }: JailArgs): string[] {
  // biome-ignore format: one option a line
  return [
    ...(infoFd === undefined ? [] : ['--info-fd', String(infoFd)]),
    '--unshare-all',
    '--die-with-parent',
    '--new-session',
    '--as-pid-1',
    '--cap-drop', 'ALL',
    '--hostname', 'bulkhead',
    '--ro-bind', '/usr', '/usr',
    ...['/lib', '/lib64', '/bin', '/etc/alternatives', '/etc/ld.so.cache'].flatMap((path) => ['--ro-bind-try', path, path]),
    '--dev', '/dev',
    ...devices.flatMap((path) => ['--dev-bind-try', path, path]),
    ...readable.flatMap((path) => ['--ro-bind', path, path]),
    ...(writable ? ['--bind', writable.path, writable.at] : []),
    '--chdir', '/',
    '--',
  ]
}
