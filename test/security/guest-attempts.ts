/**
 * What a session may try inside the workspace: each a line of shell, and what it says when it is contained. They run as the session
 * `attacker`, while `neighbour` has secrets of every kind.
 */
import { denied, deniedIoctls, examined } from '../../guest/agent/syscalls.ts'

export type Attempt = {
  what: string
  /** bash; or a system call by its number, with its arguments, which answers `refused N` with the error's number, or `DONE`. */
  command: string | readonly number[]
  /** Of its output, both streams together; what it must not match is in `not`. */
  contained: RegExp
  not?: RegExp
}

const index = process.arch === 'arm64' ? 1 : 0
const refused =
  /permission denied|operation not permitted|no such file|read-only file system|not permitted|no such device|must be superuser|no permissions/i

const call = (number: number, args: readonly number[] = []): readonly number[] => [number, ...args]

const attempt = (what: string, command: Attempt['command'], contained: RegExp = refused, not?: RegExp): Attempt => ({
  what,
  command,
  contained,
  ...(not === undefined ? {} : { not }),
})

/** Whatever the arguments, so that the filter's answer cannot be taken for the kernel's. */
const calls = denied.flatMap(({ calls: group }) =>
  Object.entries(group).flatMap(([name, numbers]) => {
    const number = numbers[index]
    return number === null ? [] : [attempt(`system call ${name}`, call(number), /^refused 1$/)]
  }),
)

const [clone, clone3, socket, ioctl, personality] = (['clone', 'clone3', 'socket', 'ioctl', 'personality'] as const).map(
  (name) => examined[name][index],
) as [number, number, number, number, number]

const namespaces = Object.entries({
  mount: 0x2_0000,
  cgroup: 0x200_0000,
  uts: 0x400_0000,
  ipc: 0x800_0000,
  user: 0x1000_0000,
  pid: 0x2000_0000,
  network: 0x4000_0000,
}).map(([name, flag]) => attempt(`a ${name} namespace by clone`, call(clone, [flag | 17]), /^refused 1$/))

const sockets = (
  [
    ['a raw IPv4 socket', 2, 3, 1],
    ['a raw IPv6 socket', 10, 3, 58],
    ['a packet socket', 17, 3, 768],
    ['a vsock to the host', 40, 1, 0],
    ['the crypto interface (AF_ALG)', 38, 5, 0],
    ['an XDP socket', 44, 3, 0],
    ['a netlink socket to the audit system', 16, 3, 9],
    ['a netlink socket to netfilter', 16, 3, 12],
    ['a Bluetooth socket', 31, 5, 0],
    ['a CAN socket', 29, 3, 1],
    ['a kernel key socket', 15, 3, 2],
    ['TIPC', 30, 1, 0],
  ] as const
).map(([what, ...args]) => attempt(what, call(socket, args), /^refused (1|97)$/))

const ioctls = Object.entries(deniedIoctls).map(([name, request]) => attempt(`ioctl ${name}`, call(ioctl, [0, request]), /^refused 1$/))

/** An x86-64 program of a few instructions, as base64. */
function program(code: readonly number[]): string {
  const elf = Buffer.alloc(120 + code.length)
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  elf.writeUInt16LE(2, 16)
  elf.writeUInt16LE(62, 18)
  elf.writeUInt32LE(1, 20)
  elf.writeBigUInt64LE(0x40_0078n, 24)
  elf.writeBigUInt64LE(64n, 32)
  elf.writeUInt16LE(64, 52)
  elf.writeUInt16LE(56, 54)
  elf.writeUInt16LE(1, 56)
  elf.writeUInt32LE(1, 64)
  elf.writeUInt32LE(5, 68)
  elf.writeBigUInt64LE(0x40_0000n, 80)
  elf.writeBigUInt64LE(0x40_0000n, 88)
  elf.writeBigUInt64LE(BigInt(elf.length), 96)
  elf.writeBigUInt64LE(BigInt(elf.length), 104)
  elf.writeBigUInt64LE(0x1000n, 112)
  elf.set(code, 120)
  return elf.toString('base64')
}
const exit0 = [0xb8, 0x3c, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]
const run = (code: readonly number[]): string =>
  `echo ${program([...code, ...exit0])} | base64 -d > ~/program && chmod +x ~/program && ~/program; echo "ended with $?"`
