/** Which hypervisors are tried on a platform, in which order. */
import type { Driver } from './driver.ts'
import { hypervDriver } from './driver-hyperv.ts'
import { qemuDriver } from './driver-qemu.ts'
import { vfkitDriver } from './driver-vfkit.ts'

type Choice = { name: string; make: (home: string) => Driver; unverified: boolean }

const qemu: Choice = { name: 'qemu', make: (home) => qemuDriver(home), unverified: false }

/** `unverified`: written to the hypervisor's documents, and never run with a real one. The first that is there is used. */
export function driversOf(platform: string): readonly Choice[] {
  if (platform === 'darwin')
    return [
      { name: 'vfkit', make: (home) => vfkitDriver(home), unverified: true },
      { ...qemu, unverified: true },
    ]
  if (platform === 'win32') return [{ name: 'hyperv', make: (home) => hypervDriver(home), unverified: true }]
  return [qemu]
}
