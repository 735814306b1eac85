/** QEMU's command line, as data. Pure: what the VM may do is readable, and tested, here. */
import { emulatedProcessors, translationCacheMiB } from './limits.ts'
import { connectionsPort, controlPort, filesPort, outputPort } from '../../guest/wire.ts'

export type QemuAccelerator = 'kvm' | 'hvf' | 'whpx' | 'tcg'
/** Another hypervisor's is none of QEMU's: throws. */
export function qemuAccelerator(name: string): QemuAccelerator {
  if (name === 'kvm' || name === 'hvf' || name === 'whpx' || name === 'tcg') return name
  throw new Error(`QEMU has no accelerator ${name}`)
}
/** Machine architecture by its name in QEMU. */
export type Architecture = 'x86_64' | 'aarch64'

export type MachineArgs = { accelerator: QemuAccelerator; arch: Architecture; cpus: number; memoryMiB: number }

export type BootArgs = MachineArgs & {
  kernel: string
  initrd: string
  /** Read-only root file system image. */
  root: string
  /** Disk for what sessions write. `temporary`: what is written goes to an unlinked file in the temporary folder, the disk stays as it is. */
  scratch: { path: string; temporary: boolean }
  /** What the image asks for on the kernel's command line besides the defaults. */
  append: readonly string[]
  /** Numbers of the inherited descriptors: one end of a socket pair each; `incoming`: a saved memory, opened for reading. */
  fds: { control: number; files: number; qmp: number; console: number; output: number; connections: number; incoming?: number }
  /**
   * The memory of this machine will be saved: QEMU may start the program that writes it. Such a machine runs nothing but its own system and
   * ends when it is saved.
   */
  saving: boolean
  /** The system call filter exists on Linux only. */
  sandbox: boolean
}

export type ProbeArgs = MachineArgs & { kernel: string; fds: { console: number }; sandbox: boolean }

/** `spawn=deny` and the rest: QEMU can start no program, gain no privilege and change no scheduling, whatever the guest makes of it. */
const sandboxArgs = (spawn: 'allow' | 'deny'): string[] => [
  '-sandbox',
  `on,obsolete=deny,elevateprivileges=deny,spawn=${spawn},resourcecontrol=deny`,
]

/** Nothing that was not asked for: no default devices, no configuration files, no display, no network card; a reboot ends the process. */
const bareArgs = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot']

export function bootArgs(args: BootArgs): string[] {
  const { fds } = args
  // biome-ignore format: one option a line
  return [
    ...bareArgs,
    ...machineArgs(args),
    ...(args.sandbox ? sandboxArgs(args.saving ? 'allow' : 'deny') : []),
    '-kernel', args.kernel,
    '-initrd', args.initrd,
    '-append', kernelCommandLine(args.arch, [...(args.accelerator === 'tcg' ? emulatedOnly[args.arch] : []), ...args.append]),
    '-drive', `file=${escapeComma(args.root)},format=raw,if=none,id=root,readonly=on,cache=writeback,aio=threads`,
    '-device', 'virtio-blk-pci,drive=root,serial=root',
    // A full disk of the host's stops the machine until there is room: nothing in there knows how to live with it. Other errors reach the
    // guest, which can report them. Nothing on it need survive.
    '-drive', `file=${escapeComma(args.scratch.path)},format=raw,if=none,id=scratch,cache=unsafe,aio=threads,discard=unmap,werror=enospc,rerror=report${args.scratch.temporary ? ',snapshot=on' : ''}`,
    '-device', 'virtio-blk-pci,drive=scratch,serial=scratch',
    '-object', 'rng-builtin,id=rng',
    '-device', 'virtio-rng-pci,rng=rng',
    '-device', 'virtio-serial-pci,id=ports,max_ports=5',
    '-chardev', `socket,id=control,fd=${fds.control}`,
    '-device', `virtserialport,bus=ports.0,nr=1,chardev=control,name=${controlPort},id=${controlDevice}`,
    '-chardev', `socket,id=files,fd=${fds.files}`,
    '-device', `virtserialport,bus=ports.0,nr=2,chardev=files,name=${filesPort}`,
    '-chardev', `socket,id=output,fd=${fds.output}`,
    '-device', `virtserialport,bus=ports.0,nr=3,chardev=output,name=${outputPort}`,
    '-chardev', `socket,id=connections,fd=${fds.connections}`,
    '-device', `virtserialport,bus=ports.0,nr=4,chardev=connections,name=${connectionsPort}`,
    '-chardev', `socket,id=console,fd=${fds.console}`,
    '-serial', 'chardev:console',
    '-chardev', `socket,id=qmp,fd=${fds.qmp}`,
    '-mon', 'chardev=qmp,mode=control',
    ...(fds.incoming === undefined ? [] : ['-incoming', `fd:${fds.incoming}`]),
  ]
}

