/** The doctor's look at what contains actors' processes, found out as the kernel does when it starts them. */
import { findJail } from '../kernel/jail.ts'
import { actorMemoryMiB } from '../kernel/limits.ts'
import { memoryBoundOf } from '../kernel/memory.ts'
import { type DoctorCheck, info, ok } from './doctor-report.ts'

/** What lets an ordinary user make namespaces, where it is switched off. */
export const allowNamespaces =
  'Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, kernel.apparmor_restrict_unprivileged_userns=0), or, in a container, give it the right to make them.'

export async function actorJailCheck(): Promise<DoctorCheck> {
  const name = 'jail of actors'
  if (process.platform !== 'linux') return { name, ok: true, level: 'unverified', detail: `there is none on ${process.platform}` }
  const jail = await findJail()
  if ('why' in jail)
    return info(name, `actors run under Node's permissions alone: ${jail.why}`, `Install bubblewrap in /usr/bin. ${allowNamespaces}`)
  if (!jail.proc) return info(name, 'bwrap, but for those that need a /proc of their own, which cannot be mounted here', allowNamespaces)
  return ok(name, 'bwrap, with namespaces of its own for each process (`bulkhead inspect`)')
}

export function actorMemoryCheck(): DoctorCheck {
  const name = 'memory of actors'
  const { watched, wallMiB, why } = memoryBoundOf({}, {})
  if (!watched) return { name, ok: true, level: 'unverified', detail: `V8's heap is bounded, the rest is not: ${why}` }
  const ended = `a process is ended when it holds more than its manifest says (else ${actorMemoryMiB} MiB)`
  if (wallMiB === null) return info(name, `${ended}; the system sets it no limit besides: ${why}`, 'Install util-linux.')
  return ok(name, `${ended}; the system's limit on its private memory stops what grows faster than that is seen`)
}
