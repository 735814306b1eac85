/**
 * Places for sessions, made before anyone needs them: making namespaces is the slow part of a session. A slot has no owner yet; a session
 * takes one, gets its name and its user, and no slot is ever used twice.
 *
 *   /scratch/slots/<id>/sessions  /sessions inside: in it, once there is an owner, its home, 0700
 *   /scratch/slots/<id>/tmp       /tmp and /var/tmp inside
 *   /scratch/slots/<id>/commands  /run/commands: commands too long for an argument
 *   /scratch/slots/<id>/outputs   /run/outputs: long outputs, whole
 *
 * Its owner may put anything anywhere below its home and its tmp: the agent touches neither from outside once they are given away.
 */
import { chmod, chown, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { favourSlot, removeCgroup, slotCgroup } from './cgroups.ts'
import { type Disk, scratchDir } from './disk.ts'
import { Holder } from './holder.ts'
import { KeptFiles } from './kept-files.ts'
import { maxCertificate, refillMs, sessionTerminals, sharedMemory, spareSlots } from './limits.ts'
import type { Net, NetBridge } from './net-bridge.ts'

export const commandsDir = '/run/commands'
export const outputsDir = '/run/outputs'
const filesDir = '/run/bulkhead/slots'
export const systemCertificates = '/etc/ssl/certs/ca-certificates.crt'
/** Seen from inside; empty until there is one. */
export const ownCertificate = '/run/bulkhead-ca.pem'

export type Slot = {
  readonly id: string
  readonly cgroup: string
  /** Its folders, seen from outside. */
  readonly dir: string
  readonly holder: Holder
  readonly kept: KeptFiles
  /** Null when it could not be made: nothing in there is reached then. Tried again when the slot is taken. */
  net: Net | null
  /** Whether it was given a certificate to trust. */
  trusts: boolean
}

type Making = { id: string; slot: Promise<Slot> }

export class Slots {
  readonly #disk: Disk
  readonly #nets: NetBridge
  readonly #spare: Making[] = []
  readonly #bases = { passwd: '', group: '' }
  /** Why a slot has none. */
  #netProblem = ''
  #next = 1
  #refill: NodeJS.Timeout | undefined

  constructor(disk: Disk, nets: NetBridge) {
    this.#disk = disk
    this.#nets = nets
  }

  /** Makes slots until there are as many as are kept ready. Rejects when one cannot be made. */
  async fill(): Promise<void> {
    while (this.#spare.length < spareSlots) {
      const making = this.#make()
      this.#spare.push(making)
      // One after the other: the first is there sooner.
      await making.slot.catch((error: unknown) => {
        const at = this.#spare.indexOf(making)
        if (at >= 0) this.#spare.splice(at, 1)
        throw error
      })
    }
    await Promise.all(this.#spare.map(({ slot }) => slot))
  }

  /** Why not all that are kept ready are whole; '' when they are. */
  async incomplete(): Promise<string> {
    const slots = await Promise.all(this.#spare.map(({ slot }) => slot))
    return slots.every(({ net }) => net !== null) ? '' : this.#netProblem
  }

  /** A slot as the session of this name and user. */
  async take(name: string, uid: number): Promise<Slot> {
    const making = this.#spare.shift() ?? this.#make()
    favourSlot(making.id)
    const slot = await making.slot
    favourSlot(making.id)
    clearTimeout(this.#refill)
    this.#refill = setTimeout(() => void this.fill().catch(() => {}), refillMs).unref()
    try {
      const home = join(slot.dir, 'sessions', name)
      await mkdir(home, { mode: 0o700 })
      await mkdir(join(home, 'mnt'))
      for (const own of [home, join(slot.dir, 'tmp')]) await chown(own, uid, uid)
      await this.#disk.allot(uid)
      await this.#writeUsers(slot.id, name, uid)
      slot.net ??= await this.#openNet(slot.holder)
      if (slot.net) slot.net.owner = name
      return slot
    } catch (error) {
      await this.remove(slot)
      throw error
    }
  }

  /** Programs in it trust this certificate as well: in the system's list, and alone for those that bring a list of their own. */
  async trust(slot: Slot, certificate: Uint8Array): Promise<void> {
    if (certificate.length > maxCertificate) throw new Error('the certificate is too long')
    const files = join(filesDir, slot.id)
    // Written over in place: the session's namespace holds these very files.
    await writeFile(join(files, 'own-ca.pem'), certificate)
    await writeFile(join(files, 'ca-certificates.crt'), Buffer.concat([await readFile(systemCertificates), certificate]))
    slot.trusts = certificate.length > 0
  }

  /** Kills everything in it and removes what it left. */
  async remove(slot: Pick<Slot, 'id' | 'cgroup' | 'dir'>): Promise<void> {
    await removeCgroup(slot.cgroup)
    for (const dir of [slot.dir, join(filesDir, slot.id)]) await rm(dir, { recursive: true, force: true }).catch(() => {})
  }

  #make(): Making {
    const id = `s${this.#next++}`
    return { id, slot: this.#build(id) }
  }

  async #build(id: string): Promise<Slot> {
    const dir = join(scratchDir, 'slots', id)
    const cgroup = await slotCgroup(id)
    try {
      for (const name of ['sessions', 'tmp', 'commands', 'outputs']) await mkdir(join(dir, name), { recursive: true })
      await chmod(join(dir, 'tmp'), 0o700)
      await this.#writeUsers(id, 'nobody-yet', 65_534)
      const holder = await Holder.start(join(cgroup, 'base'), jail(dir, join(filesDir, id)))
      // Whoever is in there sees its own processes and no others, not even that there are some.
      const terminals = `remount,nosuid,noexec,mode=620,ptmxmode=666,max=${sessionTerminals}`
      await holder.order(`mount -o remount,nosuid,nodev,noexec,hidepid=invisible /proc && mount -o ${terminals} /dev/pts`)
      return { id, cgroup, dir, holder, kept: new KeptFiles(), net: await this.#openNet(holder), trusts: false }
    } catch (error) {
      await this.remove({ id, cgroup, dir })
      throw error
    }
  }

  /** Without a network a session still reads and writes. */
  async #openNet(holder: Holder): Promise<Net | null> {
    try {
      return await this.#nets.open(holder)
    } catch (error) {
      this.#netProblem = error instanceof Error ? error.message : String(error)
      console.error(`bulkhead: agent: ${this.#netProblem}`)
      return null
    }
  }

  /** Each session has its own list of users: the system's and itself. */
  async #writeUsers(id: string, name: string, uid: number): Promise<void> {
    const bases = this.#bases
    if (bases.passwd === '') {
      bases.passwd = await readFile('/etc/passwd', 'utf8')
      bases.group = await readFile('/etc/group', 'utf8')
    }
    const taken = bases.passwd.startsWith(`${name}:`) || bases.passwd.includes(`\n${name}:`)
    const user = /^[a-z][a-z0-9_-]{0,31}$/.test(name) && !taken ? name : `u${uid}`
    const files = join(filesDir, id)
    await mkdir(files, { recursive: true })
    await writeFile(join(files, 'passwd'), `${bases.passwd}${user}:x:${uid}:${uid}::/sessions/${name}:/bin/bash\n`)
    await writeFile(join(files, 'group'), `${bases.group}${user}:x:${uid}:\n`)
    if (uid !== 65_534) return
    await copyFile(systemCertificates, join(files, 'ca-certificates.crt'))
    await writeFile(join(files, 'own-ca.pem'), '')
  }
}

/** Everything a session's processes can see. */
function jail(dir: string, files: string): string[] {
  const namespaces = ['pid', 'ipc', 'uts', 'net', 'cgroup'].map((kind) => `--unshare-${kind}`)
  // biome-ignore format: one place a line
  return [
    'bwrap', ...namespaces, '--die-with-parent', '--hostname', 'workspace',
    '--ro-bind', '/', '/',
    '--proc', '/proc',
    '--dev', '/dev',
    '--perms', '1777', '--size', String(sharedMemory), '--tmpfs', '/dev/shm',
    // The control groups' names, and the devices, are nobody's business in there; how many processors there are is asked for.
    '--tmpfs', '/sys',
    '--ro-bind-try', '/sys/devices/system/cpu', '/sys/devices/system/cpu',
    '--remount-ro', '/sys',
    '--tmpfs', '/run',
    '--tmpfs', '/scratch', '--remount-ro', '/scratch',
    '--bind', join(dir, 'sessions'), '/sessions',
    '--bind', join(dir, 'tmp'), '/tmp',
    '--bind', join(dir, 'tmp'), '/var/tmp',
    '--ro-bind', join(dir, 'commands'), commandsDir,
    '--ro-bind', join(dir, 'outputs'), outputsDir,
    '--ro-bind', join(files, 'passwd'), '/etc/passwd',
    '--ro-bind', join(files, 'group'), '/etc/group',
    '--ro-bind', join(files, 'ca-certificates.crt'), systemCertificates,
    '--ro-bind', join(files, 'own-ca.pem'), ownCertificate,
  ]
}