const foreign =
  index === 1
    ? []
    : [
        // The plain one must run, or the other two would prove nothing.
        attempt('(a program of this architecture runs)', run([]), /ended with 0/),
        attempt('a 32-bit system call (int 0x80)', run([0xb8, 0x14, 0, 0, 0, 0xcd, 0x80]), /ended with 159/),
        attempt('an x32 system call', run([0xb8, 0x27, 0, 0, 0x40, 0x0f, 0x05]), /ended with 159/),
      ]

/** In every file and every argument of the neighbour's; the attacker's own commands do not say it. */
export const mark = 'what-the-neighbour-hides'
export const neighbour = `
umask 000
for file in ~/private.txt /tmp/private.txt /dev/shm/private.txt; do echo ${mark} > $file; done; chmod 777 ~ /tmp
perl -e 'use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un("\\0abstract")) or die $!; listen($s, 1);
  socket(my $t, AF_INET, SOCK_STREAM, 0) or die; bind($t, pack_sockaddr_in(4242, INADDR_LOOPBACK)) or die $!; listen($t, 1);
  socket(my $u, AF_UNIX, SOCK_STREAM, 0) or die; bind($u, pack_sockaddr_un("/tmp/private.sock")) or die $!; listen($u, 1); sleep 10000' ${mark} > /dev/null 2>&1 &
script -qfc 'sleep 10000' /dev/null > /dev/null 2>&1 < /dev/null &
ipcmk -M 4096 -S 1 -Q > /dev/null; until [ -S /tmp/private.sock ]; do sleep 0.1; done; echo settled`

const others: readonly Attempt[] = [
  attempt('names of other sessions', 'ls -A /sessions', /^attacker$/),
  attempt('the home of another session', 'cat /sessions/neighbour/private.txt'),
  attempt('another session by the disk all of them are on', 'ls -A /scratch; cat /scratch/slots/*/sessions/neighbour/private.txt'),
  attempt('/tmp of another session', 'ls -A /tmp /var/tmp; cat /tmp/private.txt', refused, /sock/),
  attempt('shared memory of another session', 'ls -A /dev/shm; cat /dev/shm/private.txt'),
  attempt('System V shared memory of another session', 'ipcs -m | grep -c 4096', /^0/),
  attempt('semaphores and message queues of another session', 'ipcs -s | grep -c 0x; ipcs -q | grep -c 0x; ls /dev/mqueue', /^0\n0\n/),
  attempt('terminals of another session', 'ls /dev/pts; echo x > /dev/pts/0', /^ptmx\n.*(no such file|permission denied)/is),
  attempt('processes of another session', 'ps -eo args; cat /proc/*/cmdline | tr "\\0" " "', /ps -eo args/, new RegExp(mark)),
  attempt('processes that hold the session', 'ls -d /proc/[0-9]*; cat /proc/1/comm', /no such file/i),
  attempt(
    'environment and memory of what holds the session',
    'cat /proc/1/environ /proc/1/maps; head -c 1 /proc/1/mem',
    refused,
    /PATH|bwrap/,
  ),
  attempt('signals to processes outside', 'kill -0 1 2 3 4 5 6', /no such process|not permitted/i),
  attempt('a port another session listens on', 'exec 3<>/dev/tcp/127.0.0.1/4242', /refused/i),
  attempt(
    'an abstract socket of another session',
    `perl -e 'use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); print connect($s, pack_sockaddr_un("\\0abstract")) ? "CONNECTED" : "refused: $!"'`,
    /^refused/,
  ),
  attempt('user names of other sessions', 'cut -d: -f1 /etc/passwd; getent passwd', /attacker/, /neighbour/),
  attempt('control groups, by name', 'ls /sys/fs/cgroup; cat /proc/self/cgroup', refused, /neighbour/),
  attempt('mounts that name another session', 'cat /proc/self/mountinfo', /attacker|sessions/, /neighbour/),
  attempt('what its loopback is, and its routes', 'ip link set lo down; ip address add 10.9.9.9/8 dev lo; ip route add 10.9.0.0/16 dev lo'),
  attempt('network interfaces but loopback', 'ls /proc/sys/net/ipv4/conf; ip -o link | grep -vc LOOPBACK', /^0$/m),
]

