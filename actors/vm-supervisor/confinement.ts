/** What confines QEMU on this machine: found out by trying, and made ready for each start. */
import { chmod, chown, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Hypervisor } from './driver.ts'
import { run } from './host-programs.ts'
import { jailArgs } from './jail.ts'
import { parseIdMap, userCandidates } from './qemu-user.ts'

/** The best there is here: a jail and a user of its own, a jail, or neither, and why. */
export async function confinement(binary: string, home: string, path: string): Promise<Pick<Hypervisor, 'noJail' | 'uid' | 'noUser'>> {
  if (process.platform !== 'linux') return { noJail: 'there is none on this platform yet', uid: null, noUser: null }
  let noUser: string | null = null
  if (process.getuid?.() === 0) {
    const uid = await freeUser(home, path)
    noUser =
      uid === null
        ? 'no user id is free for it'
        : !(await listsChildren())
          ? 'the kernel does not tell which processes a process started'
          : await whyNoJail(binary, uid, path)
    if (noUser === null) return { noJail: null, uid, noUser: null }
  }
  return { noJail: await whyNoJail(binary, null, path), uid: null, noUser }
}

const listsChildren = (): Promise<boolean> =>
  readFile(`/proc/self/task/${process.pid}/children`, 'utf8').then(
    () => true,
    () => false,
  )

/** The jail is tried with what it will hold. */
async function whyNoJail(binary: string, uid: number | null, path: string): Promise<string | null> {
  const user = uid === null ? null : { id: uid, groups: [] }
  const tried = await run('bwrap', [...jailArgs({ readable: [], devices: [], user }), binary, '--version'], path)
  if (tried === null) return 'bwrap is not installed'
  return tried.code === 0 ? null : `bwrap: ${tried.output.trim().slice(0, 300)}`
}

/** One that is neither a user's nor a group's, by any of the system's lists of them. */
async function freeUser(home: string, path: string): Promise<number | null> {
  const mapped = parseIdMap(await readFile('/proc/self/uid_map', 'utf8').catch(() => ''))
  for (const id of userCandidates(home, mapped)) {
    // 2: there is no such entry.
    const lists = await Promise.all(['passwd', 'group'].map((list) => run('getent', [list, String(id)], path)))
    if (lists.every((list) => list === null || list.code === 2)) return id
  }
  return null
}

/** A user of its own reads what anybody may, and has its scratch folder for itself. */
export async function makeUsable(uid: number, readable: readonly string[], scratchDir: string): Promise<void> {
  await Promise.all(
    readable.map(async (path) => {
      const { mode } = await stat(path)
      if ((mode & 0o004) === 0) await chmod(path, (mode & 0o777) | 0o044)
    }),
  )
  for (const name of await readdir(scratchDir)) await chown(join(scratchDir, name), uid, uid)
  await chown(scratchDir, uid, uid)
}
