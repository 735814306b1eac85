/** What the supervisor needs of a hypervisor. One implementation a file; `drivers.ts` chooses. */
import type { Duplex, Readable } from 'node:stream'
import type { Fault } from '../../kernel/index.ts'
import type { QemuAccelerator } from './qemu-args.ts'

/** `vz`: Apple's Virtualization framework. `hyperv`: Hyper-V. The others are QEMU's. */
export type Accelerator = QemuAccelerator | 'vz' | 'hyperv'

/** What a look at this machine found. */
export type Hypervisor = {
  binary: string
  version: string
  /** Why there is no jail around it, or null when there is one. */
  noJail: string | null
  /** User and group it runs as; null: the supervisor's own. */
  uid: number | null
  /** Why it has no user of its own although the supervisor is root; null otherwise. */
  noUser: string | null
}

export type Verdict = { accelerator: Accelerator; why: string; cached: boolean }

export type LaunchSpec = {
  hypervisor: Hypervisor
  accelerator: Accelerator
  cpus: number
  memoryMiB: number
  /** Folder with the image's files, as `buildImage` made it. */
  imageDir: string
  /** The image's initrd with the agent's archive appended. */
  initrd: string
  /** A folder of this VM's own for what it writes. */
  scratchDir: string
  /** How it begins: from a saved memory, from nothing, or from nothing and to be saved. */
  begin: { how: 'restore'; snapshot: string } | { how: 'boot' } | { how: 'boot-and-save' }
  /**
   * `full`: the host's disk had no room for something the VM wrote, so it stands still as soon as what else it has under way on its disk is
   * over, which a `pause` waits for; once resumed it writes it again. `connected`: the guest's agent has opened its control port. Both may come
   * at any time, and again.
   */
  on: { full(): void; connected(): void }
}

export type RunningVm = {
  pid: number
  control: Duplex
  files: Duplex
  output: Duplex
  connections: Duplex
  /** What the guest prints: stages of its boot, last words of its kernel. */
  console: Readable
  /** Resolves when the guest's agent closed its end of the control port. */
  agentGone: Promise<void>
  /** A number that grows while the guest makes progress (bytes read from its disk, ports opened). Rejects once it has ended. */
  progress(): Promise<number>
  /** Stops the virtual processors, and lets them go on. Stopped means that nothing is under way on its disk either. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** Writes the whole machine's memory to `memory` in its scratch folder and leaves it stopped. */
  save(): Promise<void>
  /** Asks the hypervisor to end. Resolves when asked. */
  quit(): Promise<void>
  /** Ends it at once. */
  kill(): void
  exited: Promise<{ code: number | null; signal: string | null; stderr: string }>
}

export type Driver = {
  /** Everything a saved memory depends on: two VMs with the same key can take each other's. Null: it saves none. */
  snapshotKey(spec: Omit<LaunchSpec, 'begin' | 'scratchDir' | 'on'>): string | null
  /** Finds the hypervisor and tries its jail. */
  find(): Promise<{ ok: true; hypervisor: Hypervisor } | { ok: false; error: Fault }>
  /** Which accelerator runs this kernel here; by experiment, remembered. `avoidHardware`: it failed in practice, remember that instead. */
  accelerate(spec: { hypervisor: Hypervisor; imageDir: string; avoidHardware: boolean; signal: AbortSignal }): Promise<Verdict>
  launch(spec: LaunchSpec): Promise<RunningVm>
  /** Ends VMs that an earlier supervisor left behind; how many. */
  reap(): Promise<number>
}