/** The workspace's own kernel with no root at all: it prints, and then panics for want of one. */
export function probeArgs(args: ProbeArgs): string[] {
  // biome-ignore format: one option a line
  return [
    ...bareArgs,
    ...machineArgs(args),
    ...(args.sandbox ? sandboxArgs('deny') : []),
    '-kernel', args.kernel,
    '-append', `console=${consoleOf[args.arch]} earlyprintk=serial panic=-1`,
    '-chardev', `socket,id=console,fd=${args.fds.console}`,
    '-serial', 'chardev:console',
  ]
}

/** Hardware protections of the guest kernel stay on: it separates sessions from each other. */
export function kernelCommandLine(arch: Architecture, append: readonly string[]): string {
  // A few lines a boot: the stages of `/init`, and what the kernel says when it dies. More would cost time under emulation.
  const console = `console=${consoleOf[arch]}`
  return ['quiet', 'loglevel=1', console, 'panic=-1', 'random.trust_cpu=on', ...quicker, ...append].join(' ')
}

/** Spares waits and probes for hardware that is not there: about a tenth of an emulated boot. None of it weakens a protection. */
const quicker = [
  'cryptomgr.notests',
  'no_timer_check',
  'nowatchdog',
  'rcupdate.rcu_expedited=1',
  '8250.nr_uarts=1',
  'i8042.noaux',
  'i8042.nokbd',
]

/**
 * For emulated machines only. QEMU counts an emulated processor's ticks as the host does: a boot that had to wait for the host's processors was
 * taken for a counter that cannot be trusted, and every look at the clock left the emulation from then on: 100 µs in place of 20. And QEMU 7.2
 * translates code for the address it runs at: programs put at random addresses are translated anew each time one starts, which was nine tenths
 * of what a second command took to translate. What that protects from, code of others in a session's program, is what a session is for.
 */
const emulatedOnly: Readonly<Record<Architecture, readonly string[]>> = { x86_64: ['tsc=reliable', 'norandmaps'], aarch64: ['norandmaps'] }

const consoleOf: Readonly<Record<Architecture, string>> = { x86_64: 'ttyS0', aarch64: 'ttyAMA0' }

function machineArgs({ accelerator, arch, cpus, memoryMiB }: MachineArgs): string[] {
  const machine = arch === 'x86_64' ? 'q35,usb=off,vmport=off,smbus=off,sata=off,hpet=off,smm=off' : 'virt'
  const accel = accelerator === 'tcg' ? `tcg,tb-size=${translationCacheMiB}` : accelerator
  const cpu = accelerator === 'tcg' ? (arch === 'x86_64' ? emulatedCpu : 'max') : 'host'
  const processors = accelerator === 'tcg' ? emulatedProcessors : cpus
  return ['-machine', machine, '-accel', accel, '-cpu', cpu, '-smp', `cpus=${processors}`, '-m', `${memoryMiB}M`]
}

/** Id of the control port's device, as QEMU's events name it. */
export const controlDevice = 'control-port'

/**
 * What programs of today expect (x86-64-v2) and a hardware random source, without the features of `max` that make emulation slow. It is an AMD
 * processor (family 16), for those are free of Meltdown, as an emulated one is: for an Intel of that age the kernel would keep page tables apart
 * and so empty QEMU's address cache at each system call, which makes system calls twice as slow. What a kernel does about flaws stays its own choice.
 */
const emulatedCpu = 'Nehalem,vendor=AuthenticAMD,family=16,model=2,stepping=3,model-id=Emulated processor,+rdrand,+fsgsbase,+smep,+smap'

/** QEMU's option parser takes a doubled comma for a comma. */
function escapeComma(path: string): string {
  return path.replaceAll(',', ',,')
}