const machine: readonly Attempt[] = [
  attempt('ports to the host', 'cat /dev/vport*; ls /dev/virtio-ports'),
  attempt('the disks', 'head -c 1 /dev/vda /dev/vdb'),
  attempt('a device of its own making', 'mknod ~/disk b 254 0'),
  attempt('the consoles', 'for t in console ttyS0 tty0 tty1 hvc0; do echo x > /dev/$t; done', refused),
  attempt('file systems of its own', 'head -c 1 /dev/fuse /dev/loop-control /dev/loop0'),
  attempt('machines and networks of its own', 'head -c 1 /dev/kvm /dev/net/tun /dev/vhost-vsock'),
  attempt('what the hypervisor told the firmware', 'ls /sys/firmware /sys/firmware/qemu_fw_cfg/by_name'),
  attempt('more of the kernel', 'ls /lib/modules; modprobe fuse', /no such file|not found/i),
  attempt('physical memory', 'head -c 1 /dev/mem'),
  attempt('kernel memory', 'head -c 1 /proc/kcore'),
  attempt('the kernel log', 'head -c 1 /dev/kmsg; dmesg'),
  attempt('words of its own in the kernel log', 'for n in $(seq 50); do echo flood > /dev/kmsg; done'),
  attempt('kernel addresses', 'grep -v "^0000000000000000" /proc/kallsyms | head -1; echo none', /^none$/),
  attempt('kernel debugging files', 'ls /sys/kernel/debug /sys/kernel'),
  attempt('kernel settings', 'echo 1 > /proc/sys/kernel/sysrq; echo 0 > /proc/sys/kernel/kptr_restrict'),
  attempt('the core dump handler', `echo '|/bin/sh' > /proc/sys/kernel/core_pattern`),
  attempt('the module loader', 'echo /bin/sh > /proc/sys/kernel/modprobe'),
  attempt('other binary formats', 'ls /proc/sys/fs/binfmt_misc/register; echo x > /proc/sys/fs/binfmt_misc/register'),
  attempt('the emergency keys', 'echo o > /proc/sysrq-trigger'),
  attempt(
    'its own limits',
    'echo max > /sys/fs/cgroup/pids.max; find / -xdev -name "cgroup.procs" 2>/dev/null | head -1; echo refused',
    refused,
  ),
  attempt('a release agent', 'ls /sys/fs/cgroup/*/release_agent'),
  attempt('more rights than its own out-of-memory score', 'echo -1000 > /proc/self/oom_score_adj'),
  attempt('the agent’s program', 'ls /run/bulkhead'),
  attempt('its own filter', 'echo x > /usr/local/lib/bulkhead/seccomp.bpf'),
  attempt('programs of the system', 'echo x > /usr/bin/bash; touch /etc/x; rm -f /usr/bin/env', refused),
  attempt('password hashes', 'cat /etc/shadow'),
  attempt('password hashes, by a link of its own', 'ln /etc/shadow ~/shadow; cat ~/shadow', refused, /root:/),
]

const rights: readonly Attempt[] = [
  attempt('setuid programs', 'find / -xdev -perm /6000 -type f 2>/dev/null | head; echo none', /^none$/),
  attempt('file capabilities', 'getcap -r /usr 2>/dev/null | head -1; echo none', /^none$/),
  attempt('programs that make one another user', 'sudo -n id; su -c id; pkexec id; echo "still $(id -u)"', /still 2\d{4}$/, /uid=0/),
  attempt('another user', `perl -e '$> = 0; print $> == 0 ? "ROOT" : "refused: not permitted"'`),
  attempt('a setuid program of its own', 'cp /bin/id ~/id && chmod u+s ~/id && ~/id -u', /^2\d{4}$/),
  attempt('new rights', 'grep NoNewPrivs /proc/self/status', /:\s+1$/),
  attempt('no filter', 'grep Seccomp: /proc/self/status', /:\s+2$/),
  attempt('capabilities', 'grep -E "Cap(Inh|Prm|Eff|Bnd|Amb)" /proc/self/status | grep -vc 0000000000000000', /^0$/),
  attempt('a user namespace', 'unshare --user --map-root-user id'),
  attempt('a mount', 'mount -t tmpfs none /mnt'),
  attempt('a jail of its own', 'bwrap --bind / / true'),
  attempt('the namespaces of the holder', 'nsenter --target 1 --mount true'),
  attempt('another personality', call(personality, [0x4_0000]), /^refused 1$/),
  attempt('clone3, whose flags no filter sees', call(clone3), /^refused 38$/),
  attempt(
    'tracing another process',
    `sleep 5 & perl -e '$! = 0; print syscall(${index === 0 ? 101 : 117}, 16, $ARGV[0], 0, 0) == -1 ? "refused $!" : "DONE"' $!`,
  ),
]

