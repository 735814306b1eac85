/**
 * The system call filter every command of a session runs under, as a classic BPF program (`seccomp(2)`): a deny list that answers EPERM, so
 * that programs see a plain error, and ends a process that calls by another architecture's numbers. Pure.
 */
import { type Architecture, denied, deniedIoctls, examined, families, namespaceFlags, personalities, socketTypes } from './syscalls.ts'

export type Instruction = { code: number; jt: number; jf: number; k: number }

export const verdicts = { allow: 0x7fff_0000, killProcess: 0x8000_0000, errno: 0x0005_0000 }
const EPERM = 1
const ENOSYS = 38
const EAFNOSUPPORT = 97

/** `AUDIT_ARCH_…` as the kernel puts it into `seccomp_data.arch`. */
export const auditArchitectures: Readonly<Record<Architecture, number>> = { x86_64: 0xc000_003e, aarch64: 0xc000_00b7 }

/** Numbers from here on are the x32 ABI's. */
const x32Bit = 0x4000_0000

// Offsets into struct seccomp_data.
const numberAt = 0
const architectureAt = 4
/** Low 32 bits of an argument, on little-endian machines. */
const argumentAt = (index: number): number => 16 + 8 * index

const load = (offset: number): Instruction => ({ code: 0x20, jt: 0, jf: 0, k: offset })
const and = (mask: number): Instruction => ({ code: 0x54, jt: 0, jf: 0, k: mask })
const ifEqual = (k: number, jt: number, jf: number): Instruction => ({ code: 0x15, jt, jf, k })
const ifAtLeast = (k: number, jt: number, jf: number): Instruction => ({ code: 0x35, jt, jf, k })
const ifAnyBit = (k: number, jt: number, jf: number): Instruction => ({ code: 0x45, jt, jf, k })
const answer = (verdict: number): Instruction => ({ code: 0x06, jt: 0, jf: 0, k: verdict })
const allow = answer(verdicts.allow)
const refuse = (errno = EPERM): Instruction => answer(verdicts.errno + errno)

/** `body` decides about the call of this number and must answer. */
function about(number: number | null, body: readonly Instruction[]): Instruction[] {
  return number === null ? [] : [ifEqual(number, 0, body.length), ...body]
}

/** Allowed if the loaded value is one of these, else refused with `errno`. */
function oneOf(values: readonly number[], errno: number = EPERM): Instruction[] {
  return [...values.map((value, at) => ifEqual(value, values.length - at, 0)), refuse(errno), allow]
}

export function filterFor(architecture: Architecture): Instruction[] {
  const index = architecture === 'x86_64' ? 0 : 1
  const of = (call: keyof typeof examined): number => examined[call][index]
  return [
    load(architectureAt),
    ifEqual(auditArchitectures[architecture], 1, 0),
    answer(verdicts.killProcess),
    load(numberAt),
    ...(architecture === 'x86_64' ? [ifAtLeast(x32Bit, 0, 1), answer(verdicts.killProcess)] : []),
    ...denied.flatMap(({ calls }) => Object.values(calls).flatMap((numbers) => about(numbers[index], [refuse()]))),
    ...about(of('clone'), [load(argumentAt(0)), ifAnyBit(namespaceFlags, 0, 1), refuse(), allow]),
    // Its flags are in memory, where no filter can look; libraries fall back to `clone` when it is not there.
    ...about(of('clone3'), [refuse(ENOSYS)]),
    ...about(of('socket'), socketRule()),
    ...about(of('socketpair'), [load(argumentAt(0)), ...oneOf([families.unix], EAFNOSUPPORT)]),
    ...about(of('ioctl'), [
      load(argumentAt(1)),
      ...Object.values(deniedIoctls).map((value, at, { length }) => ifEqual(value, length - at, 0)),
      allow,
      refuse(),
    ]),
    ...about(of('personality'), [load(argumentAt(0)), ...oneOf(personalities)]),
    allow,
  ]
}

/**
 * Put above the other one, whose refusals are told: the same answer to the calls libraries make at every turn and do without. Of two filters that
 * answer alike the last one counts.
 */
export function quietFilterFor(architecture: Architecture): Instruction[] {
  return [load(numberAt), ...about(examined.clone3[architecture === 'x86_64' ? 0 : 1], [refuse(ENOSYS)]), allow]
}

/** Local sockets, streams and datagrams of the internet, and routes to ask about; nothing raw, no other family. */
function socketRule(): Instruction[] {
  const internet = [load(argumentAt(1)), and(0xf), ...oneOf([socketTypes.stream, socketTypes.datagram])]
  const netlink = [load(argumentAt(2)), ...oneOf([0], EAFNOSUPPORT)]
  return [
    load(argumentAt(0)),
    ifEqual(families.unix, 0, 1),
    allow,
    ifEqual(families.inet, 1, 0),
    ifEqual(families.inet6, 0, internet.length),
    ...internet,
    ifEqual(families.netlink, 0, netlink.length),
    ...netlink,
    refuse(EAFNOSUPPORT),
  ]
}

/** As the kernel takes it: eight bytes an instruction, little-endian. */
export function encodeFilter(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [at, { code, jt, jf, k }] of program.entries()) {
    view.setUint16(at * 8, code, true)
    view.setUint8(at * 8 + 2, jt)
    view.setUint8(at * 8 + 3, jf)
    view.setUint32(at * 8 + 4, k, true)
  }
  return bytes
}
