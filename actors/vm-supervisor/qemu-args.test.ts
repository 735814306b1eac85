import { describe, expect, it } from 'vitest'
import { jailArgs } from './jail.ts'
import { bootArgs, kernelCommandLine, probeArgs } from './qemu-args.ts'

const boot = (over: Partial<Parameters<typeof bootArgs>[0]> = {}) =>
  bootArgs({
    accelerator: 'tcg',
    arch: 'x86_64',
    cpus: 2,
    memoryMiB: 1024,
    kernel: '/i/vmlinuz',
    initrd: '/h/initrd.img',
    root: '/i/root.squashfs',
    scratch: { path: '/s/disk.raw', temporary: false },
    saving: false,
    append: [],
    fds: { control: 3, files: 4, qmp: 5, console: 6, output: 7, connections: 8 },
    sandbox: true,
    ...over,
  })
const after = (args: string[], option: string) => args.flatMap((arg, i) => (arg === option ? [args[i + 1] ?? ''] : []))

describe('the VM that is booted', () => {
  it('has no network of any kind, nothing by default, and the system call filter', () => {
    const args = boot()
    expect(args.join(' ')).not.toMatch(/netdev|-nic|-net\b|virtio-net|slirp|vsock|vhost|usb-|-vga|-vnc|-fsdev|-virtfs/)
    for (const option of ['-nodefaults', '-no-user-config', '-no-reboot']) expect(args).toContain(option)
    expect(after(args, '-display')).toEqual(['none'])
    expect(after(args, '-sandbox')).toEqual(['on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'])
  })

  it('keeps the guest kernel hardened', () => {
    const line = after(boot(), '-append')[0] ?? ''
    expect(line).not.toMatch(/mitigations|nokaslr|nosmep|nosmap|nopti|init=|debug/)
    expect(kernelCommandLine('aarch64', ['x=1'])).toMatch(/console=ttyAMA0 .* x=1$/)
  })

  it('gets its root read-only and its sockets by descriptor, not by path', () => {
    const args = boot()
    const [root, scratch] = after(args, '-drive')
    expect(root).toBe('file=/i/root.squashfs,format=raw,if=none,id=root,readonly=on,cache=writeback,aio=threads')
    expect(scratch).toMatch(/^file=\/s\/disk\.raw,format=raw,if=none,id=scratch,.*werror=enospc,rerror=report/)
    const sockets = after(args, '-chardev')
    expect(sockets).toHaveLength(6)
    for (const socket of sockets) expect(socket).toMatch(/^socket,id=\w+,fd=[3-8]$/)
  })

  it('leaves the disk as it is when it begins from a saved memory, and may start a program only when it is to be saved', () => {
    const restored = boot({
      scratch: { path: '/s/disk.raw', temporary: true },
      fds: { control: 3, files: 4, qmp: 5, console: 6, output: 7, connections: 8, incoming: 9 },
    })
    expect(after(restored, '-drive')[1]).toMatch(/,snapshot=on$/)
    expect(after(restored, '-incoming')).toEqual(['fd:9'])
    expect(after(restored, '-sandbox')[0]).toContain('spawn=deny')
    expect(after(boot(), '-incoming')).toEqual([])
    expect(after(boot({ saving: true }), '-sandbox')).toEqual(['on,obsolete=deny,elevateprivileges=deny,spawn=allow,resourcecontrol=deny'])
  })

  it('cannot be given options through a path', () => {
    expect(after(boot({ root: '/a,readonly=off' }), '-drive')[0]).toContain('file=/a,,readonly=off,format=raw')
  })

  it('uses what the accelerator asks for', () => {
    expect(after(boot({ accelerator: 'kvm' }), '-cpu')).toEqual(['host'])
    expect(after(boot({ accelerator: 'hvf', sandbox: false, arch: 'aarch64' }), '-machine')).toEqual(['virt'])
    const emulated = boot({ accelerator: 'tcg' })
    expect([...after(emulated, '-accel'), ...after(emulated, '-smp')]).toEqual(['tcg,tb-size=256', 'cpus=1'])
    // The kernel itself finds that this one needs no page tables apart; on a real one that is its own finding too.
    expect(after(emulated, '-cpu')[0]).toContain('vendor=AuthenticAMD,family=16')
    expect(after(emulated, '-append')[0]).toMatch(/ tsc=reliable norandmaps$/)
    expect(after(boot({ accelerator: 'kvm' }), '-append')[0]).not.toMatch(/tsc=|norandmaps/)
  })
})

describe('the accelerator probe', () => {
  it('has a kernel, a console and nothing else', () => {
    const args = probeArgs({
      accelerator: 'kvm',
      arch: 'x86_64',
      cpus: 1,
      memoryMiB: 256,
      kernel: '/k',
      fds: { console: 3 },
      sandbox: true,
    })
    expect(args.filter((arg) => ['-drive', '-device', '-netdev', '-initrd'].includes(arg))).toEqual([])
    expect(after(args, '-sandbox')).toHaveLength(1)
  })
})

describe('the jail', () => {
  it('shares no namespace, keeps no capability and shows only what is named', () => {
    const args = jailArgs({
      readable: [{ path: '/image/root', at: '/root' }],
      devices: [{ path: '/dev/kvm', at: '/dev/kvm' }],
      infoFd: 7,
      user: null,
    })
    for (const option of ['--unshare-all', '--die-with-parent', '--new-session']) expect(args).toContain(option)
    expect(after(args, '--cap-drop')).toEqual(['ALL'])
    expect(args).not.toContain('--share-net')
    expect(args).not.toContain('--proc')
    expect(args).not.toContain('--bind')
    expect(after(args, '--ro-bind')).toEqual(['/usr', '/image/root'])
    expect(args.at(-1)).toBe('--')
  })

  it('gives a user of its own in the place of a user namespace, and leaves it no capability', () => {
    const args = jailArgs({ readable: [], devices: [{ path: '/dev/kvm', at: '/dev/kvm' }], user: { id: 2_100_000_001, groups: [104] } })
    for (const kind of ['ipc', 'pid', 'net', 'uts']) expect(args).toContain(`--unshare-${kind}`)
    expect(args).not.toContain('--unshare-all')
    expect(after(args, '--cap-add')).toEqual(['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'])
    const program = args.slice(args.indexOf('setpriv'))
    expect(program).toEqual(expect.arrayContaining(['--reuid=2100000001', '--regid=2100000001', '--groups=104']))
    for (const set of ['inh-caps', 'ambient-caps', 'bounding-set']) expect(program).toContain(`--${set}=-all`)
    expect(jailArgs({ readable: [], devices: [], user: { id: 7, groups: [] } })).toContain('--clear-groups')
  })
})
