/**
 * System calls a session has no use for, by what they would open, and their numbers. Data only; `seccomp.ts` makes a filter of it.
 * Numbers: the kernel's `asm/unistd_64.h` (x86_64) and `asm-generic/unistd.h` (aarch64); they never change.
 */

export type Architecture = 'x86_64' | 'aarch64'

/** Number on each architecture; null where there is no such call. */
type Numbers = readonly [x86_64: number | null, aarch64: number | null]

/** Refused with EPERM whatever their arguments. */
export const denied: readonly { why: string; calls: Readonly<Record<string, Numbers>> }[] = [
  {
    why: 'namespaces and mounts: a new one brings rights over what hides the rest of the machine',
    calls: {
      unshare: [272, 97],
      setns: [308, 268],
      mount: [165, 40],
      umount2: [166, 39],
      pivot_root: [155, 41],
      chroot: [161, 51],
      open_tree: [428, 428],
      move_mount: [429, 429],
      fsopen: [430, 430],
      fsconfig: [431, 431],
      fsmount: [432, 432],
      fspick: [433, 433],
      mount_setattr: [442, 442],
      open_tree_attr: [467, 467],
    },
  },
  {
    why: 'other processes: their memory, their descriptors',
    calls: {
      ptrace: [101, 117],
      process_vm_readv: [310, 270],
      process_vm_writev: [311, 271],
      kcmp: [312, 272],
      pidfd_getfd: [438, 438],
      process_madvise: [440, 440],
      move_pages: [279, 239],
      migrate_pages: [256, 238],
    },
  },
  {
    why: 'calls that run outside this filter',
    calls: { io_uring_setup: [425, 425], io_uring_enter: [426, 426], io_uring_register: [427, 427] },
  },
  {
    why: 'large parts of the kernel with a history of holes',
    calls: {
      bpf: [321, 280],
      perf_event_open: [298, 241],
      userfaultfd: [323, 282],
      keyctl: [250, 219],
      add_key: [248, 217],
      request_key: [249, 218],
      fanotify_init: [300, 262],
      fanotify_mark: [301, 263],
      mbind: [237, 235],
      set_mempolicy: [238, 237],
      set_mempolicy_home_node: [450, 450],
      lookup_dcookie: [212, 18],
      nfsservctl: [180, 42],
    },
  },
  {
    why: 'files by handle: past every path',
    calls: { open_by_handle_at: [304, 265], name_to_handle_at: [303, 264] },
  },
  {
    why: 'the machine itself: modules, another kernel, its clock, its name, its log, its disks',
    calls: {
      init_module: [175, 105],
      finit_module: [313, 273],
      delete_module: [176, 106],
      create_module: [174, null],
      query_module: [178, null],
      get_kernel_syms: [177, null],
      kexec_load: [246, 104],
      kexec_file_load: [320, 294],
      reboot: [169, 142],
      swapon: [167, 224],
      swapoff: [168, 225],
      acct: [163, 89],
      quotactl: [179, 60],
      quotactl_fd: [443, 443],
      settimeofday: [164, 170],
      clock_settime: [227, 112],
      clock_adjtime: [305, 266],
      adjtimex: [159, 171],
      sethostname: [170, 161],
      setdomainname: [171, 162],
      syslog: [103, 116],
      vhangup: [153, 58],
      ioperm: [173, null],
      iopl: [172, null],
      modify_ldt: [154, null],
      uselib: [134, null],
      ustat: [136, null],
      sysfs: [139, null],
      _sysctl: [156, null],
    },
  },
]

/** Calls that depend on their arguments. */
export const examined = {
  clone: [56, 220],
  clone3: [435, 435],
  socket: [41, 198],
  socketpair: [53, 199],
  ioctl: [16, 29],
  personality: [135, 92],
} as const satisfies Readonly<Record<string, Numbers>>

/** `CLONE_NEW…` of mount, cgroup, uts, ipc, user, pid and network namespaces. */
export const namespaceFlags = 0x7e02_0000

/** Terminal input made up for others, line disciplines, virtual consoles; and the one by which a file leaves its owner's disk quota. */
export const deniedIoctls: Readonly<Record<string, number>> = {
  TIOCSTI: 0x5412,
  TIOCLINUX: 0x541c,
  TIOCSETD: 0x5423,
  TIOCCONS: 0x541d,
  FS_IOC_FSSETXATTR: 0x401c_5820,
}

/** Values of `personality` that change nothing dangerous: Linux, 32-bit Linux, each with an old release's name, and asking. */
export const personalities = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]

export const families = { unix: 1, inet: 2, inet6: 10, netlink: 16 }
export const socketTypes = { stream: 1, datagram: 2 }