export const attempts: readonly Attempt[] = [...others, ...machine, ...rights, ...foreign, ...namespaces, ...sockets, ...ioctls, ...calls]

/**
 * What somebody who took over the whole guest may try against the machine around it. `not` of all: a path of the host's. What it says on its
 * ports is another table (guest-frames.ts), what leaves by the network a third (egress-attempts.ts).
 */
export const attemptsOfRoot: readonly Attempt[] = [
  attempt('(it is root, with every right)', 'id -u; grep CapEff /proc/self/status', /^0\nCapEff:\t0*1f+$/),
  attempt('disks but its own two', 'ls /sys/block', /^vda\s+vdb$/),
  attempt('the image all machines are made from', 'dd if=/dev/zero of=/dev/vda bs=4096 count=1 oflag=direct conv=notrunc'),
  attempt(
    'the image, once its own kernel would write it',
    `python3 -c 'import fcntl, os; fd = os.open("/dev/vda", os.O_RDWR); fcntl.ioctl(fd, 0x125d, bytes(4)); os.write(fd, bytes(4096)); os.fsync(fd)'`,
    /input\/output error|read-only|not permitted/i,
  ),
  attempt(
    'what lies behind its disk',
    'end=$(cat /sys/block/vdb/size); dd if=/dev/vdb bs=512 skip=$end count=1 status=none | wc -c; dd if=/dev/zero of=/dev/vdb bs=512 seek=$end count=1',
    /^0\n.*no space left/is,
  ),
  attempt('network cards', 'ls /sys/class/net', /^lo$/),
  attempt(
    'devices but disks, ports and what numbers are drawn from',
    'cat /sys/bus/pci/devices/*/class | cut -c1-6 | sort -u | tr "\\n" " "',
    /0x0100/,
    // Network, display, sound, USB.
    /0x02|0x03|0x04|0x0c03/,
  ),
  attempt(
    'ports to the host but its four',
    'cat /sys/class/virtio-ports/*/name | sort',
    /^bulkhead\.connections\nbulkhead\.control\nbulkhead\.files\nbulkhead\.output$/,
  ),
  attempt('a machine in the machine', 'ls /dev/kvm; grep -cwE "vmx|svm" /proc/cpuinfo', /no such file.*\n0$/is),
  attempt('parts for its kernel', 'echo 0 > /proc/sys/kernel/modules_disabled; cat /proc/sys/kernel/modules_disabled', /1$/),
  attempt(
    'what the host calls itself, its files and its member',
    'cat /proc/cmdline; cat /sys/class/dmi/id/* /sys/firmware/qemu_fw_cfg/by_name/*/*/raw 2>&1 | tr -dc "[:print:]\\n"',
    /./,
  ),
]

/** A script of all of them, and what each of them said in its output. System calls are made by one program: there are many. */
export function script(list: readonly Attempt[] = attempts): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
  const commands = list.flatMap(({ command }, at) =>
    typeof command === 'string' ? [`echo "@@ ${at}"; ( eval ${quoted(command)} ) 2>&1 < /dev/null; echo`] : [],
  )
  const numbered = list.flatMap(({ command }, at) => (typeof command === 'string' ? [] : [`[${[at, ...padded(command)].join(', ')}]`]))
  const caller = `
    $| = 1;
    for my $one (${numbered.join(', ')}) {
      my ($at, @call) = @$one;
      $! = 0;
      my $answer = syscall($call[0], @call[1 .. 6]);
      print "@@ $at\\n", $answer == -1 ? "refused " . ($! + 0) : "DONE $answer", "\\n";
    }`
  return [...commands, `perl -e ${quoted(caller)}`].join('\n')
}

export function answersOf(stdout: string): Map<number, string> {
  const parts = stdout.split(/^@@ /m).slice(1)
  return new Map(parts.map((text) => [Number.parseInt(text, 10), text.slice(text.indexOf('\n') + 1).trim()]))
}

function padded(command: readonly number[]): number[] {
  return [...command, ...Array.from({ length: Math.max(0, 7 - command.length) }, () => 0)]
}
