/** What reaches the machine: its protocol, the kernel's events, and what its effects report. `ref` and `epoch` name the boot attempt. */
import type { Fault, Inbound, KernelEvent } from '../../kernel/index.ts'
import type { Hypervisor } from './driver.ts'
import type { protocol } from './protocol.ts'
import type { Accelerator } from './driver.ts'

export type ExecResult = {
  exitCode: number | null
  signal: string | null
  timedOut: boolean
  oom: boolean
  durationMs: number
  cwd: string
  outputFile: string | null
}

export type EffectEvent =
  | { type: 'probe.found'; ref: string; hypervisor: Hypervisor; memoryMiB: number; cpus: number; ms: number }
  | { type: 'probe.missing'; ref: string; error: Fault }
  | { type: 'probe.failed'; ref: string; error: Fault }
  | { type: 'image.ready'; ref: string; dir: string; built: boolean; rolledBack: boolean; ms: number }
  | { type: 'image.failed'; ref: string; error: Fault }
  | { type: 'image.progress'; epoch: string; text: string }
  | { type: 'accelerate.chosen'; ref: string; accelerator: Accelerator; why: string; cached: boolean; ms: number }
  | { type: 'lookForSnapshot.found'; ref: string; key: string; ms: number }
  /** `room`: for saving one. */
  | { type: 'lookForSnapshot.none'; ref: string; key: string | null; room: boolean; ms: number }
  | { type: 'vm.spawned'; epoch: string; pid: number }
  | { type: 'vm.progress'; epoch: string; text: string }
  /** The guest's agent has opened its port. */
  | { type: 'vm.connected'; epoch: string }
  /** The host's disk has no room for what the VM writes; `free` and `reserve` in bytes. */
  | { type: 'vm.full'; epoch: string; free: number; reserve: number }
  | { type: 'vm.handshake'; epoch: string; ms: number; guestMs: number; kernel: string }
  | { type: 'runVm.exited'; ref: string; code: number | null; signal: string | null; detail: string }
  | { type: 'verify.ok'; ref: string; ms: number; at: number }
  | { type: 'verify.failed'; ref: string; error: Fault }
  | { type: 'save.saved'; ref: string; ms: number }
  | { type: 'save.failed'; ref: string; error: Fault }
  | { type: 'pause.done'; ref: string }
  | { type: 'pause.failed'; ref: string; error: Fault }
  | { type: 'resume.done'; ref: string }
  | { type: 'resume.failed'; ref: string; error: Fault }
  | { type: 'awaitRoom.found'; ref: string }
  | { type: 'awaitRoom.gone'; ref: string }
  | { type: 'discard.done' }
  | { type: 'admit.ready'; ref: string; session: string; revision: number }
  | { type: 'admit.failed'; ref: string; session: string; revision: number; error: Fault }
  | { type: 'evict.done'; ref: string }
  | { type: 'setNetwork.done' }
  | ({ type: 'exec.exited'; request: number } & ExecResult)
  | { type: 'exec.failed'; request: number; error: Fault }
  | { type: 'exec.lost'; request: number; error: Fault }
  /** `ref`: the job's name. */
  | ({ type: 'job.exited'; ref: string } & ExecResult)
  | { type: 'job.failed'; ref: string; error: Fault }
  | { type: 'job.lost'; ref: string; error: Fault }
  | { type: 'readJob.read'; request: number; job: string; output: string; missed: number; outputFile: string | null }
  | { type: 'steerCommand.done'; request: number }
  | { type: 'steerCommand.failed'; request: number; error: Fault }
  | { type: 'settleJobs.done' }
  | { type: 'ping.ok'; ref: string; busy: boolean }
  | { type: 'ping.silent'; ref: string }
  | { type: 'drawJitter.drawn'; ref: string; fraction: number }
  | { type: 'readClock.read'; request: number; at: number }
  | { type: 'halt.done'; ref: string }
  | { type: 'rest.done' }
  /** A defect in an effect. Those of the boot carry `ref`, a command's carries `request`. */
  | {
      type:
        | 'probe.crashed'
        | 'image.crashed'
        | 'accelerate.crashed'
        | 'lookForSnapshot.crashed'
        | 'runVm.crashed'
        | 'save.crashed'
        | 'pause.crashed'
        | 'resume.crashed'
        | 'awaitRoom.crashed'
        | 'discard.crashed'
        | 'verify.crashed'
        | 'admit.crashed'
        | 'evict.crashed'
        | 'setNetwork.crashed'
        | 'exec.crashed'
        | 'job.crashed'
        | 'readJob.crashed'
        | 'steerCommand.crashed'
        | 'ping.crashed'
        | 'drawJitter.crashed'
        | 'readClock.crashed'
        | 'halt.crashed'
      ref?: string
      request?: number
      error: Fault
    }

export type MachineEvent = Inbound<typeof protocol> | KernelEvent | EffectEvent
