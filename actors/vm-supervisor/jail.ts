/** The file system, namespaces and user QEMU gets on Linux, as bwrap's command line. Pure. */

export type JailArgs = {
  /** Files it may read, and where they are inside. */
  readable: readonly { path: string; at: string }[]
  /** Device nodes it needs (`/dev/kvm`), and where they are inside. */
  devices: readonly { path: string; at: string }[]
  /** Folder it may write in, and where that is inside. */
  writable?: { path: string; at: string }
  /** Descriptor on which bwrap writes `{"child-pid": n}`. */
  infoFd?: number
  /** User and group of its own, and the groups of the devices it needs; null: the supervisor's, in a user namespace. Takes root to give. */
  user: { id: number; groups: readonly number[] } | null
}

/**
 * Up to the program. Own mount, process, network, IPC and host-name namespaces; programs and libraries read-only; nothing of the member's
 * files; no `/proc`; dies with the supervisor, and with QEMU. QEMU has a user namespace, or a user.
 */
export function jailArgs({ readable, writable, devices, infoFd, user }: JailArgs): string[] {
  // biome-ignore format: one option a line
  return [
    ...(infoFd === undefined ? [] : ['--info-fd', String(infoFd)]),
    ...(user === null ? ['--unshare-all'] : ['ipc', 'pid', 'net', 'uts', 'cgroup-try'].map((kind) => `--unshare-${kind}`)),
    '--die-with-parent',
    '--new-session',
    // As a user of its own it could not be told of its parent's death: bwrap's own process 1 is, and takes the rest of the namespace along.
    ...(user === null ? ['--as-pid-1'] : []),
    '--cap-drop', 'ALL',
    // What `setpriv` needs, which leaves none of it.
    ...(user === null ? [] : ['SETUID', 'SETGID', 'SETPCAP'].flatMap((name) => ['--cap-add', `CAP_${name}`])),
    '--hostname', 'bulkhead',
    '--ro-bind', '/usr', '/usr',
    // Made for what is mounted below it, it would be root's alone.
    '--dir', '/etc',
    ...['/lib', '/lib64', '/bin', '/etc/alternatives', '/etc/ld.so.cache'].flatMap((path) => ['--ro-bind-try', path, path]),
    '--dev', '/dev',
    ...devices.flatMap(({ path, at }) => ['--dev-bind-try', path, at]),
    ...readable.flatMap(({ path, at }) => ['--ro-bind', path, at]),
    ...(writable ? ['--bind', writable.path, writable.at] : []),
    '--chdir', '/',
    '--',
    ...(user === null ? [] : asUser(user)),
  ]
}

function asUser({ id, groups }: { id: number; groups: readonly number[] }): string[] {
  return [
    'setpriv',
    `--reuid=${id}`,
    `--regid=${id}`,
    groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`,
    '--no-new-privs',
    '--inh-caps=-all',
    '--ambient-caps=-all',
    '--bounding-set=-all',
    '--',
  ]
}
