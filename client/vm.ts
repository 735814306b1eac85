/** `bulkhead vm …`: the workspace's state in words, and steering it. */
import type { VmStatus } from '../actors/vm-supervisor/protocol.ts'
import type { Fault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { faultText } from './fault-text.ts'
import { oneLine } from './printable.ts'
import { duration } from './style.ts'

/** @returns the exit code. Start and restart tell their progress on `progress`. */
export async function vm(
  daemon: Daemon,
  action: 'status' | 'start' | 'stop' | 'restart',
  io: { json: boolean; out(text: string): void; progress(text: string): void; watched(show: (status: VmStatus) => void): void },
): Promise<number> {
  if (action !== 'status') {
    const stop = new AbortController()
    io.watched((status) => io.progress(`workspace: ${stateText(status)}`))
    const watching = daemon.call('vm/watch', {}, stop.signal).catch(() => {})
    try {
      await daemon.call(`vm/${action}`)
    } finally {
      stop.abort()
      await watching
    }
  }
  const status = await daemon.call<VmStatus>('vm/status')
  io.out(io.json ? `${JSON.stringify(status)}\n` : vmText(status))
  return exitCodes.done
}

function stateText({ state, progress, lastError }: VmStatus): string {
  if (progress) return `${state}, ${oneLine(progress)}`
  return lastError && state !== 'ready' ? `${state}: ${oneLine(lastError.message)}` : state
}

export function vmText(status: VmStatus): string {
  const {
    state,
    accelerator,
    isolation,
    isolationReason,
    pid,
    uptimeMs,
    restarts,
    lastError,
    timings,
    progress,
    sessions,
    start,
    memoryMiB,
    image,
  } = status
  const rows: [string, string | null][] = [
    ['Workspace', progress ? `${state}, ${oneLine(progress)}` : state],
    ['Accelerator', accelerator],
    ['Isolation', isolation && isolationReason ? `${isolation}: ${oneLine(isolationReason, 200)}` : isolation],
    ['Process', pid === null ? null : String(pid)],
    ['Up for', uptimeMs === null ? null : duration(uptimeMs)],
    ['Memory', memoryMiB === null ? null : `${memoryMiB} MiB`],
    ['Image', image?.rolledBack ? `${image.name}, the one before the newest, which does not start` : null],
    ['Restarts', String(restarts)],
    ['Sessions', String(sessions)],
    [
      start === 'restored' ? 'Last start' : 'Last boot',
      Object.entries(timings)
        .map(([step, ms]) => `${step} ${duration(ms)}`)
        .join(', ') || null,
    ],
    ['Last error', lastError ? faultText(lastError as Fault) : null],
  ]
  return rows.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(12)} ${value}\n`])).join('')
}
