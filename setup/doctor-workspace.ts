/** The doctor's look at the workspace: how well its VM is contained here, how old its image is, and what nobody has tried on this platform. */
import { join } from 'node:path'
import { confinement } from '../actors/vm-supervisor/confinement.ts'
import { driversOf } from '../actors/vm-supervisor/drivers.ts'
import { environment } from '../actors/vm-supervisor/host-programs.ts'
import { lastVerdict } from '../actors/vm-supervisor/probe.ts'
import { openKvm } from './doctor-machine.ts'
import { type DoctorCheck, info, missing, ok } from './doctor-report.ts'

/** An image gets Debian's security fixes when it is built, and no others: after this long it misses some for certain, days. */
const imageAgeDays = 30
const dayMs = 24 * 60 * 60_000

/** Which hypervisors this platform has drivers for, and whether anybody has run them. */
export function driverCheck(platform: string = process.platform): DoctorCheck {
  const drivers = driversOf(platform)
  const named = drivers.map(({ name, unverified }) => (unverified ? `${name} (unverified)` : name)).join(', then ')
  if (!drivers.some(({ unverified }) => unverified)) return ok('hypervisor driver', named)
  return {
    name: 'hypervisor driver',
    ok: true,
    level: 'unverified',
    detail: `${named}: written to the documents of the hypervisor, never run with a real one`,
  }
}

/** What the last start found out about hardware acceleration; nothing is tried here. `imageDir`: of the image in use. */
export async function acceleratorCheck(imageDir: string): Promise<DoctorCheck> {
  const name = 'accelerator'
  const verdict = await lastVerdict(join(imageDir, 'accelerator.json'))
  if (verdict === null) return info(name, 'not tried yet: the first start of the workspace does')
  const { accelerator, why } = verdict
  if (accelerator !== 'tcg') return ok(name, `${accelerator}: ${why}`)
  return info(
    name,
    `none, the VM is emulated, so isolation is reduced: ${why}`,
    /permission denied/i.test(why)
      ? `${openKvm} The next start tries again.`
      : 'Switch on virtualisation in the firmware, or nested virtualisation in the hypervisor below; then start the workspace again.',
  )
}

/** What would contain the VM's process if it were started now. */
export async function isolationCheck(home: string, platform: string = process.platform): Promise<DoctorCheck> {
  const name = 'isolation of the VM process'
  if (platform !== 'linux') return { name, ok: true, level: 'unverified', detail: `no jail on ${platform}: isolation is reduced` }
  const binary = process.arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64'
  const { noJail, uid, noUser } = await confinement(binary, home, environment.PATH)
  if (noJail !== null)
    return info(name, `reduced: it runs without a jail: ${noJail}`, 'Install bubblewrap, and allow it to make namespaces.')
  if (noUser !== null) return info(name, `reduced: it runs as root in its jail: ${noUser}`, 'Run the daemon as an ordinary user.')
  return ok(name, uid === null ? 'a jail with a user namespace of its own' : 'a jail, and a user that is nobody else')
}

export function imageAgeCheck(builtAt: string, imageDir: string, now: number = Date.now()): DoctorCheck {
  const name = 'age of the image'
  const days = Math.floor((now - Date.parse(builtAt)) / dayMs)
  if (!Number.isFinite(days)) return missing(name, `unknown: ${builtAt}`, `Build it again: rm -r ${imageDir}, then \`npm start -- setup\`.`)
  const detail = `${Math.max(0, days)} ${days === 1 ? 'day' : 'days'}`
  if (days <= imageAgeDays) return ok(name, detail)
  return info(name, `${detail}: it lacks the security fixes since`, `Build it again: rm -r ${imageDir}, then \`npm start -- setup\`.`)
}

/** What is written for a platform and has been tried by nobody; empty where all of it has. */
export function unverifiedChecks(platform: string = process.platform): DoctorCheck[] {
  return (unverified[platform] ?? []).map(({ name, detail }) => ({ name, ok: true, level: 'unverified', detail }))
}

const unverified: Readonly<Record<string, readonly { name: string; detail: string }[]>> = {
  darwin: [
    {
      name: 'workspace',
      detail:
        'the image lacks what vfkit needs: the guest’s end over vsock, and a kernel that is not compressed; with it the VM cannot start yet',
    },
    { name: 'keyring', detail: 'the macOS keychain, by `security`: written to its documents, never run' },
    { name: 'proxy settings', detail: 'those of the system, by `scutil`: read from answers as documented, never on a Mac' },
    { name: 'managed settings', detail: 'preferences of dev.bulkhead: read from fixtures, never on a Mac' },
    {
      name: 'connected folders',
      detail: 'the gate walks by /.vol and O_NOFOLLOW_ANY: written to the documents of macOS and type-checked, never run there',
    },
  ],
  win32: [
    {
      name: 'workspace',
      detail: 'the image lacks what Hyper-V needs: the guest’s end over hv_sock, and boot.vhdx; the VM cannot start here yet',
    },
    { name: 'keyring', detail: 'Windows data protection: written to its documents, never run' },
    { name: 'proxy settings', detail: 'Internet settings of the registry: read from answers as documented, never on Windows' },
    { name: 'managed settings', detail: 'the policy key of the registry: read from fixtures, never on Windows' },
    { name: 'audit log', detail: 'files cannot be opened to write through: what is on the disk when power fails is not known' },
    {
      name: 'connected folders',
      detail: 'the gate opens by path and compares where that led: written to the documents of Windows and type-checked, never run there',
    },
  ],
}
