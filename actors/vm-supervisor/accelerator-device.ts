/** The device of hardware acceleration, made usable for the user QEMU runs as. */
import { constants } from 'node:fs'
import { access, chown, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './host-programs.ts'

/** `path`: the node on the host. `at`: where the hypervisor looks for it. `groups`: what its user needs to open it. */
export type Device = { path: string; at: string; groups: readonly number[] }

/**
 * @param at the system's node
 * @param uid QEMU's own user; null: it runs as the supervisor's, whose rights are what they are
 * @param home where a node of its own may be made
 * @param path where programs are looked for
 */
export async function deviceFor(at: string, uid: number | null, home: string, path: string): Promise<Device> {
  const theirs = { path: at, at, groups: [] }
  const there = uid === null ? null : await stat(at).catch(() => null)
  // What it is like to miss it is the hypervisor's to say.
  if (uid === null || there === null) return theirs
  const { gid, mode, rdev } = there
  if ((mode & 0o006) === 0o006) return theirs
  if ((mode & 0o060) === 0o060 && gid !== 0) return { ...theirs, groups: [gid] }
  // Root's alone, as the kernel makes it where no udev runs. Root's group would open more than this, and the system's node is not ours to
  // open to others: QEMU gets one of its own, in a folder that only root enters.
  const own = join(home, 'accelerator')
  await rm(own, { force: true })
  const { major, minor } = deviceNumbers(rdev)
  const made = await run('mknod', ['-m', '600', own, 'c', String(major), String(minor)], path)
  if (made?.code !== 0) return theirs
  await chown(own, uid, uid)
  return { path: own, at, groups: [] }
}

/** Linux packs both into one number (glibc, `sys/sysmacros.h`). */
export function deviceNumbers(rdev: number): { major: number; minor: number } {
  const number = BigInt(rdev)
  return {
    major: Number(((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n)),
    minor: Number((number & 0xffn) | ((number >> 12n) & 0xffffff00n)),
  }
}

/** Who may open it as things are: what was found out before a member joined its group says nothing afterwards. */
export async function deviceAccess(at: string): Promise<string> {
  try {
    const { uid, gid, mode } = await stat(at)
    const open = await access(at, constants.R_OK | constants.W_OK).then(
      () => 'open',
      () => 'closed',
    )
    return `${uid}:${gid}:${mode.toString(8)}:${open}`
  } catch {
    return 'absent'
  }
}
