/** What the machine tells others: replies, refusals, and how the VM is doing. Pure. */
import { fault, type Fault, type Outgoing } from '../../kernel/index.ts'
import type { MachineEvent } from './events.ts'
import { defaultExecMs, retryHintMs } from './limits.ts'
import type { JobView, VmState } from './protocol.ts'
import { type Context, deathFault, diskFull, type Job, statusOf, unavailable, type Waiting, waitsForRoom } from './state.ts'

type Change = Partial<Context>

/** The context after a change, and what its watchers and waiting commands are told of it. */
export function announce(before: Context, change: Change): { change: Change; out: Outgoing[] } {
  const after = { ...before, ...change }
  if (after.state === before.state && after.progress === before.progress) return { change, out: [] }
  const part = { type: 'vm', state: after.state, detail: detailOf(after), ...(after.progress === null ? {} : { progress: after.progress }) }
  const status = { type: 'status', status: statusOf(after, null) }
  return {
    change,
    out: [
      ...after.waiting.map(({ request }): Outgoing => ({ type: 'partTo', request, body: part })),
      ...after.watchers.map((request): Outgoing => ({ type: 'partTo', request, body: status })),
    ],
  }
}

/** What the audit log keeps: that a VM runs, on what, and that it no longer does. */
export function recordOf({ state, accelerator, lastError, epoch }: Context, now: VmState): Outgoing | null {
  const entry = (action: string, data: Record<string, unknown>): Outgoing => ({
    type: 'send',
    to: 'telemetry',
    kind: 'audit',
    body: { action, data: { attempt: epoch, ...data } },
  })
  if (now === state) return null
  if (now === 'booting' || now === 'restoring')
    return entry('vm.starting', { accelerator, from: now === 'restoring' ? 'saved memory' : 'nothing' })
  // One that stood still had been started before.
  if (now === 'ready') return state === 'paused' || state === 'degraded' ? null : entry('vm.started', { accelerator })
  const why = { code: lastError?.code ?? 'unknown', cause: lastError?.cause ?? lastError?.message ?? null }
  if (now === 'recovering') return entry('vm.failed', why)
  // What failed repeatedly was on record with the last time.
  if (now === 'degraded') return state === 'recovering' ? null : entry(state === 'ready' ? 'vm.stands-still' : 'vm.failed', why)
  return now === 'stopped' && state === 'stopping' ? entry('vm.stopped', {}) : null
}

const details: Readonly<Record<VmState, string>> = {
  off: 'The workspace is switched off.',
  absent: 'Something the workspace needs is not installed.',
  stopped: 'The workspace is not running.',
  probing: 'Looking at what this machine can run.',
  image: 'Preparing the workspace image.',
  restoring: 'Starting the workspace from its saved memory.',
  booting: 'Starting the workspace.',
  handshake: 'Waiting for the first word of the workspace.',
  verifying: 'Checking the workspace.',
  saving: 'Saving the memory of the new workspace, so that later starts take a moment.',
  ready: 'The workspace is ready.',
  paused: 'The workspace is paused; the next command wakes it.',
  recovering: 'The workspace failed and is started again.',
  degraded: 'The workspace failed and will be tried again.',
  stopping: 'Stopping the workspace.',
}
export const detailOf = (context: Context): string =>
  context.state === 'degraded' && context.lastError?.code === 'disk-full'
    ? 'The workspace waits for room on the disk of this device.'
    : details[context.state]

export const refuse = (request: number, error: Fault): Outgoing => ({ type: 'refuse', request, error })
export const reply = (request: number, body: unknown): Outgoing => ({ type: 'reply', request, body })

export const interrupted = fault('workspace-unavailable', 'Workspace unavailable: the VM was stopped on request.', {
  remedy: 'Repeat the command; that starts it again.',
  retryAfterMs: 1_000,
})

/** As those are told whom it took along; of a full disk, what `unavailable` says of it. */
export function failureOf(event: MachineEvent, context: Context): Fault {
  const { wasReady } = context
  if (event.type === 'vm.full') return diskFull(event)
  if (event.type === 'runVm.exited') return deathFault(event, wasReady)
  if (waitsForRoom(context) && event.type.startsWith('xstate.after')) return unavailable(context)
  if ('error' in event && event.error) return event.error
  return fault('workspace-unavailable', 'Workspace unavailable: the VM made no progress and was ended.', {
    cause: wasReady ? 'the guest stopped answering' : 'no sign of life for too long while starting',
    retryAfterMs: retryHintMs,
  })
}

export function asWaiting(event: Extract<MachineEvent, { type: 'exec' | 'shell' }>, request: number, session: string): Waiting {
  const { env = {}, handle = null } = event.body
  if (event.type === 'exec') {
    const { command, cwd = null, timeoutMs = defaultExecMs } = event.body
    return { request, session, command, cwd, timeoutMs, env, handle, tty: null }
  }
  const { command = 'exec bash -i', cols, rows } = event.body
  return { request, session, command, cwd: null, timeoutMs: 0, env, handle, tty: { cols, rows } }
}

export function jobView(name: string, { command, state, end }: Job): JobView {
  return { job: name, command, state, ending: end?.ending ?? null, error: end?.error ?? null }
}
