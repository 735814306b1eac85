import { chmod, chown, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { deviceAccess, deviceFor, deviceNumbers } from './accelerator-device.ts'
import { environment, run } from './host-programs.ts'

const root = process.getuid?.() === 0
const qemu = 2_100_000_007

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-device-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

it('numbers of devices are read as glibc packs them', () => {
  expect(deviceNumbers(0x0a_e8)).toEqual({ major: 10, minor: 232 })
  expect(deviceNumbers(0x12_345a_bc)).toEqual({ major: 0x45a, minor: 0x123bc })
})

it('a device that is open to its group takes the group, and one open to all takes nothing', async () => {
  const at = join(await folder(), 'kvm')
  await writeFile(at, '')
  await chmod(at, 0o666)
  expect(await deviceFor(at, qemu, '/nowhere', environment.PATH)).toEqual({ path: at, at, groups: [] })
  expect(await deviceFor(at, null, '/nowhere', environment.PATH)).toEqual({ path: at, at, groups: [] })
  if (!root) return
  await chmod(at, 0o660)
  await chown(at, 0, 104)
  expect(await deviceFor(at, qemu, '/nowhere', environment.PATH)).toEqual({ path: at, at, groups: [104] })
})

it('a device that is not there is asked for as it is', async () => {
  const at = join(await folder(), 'kvm')
  expect(await deviceFor(at, qemu, '/nowhere', environment.PATH)).toEqual({ path: at, at, groups: [] })
})

it.runIf(root)('root’s alone, it is made anew for the user; where none can be made it stays as it is', async () => {
  const home = await folder()
  const at = join(home, 'kvm')
  const { rdev } = await stat('/dev/null')
  const { major, minor } = deviceNumbers(rdev)
  expect((await run('mknod', ['-m', '600', at, 'c', String(major), String(minor)]))?.code).toBe(0)
  const own = await deviceFor(at, qemu, home, environment.PATH)
  expect(own).toEqual({ path: join(home, 'accelerator'), at, groups: [] })
  expect(await stat(own.path)).toMatchObject({ uid: qemu, gid: qemu, rdev })
  // Made again at each start.
  expect(await deviceFor(at, qemu, home, environment.PATH)).toEqual(own)
  expect(await deviceFor(at, qemu, join(home, 'missing'), environment.PATH)).toEqual({ path: at, at, groups: [] })
})

it('access changes when the mode does, and is told when there is no device', async () => {
  const at = join(await folder(), 'kvm')
  expect(await deviceAccess(at)).toBe('absent')
  await writeFile(at, '', { mode: 0o600 })
  const before = await deviceAccess(at)
  await chmod(at, 0o660)
  expect(await deviceAccess(at)).not.toBe(before)
})
