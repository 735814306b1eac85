/** The words the supervisor's machine is written in: its types, the effects it may ask for, its guards and its delays. */
import { setup } from 'xstate'
import type { Outgoing } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import type { MachineEvent } from './events.ts'
import {
  absentRestMs,
  bootStallMs,
  failuresWithoutSaving,
  healthyMs,
  imageStallMs,
  restoreStallMs,
  retriesAtOnce,
  saveStallMs,
  stopAfterMs,
  stopMs,
  verifyStallMs,
} from './limits.ts'
import type { Accelerator } from './driver.ts'
import type { Steering } from './running-commands.ts'
import {
  type Config,
  type Context,
  type Folder,
  type How,
  isFrozen,
  openJobs,
  type Order,
  sessionOf,
  standRef,
  type Waiting,
} from './state.ts'

/** The request under which policy tells what is in force. */
export const policyRef = 'policy'

/** Who forbids the workspace, by the policy that came; null: nobody. */
export function deciderOf(event: MachineEvent): string | null {
  if (event.type !== 'part' || event.ref !== policyRef) return null
  const { policy } = event.body as { policy: Policy }
  return policy.values.secureVmFeaturesEnabled ? null : (policy.decidedBy['secureVmFeaturesEnabled'] ?? 'policy')
}

/** A VM process is there. */
export const hasVm = ({ state, pid }: Pick<Context, 'state' | 'pid'>): boolean =>
  ['restoring', 'booting', 'handshake', 'verifying', 'saving', 'ready', 'paused'].includes(state) || isFrozen({ state, pid })

/** What the VM is made of, as far as effects must be told. */
type MachineParams = { config: Config; imageDir: string | null; accelerator: Accelerator | null; memoryMiB: number; cpus: number }

const noop = (): void => {}

export const base = setup({
  types: {} as {
    context: Context
    events: MachineEvent
    emitted: Outgoing
    input: { params: Record<string, unknown>; slots: readonly string[] }
  },
  actions: {
    probe: (_, _params: { ref: string; config: Config }) => noop(),
    image: (_, _params: { ref: string; config: Config; rollback: boolean }) => noop(),
    accelerate: (_, _params: { ref: string; imageDir: string | null; avoidHardware: boolean }) => noop(),
    lookForSnapshot: (_, _params: { ref: string } & MachineParams) => noop(),
    runVm: (_, _params: { ref: string; how: How; key: string | null } & MachineParams) => noop(),
    save: (_, _params: { ref: string; imageDir: string | null; key: string | null }) => noop(),
    discard: (_, _params: { imageDir: string | null; key: string | null }) => noop(),
    pause: (_, _params: { ref: string }) => noop(),
    awaitRoom: (_, _params: { ref: string; config: Config }) => noop(),
    resume: (_, _params: { ref: string }) => noop(),
    verify: (_, _params: { ref: string }) => noop(),
    ping: (_, _params: { ref: string; silentMs: number }) => noop(),
    halt: (_, _params: { ref: string }) => noop(),
    drawJitter: (_, _params: { ref: string }) => noop(),
    readClock: (_, _params: { request: number }) => noop(),
    admit: (_, _params: { ref: string; session: string; revision: number; uid: number; folders: readonly Folder[] }) => noop(),
    setNetwork: (_, _params: { session: string; slot: number }) => noop(),
    evict: (_, _params: { ref: string; session: string }) => noop(),
    exec: (_, _params: Waiting) => noop(),
    job: (_, _params: Order & { ref: string }) => noop(),
    readJob: (_, _params: { request: number; job: string; waitMs: number }) => noop(),
    settleJobs: (_, _params: { over: readonly string[]; forgotten: readonly string[] }) => noop(),
    steerCommand: (_, _params: { request: number; session: string; handle: string; steering: Steering }) => noop(),
    rest: () => noop(),
  },
  guards: {
    isOff: ({ context }) => context.config.off || context.forbidden !== null,
    isPolicy: ({ event }) => 'ref' in event && event.ref === policyRef,
    forbidsVm: ({ context, event }) => deciderOf(event) !== null && hasVm(context),
    forbids: ({ event }) => deciderOf(event) !== null,
    /** News of an earlier attempt is not news. */
    current: ({ context, event }) => {
      if ('ref' in event && typeof event.ref === 'string') return event.ref === String(context.epoch) || event.ref === standRef(context)
      if ('epoch' in event) return event.epoch === String(context.epoch)
      return true
    },
    maySave: ({ context, event }) =>
      event.type === 'lookForSnapshot.none' &&
      event.key !== null &&
      event.room &&
      context.config.snapshots &&
      !context.saved &&
      context.failures < failuresWithoutSaving,
    restores: ({ context }) => context.how === 'restore',
    saves: ({ context }) => context.how === 'boot-and-save',
    isIdle: ({ context }) =>
      !context.busy && context.waiting.length === 0 && Object.keys(context.running).length === 0 && openJobs(context).length === 0,
    nobodyWaits: ({ context }) => context.waiting.length === 0 && openJobs(context).every(({ state }) => state === 'running'),
    retryAtOnce: ({ context }) => context.failures <= retriesAtOnce,
    wantsAgain: ({ context, event }) => context.again && (!('ref' in event) || event.ref === String(context.epoch)),
    knowsSession: ({ context, event }) =>
      (event.type === 'exec' || event.type === 'shell' || event.type === 'job') && context.sessions[sessionOf(event) ?? ''] !== undefined,
  },
  delays: {
    imageStall: imageStallMs,
    bootStall: bootStallMs,
    verifyStall: verifyStallMs,
    restoreStall: restoreStallMs,
    handshakeStall: ({ context }) => (context.how === 'restore' ? restoreStallMs : bootStallMs),
    saveStall: saveStallMs,
    pauseAfter: ({ context }) => context.config.timers.pauseAfterMs,
    stopAfter: stopAfterMs,
    fullGrace: ({ context }) => context.config.timers.fullGraceMs,
    absentRest: absentRestMs,
    pingEvery: ({ context }) => context.config.timers.pingEveryMs,
    freshFor: ({ context }) => context.config.timers.freshMs,
    healthy: healthyMs,
    stopLimit: stopMs,
    backoff: ({ context }) => context.delayMs,
  },
})
