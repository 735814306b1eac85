import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { auditArchitectures, encodeFilter, filterFor, type Instruction, verdicts } from './seccomp.ts'
import { type Architecture, denied, deniedIoctls, examined } from './syscalls.ts'

type Call = { architecture?: number; number: number; args?: readonly number[] }

/** What the kernel would answer: the BPF the filter uses, interpreted. */
function judge(program: readonly Instruction[], native: number, { architecture = native, number, args = [] }: Call): number {
  let accumulator = 0
  for (let at = 0; at < program.length; at++) {
    const { code, jt, jf, k } = program[at] as Instruction
    const jump = (taken: boolean): void => {
      at += taken ? jt : jf
    }
    if (code === 0x20) accumulator = k === 0 ? number : k === 4 ? architecture : (args[(k - 16) / 8] ?? 0)
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0
    else if (code === 0x15) jump(accumulator === k)
    else if (code === 0x35) jump(accumulator >= k)
    else if (code === 0x45) jump((accumulator & k) !== 0)
    else if (code === 0x06) return k
    else throw new Error(`instruction ${code}`)
  }
  throw new Error('ran off the end')
}

const eperm = verdicts.errno + 1

describe.each(['x86_64', 'aarch64'] as const)('the filter of %s', (architecture: Architecture) => {
  const filter = filterFor(architecture)
  const index = architecture === 'x86_64' ? 0 : 1
  const native = auditArchitectures[architecture]
  const of = (call: keyof typeof examined, ...args: number[]) => judge(filter, native, { number: examined[call][index], args })

  test('refuses each denied call, and no call twice', () => {
    const numbers = denied.flatMap(({ calls }) => Object.values(calls).flatMap((pair) => pair[index] ?? []))
    expect(numbers.length).toBeGreaterThan(55)
    expect(new Set(numbers).size).toBe(numbers.length)
    for (const number of numbers) expect(judge(filter, native, { number }), String(number)).toBe(eperm)
  })

  test('allows every other call', () => {
    const known = new Set<number>([
      ...denied.flatMap(({ calls }) => Object.values(calls).map((pair) => pair[index] ?? -1)),
      examined.clone3[index],
    ])
    const families = [examined.socket[index], examined.socketpair[index]]
    const refused = Array.from({ length: 600 }, (_, number) => number).filter(
      (number) =>
        !known.has(number) && judge(filter, native, { number, args: families.includes(number as 41) ? [1] : [] }) !== verdicts.allow,
    )
    expect(refused).toEqual([])
  })

  test('ends what calls by the numbers of another architecture', () => {
    for (const other of [0x4000_0003, 0x4000_0028, architecture === 'x86_64' ? 0xc000_00b7 : 0xc000_003e])
      expect(judge(filter, native, { architecture: other, number: 1 })).toBe(verdicts.killProcess)
    if (architecture === 'x86_64') expect(judge(filter, native, { number: 0x4000_0001 })).toBe(verdicts.killProcess)
  })

  test('lets threads and processes be made, namespaces not', () => {
    expect(of('clone', 0x0001_1200 | 17)).toBe(verdicts.allow)
    expect(of('clone', 0x003d_0f00)).toBe(verdicts.allow)
    for (const flag of [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000])
      expect(of('clone', flag | 17)).toBe(eperm)
    expect(of('clone3')).toBe(verdicts.errno + 38)
  })

  test('knows local and internet sockets, and routes; nothing raw and no other family', () => {
    const [cloexec, stream, datagram, raw] = [0o2000000, 1, 2, 3]
    for (const type of [stream, datagram, stream | cloexec]) {
      expect(of('socket', 2, type, 0)).toBe(verdicts.allow)
      expect(of('socket', 10, type, 0)).toBe(verdicts.allow)
      expect(of('socket', 1, type, 0)).toBe(verdicts.allow)
    }
    expect(of('socket', 16, raw, 0)).toBe(verdicts.allow)
    expect(of('socket', 16, raw, 9)).not.toBe(verdicts.allow)
    for (const family of [2, 10]) for (const type of [raw, raw | cloexec, 10, 5]) expect(of('socket', family, type, 0)).toBe(eperm)
    for (const family of [0, 3, 5, 17, 21, 31, 38, 40, 44, 45]) expect(of('socket', family, stream, 0)).toBe(verdicts.errno + 97)
    expect(of('socketpair', 1)).toBe(verdicts.allow)
    expect(of('socketpair', 2)).toBe(verdicts.errno + 97)
  })

  test('refuses the listed ioctls and personalities only', () => {
    for (const request of Object.values(deniedIoctls)) expect(of('ioctl', 0, request)).toBe(eperm)
    for (const request of [0x5401, 0x5413, 0x5414, 0x8927]) expect(of('ioctl', 0, request)).toBe(verdicts.allow)
    for (const value of [0, 0xffff_ffff, 8]) expect(of('personality', value)).toBe(verdicts.allow)
    for (const value of [0x004_0000, 0x0100_0000, 1]) expect(of('personality', value)).toBe(eperm)
  })

  test('is within what the kernel takes, eight bytes an instruction', () => {
    expect(filter.length).toBeLessThan(4096)
    expect(encodeFilter(filter)).toHaveLength(filter.length * 8)
    for (const { jt, jf } of filter) expect(Math.max(jt, jf)).toBeLessThan(256)
  })
})

const headers = [
  ['x86_64', '/usr/include/x86_64-linux-gnu/asm/unistd_64.h'],
  ['aarch64', '/usr/include/asm-generic/unistd.h'],
] as const

/** Where the kernel's headers are installed, the numbers are compared with them. */
test.each(headers.filter(([, path]) => existsSync(path)))('the numbers of %s are the kernel headers’', (architecture, path) => {
  const index = architecture === 'x86_64' ? 0 : 1
  const there = new Map(
    [...readFileSync(path, 'utf8').matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)/gm)].map(([, name, number]) => [name, Number(number)]),
  )
  const all = [...denied.flatMap(({ calls }) => Object.entries(calls)), ...Object.entries(examined)]
  const wrong = all.filter(([name, numbers]) => there.has(name) && numbers[index] !== null && numbers[index] !== there.get(name))
  expect(wrong).toEqual([])
})
